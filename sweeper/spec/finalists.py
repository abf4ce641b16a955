"""How many trials a spec can have trained again: the finalists of its confirmation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from sweeper.metrics import BOUNDS, canonical_metric, examined_metric
from sweeper.search.distinct import expand_distinct
from sweeper.spec.search import Search

__all__ = ["count_trials", "has_own_end", "is_told_by_episodes"]


def has_own_end(stop: Iterable[str]) -> bool:
    """Whether the criteria bound a trial's training, so that it can be done again as long."""
    return any(name in BOUNDS for name in stop)


def is_told_by_episodes(metric: str) -> bool:
    """Whether episodes of a trained agent tell a metric."""
    return examined_metric(canonical_metric(metric)) is not None


def count_trials(space: Mapping[str, Any], search: Search, most: int) -> int:
    """The number of a search's trials, or ``most`` if there are more."""
    samples = expand_distinct(space, search.num_samples, search.seed, search.points)
    return sum(1 for _ in itertools.islice(samples, most))
