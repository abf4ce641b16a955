"""The spec that trains one configuration: another spec's, without its search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.metrics import BOUNDS
from sweeper.spec.experiment import ExperimentSpec
from sweeper.spec.schedulers import Scheduler
from sweeper.spec.search import Search
from sweeper.spec.sections import Budget

__all__ = ["for_training"]

_MAX_NAME = 90


def for_training(
    spec: ExperimentSpec, configuration: Mapping[str, Any], suffix: str
) -> ExperimentSpec:
    """The spec with a configuration's constants as its param space.

    The seeds, the stop rule and the evaluation stay. The budget was the whole search's; it goes
    where the stop rule bounds a trial.

    Args:
        spec: of the search.
        configuration: nested.
        suffix: of the new name.
    """
    given = spec.search
    search = Search(
        algorithm="grid", num_samples=1, seed=given.seed, max_concurrent=given.max_concurrent
    )
    is_bounded = any(name in BOUNDS for name in spec.stop)
    return spec.model_copy(
        update={
            "name": f"{spec.name[:_MAX_NAME]}-{suffix}",
            "param_space": dict(configuration),
            "search": search,
            "scheduler": Scheduler(),
            "budget": Budget() if is_bounded else spec.budget,
            # One configuration has no other to be compared with.
            "selection": spec.selection.model_copy(update={"finalists": 0, "baseline": "defaults"}),
        }
    )
