"""How many trials a spec can have trained again: the finalists of its confirmation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from sweeper.metrics import BOUNDS, canonical_metric, examined_metric
from sweeper.search.distinct import expand_distinct
from sweeper.search.distributions import distributions
from sweeper.spec.search import Search

__all__ = ["count_trials", "default_finalists", "has_own_end", "is_told_by_episodes"]


def has_own_end(stop: Iterable[str]) -> bool:
    """Whether the criteria bound a trial's training, so that it can be done again as long."""
    return any(name in BOUNDS for name in stop)


def is_told_by_episodes(metric: str) -> bool:
    """Whether episodes of a trained agent tell a metric."""
    return examined_metric(canonical_metric(metric)) is not None


def default_finalists(
    space: Mapping[str, Any],
    stop: Iterable[str],
    metric: Any,
    search: Search | None,
    *,
    most: int,
) -> int:
    """How many finalists a spec has that does not say.

    None where nothing is searched, so that nothing was chosen by luck, and where a confirmation
    can't be made.

    Args:
        space: the param space.
        stop: the names of the criteria.
        metric: what is selected by, as far as it could be read.
        search: None if it could not be read.
        most: not more than so many.
    """
    is_told = not isinstance(metric, str) or is_told_by_episodes(metric)
    if not (is_told and has_own_end(stop) and any(distributions(space))):
        return 0
    return most if search is None else count_trials(space, search, most)


def count_trials(space: Mapping[str, Any], search: Search, most: int) -> int:
    """The number of a search's trials, or ``most`` if there are more."""
    samples = expand_distinct(space, search.num_samples, search.seed, search.points)
    return sum(1 for _ in itertools.islice(samples, most))
