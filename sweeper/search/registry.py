"""Which search algorithms there are, by the names that a spec gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sweeper.metrics import Objective
from sweeper.search.base import SearchAlgorithm
from sweeper.search.enumeration import Enumeration

__all__ = ["SEARCH_ALGORITHMS", "build_search"]

# A spec that names another one is told that it is not available yet.
SEARCH_ALGORITHMS: Mapping[str, Callable[..., SearchAlgorithm]] = {
    "grid": Enumeration,
    "random": Enumeration,
}


def build_search(
    name: str,
    param_space: Mapping[str, Any],
    *,
    num_samples: int,
    seed: int,
    points: Sequence[Mapping[str, Any]] = (),
    asked: Sequence[Mapping[str, Any]] = (),
    objective: Objective,
) -> SearchAlgorithm:
    """The search algorithm of a spec, with nothing told to it yet.

    Args:
        name: in `SEARCH_ALGORITHMS`.
        param_space: nested; leaves are constants or distributions.
        num_samples: how many configurations to draw; for a grid, passes over it.
        seed: of the generator that draws them.
        points: nested values to begin with.
        asked: parameters of the trials that earlier launches asked for, in order.
        objective: what ranks the trials.
    """
    return SEARCH_ALGORITHMS[name](
        param_space,
        num_samples=num_samples,
        seed=seed,
        points=points,
        asked=asked,
        objective=objective,
    )
