"""What the scheduler of a population has to know of a plan, beside the spec's own options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.search.distributions import Path
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.schedulers import PBT

__all__ = ["population_options"]


def population_options(
    spec: ExperimentSpec, *, population: int, concurrent: int
) -> dict[str, Any] | None:
    """All arguments of `PBTScheduler` but the objective; None for another scheduler.

    Args:
        spec: what is run.
        population: how many trials there are in all.
        concurrent: how many of them run at a time.
    """
    if not isinstance(spec.scheduler.options, PBT):
        return None

    def is_held(path: Path) -> bool:
        return spec.support.why_held(path) is not None

    def allows(configuration: Mapping[str, Any]) -> bool:
        return not any(check_param_space(spec.algorithm, configuration, spec.backend))

    return {
        **spec.scheduler.options.model_dump(exclude={"synch"}),
        "perturbation_interval": spec.perturbation_interval,
        "seed": spec.search.seed,
        "param_space": spec.param_space,
        "population": population,
        "concurrent": concurrent,
        "is_held": is_held,
        "allows": allows,
    }
