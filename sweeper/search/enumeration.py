"""Grid and random search: the param space's own expansion, in Tune's order, without repeats."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.metrics import Objective
from sweeper.search.base import SearchAlgorithm
from sweeper.search.distinct import expand_distinct
from sweeper.search.expansion import Sample

__all__ = ["Enumeration"]


class Enumeration(SearchAlgorithm):
    """Goes through `expand_distinct`, with its arguments; learns nothing on the way."""

    learns = False

    def __init__(
        self,
        param_space: Mapping[str, Any],
        *,
        num_samples: int,
        seed: int,
        points: Sequence[Mapping[str, Any]] = (),
        asked: Sequence[Mapping[str, Any]] = (),
        known: Sequence[int | None] = (),  # noqa: ARG002 - it learns nothing
        objective: Objective,  # noqa: ARG002 - it learns nothing
        options: Mapping[str, Any] | None = None,  # noqa: ARG002 - it has none
    ) -> None:
        self._samples = expand_distinct(param_space, num_samples, seed, points, asked)
        self._next = 1

    def ask(self, number: int) -> Sample | None:
        """The sample of that number; those before it are skipped."""
        skipped = number - self._next
        self._next = number + 1
        return next(itertools.islice(self._samples, skipped, None), None)
