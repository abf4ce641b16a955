"""The arguments of a spec's scheduler: its options, and for a population much of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.search.distributions import Path
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.schedulers import PBT, resolve_options

__all__ = ["scheduler_options"]


def scheduler_options(
    spec: ExperimentSpec, *, population: int, concurrent: int
) -> Mapping[str, Any]:
    """All arguments of a spec's scheduler but the objective.

    Args:
        spec: what is run.
        population: how many trials there are in all.
        concurrent: how many of them run at a time.
    """
    if not isinstance(spec.scheduler.options, PBT):
        return resolve_options(spec.scheduler, spec.stop)

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
