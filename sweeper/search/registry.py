"""Which search algorithms there are, by the names that a spec gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sweeper.metrics import Objective
from sweeper.search.base import SearchAlgorithm
from sweeper.search.enumeration import Enumeration

__all__ = ["ENUMERATIONS", "SEARCH_ALGORITHMS", "build_search"]

# Those whose configurations are known before the first trial.
ENUMERATIONS = ("grid", "random")


def _build_sampler_search(
    param_space: Mapping[str, Any], *, sampler: str, **arguments: Any
) -> SearchAlgorithm:
    from sweeper.search.sampling.search import SamplerSearch  # imports Optuna

    return SamplerSearch(param_space, sampler=sampler, **arguments)


SEARCH_ALGORITHMS: Mapping[str, Callable[..., SearchAlgorithm]] = {
    "grid": Enumeration,
    "random": Enumeration,
    **{
        name: partial(_build_sampler_search, sampler=name) for name in ("tpe", "gp", "cmaes", "qmc")
    },
}


def build_search(
    name: str,
    param_space: Mapping[str, Any],
    *,
    num_samples: int,
    seed: int,
    points: Sequence[Mapping[str, Any]] = (),
    asked: Sequence[Mapping[str, Any]] = (),
    known: Sequence[int | None] = (),
    objective: Objective,
    options: Mapping[str, Any] | None = None,
) -> SearchAlgorithm:
    """The search algorithm of a spec, with nothing told to it yet.

    Args:
        name: in `SEARCH_ALGORITHMS`.
        param_space: nested; leaves are constants or distributions.
        num_samples: how many configurations to draw; passes over the grid, if there is one.
        seed: of the generators that draw them.
        points: nested values to begin with.
        asked: parameters of the trials that earlier launches asked for, in order.
        known: what was known when each of them was chosen, as `Sample.known` has it.
        objective: what ranks the trials.
        options: the algorithm's own, under Optuna's names.
    """
    return SEARCH_ALGORITHMS[name](
        param_space,
        num_samples=num_samples,
        seed=seed,
        points=points,
        asked=asked,
        known=known,
        objective=objective,
        options=options or {},
    )
