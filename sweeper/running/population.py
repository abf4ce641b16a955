"""Population-based training of a spec: what its scheduler has to know of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.planning.plan import SweepPlan
from sweeper.search.distributions import Path
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.schedulers import PBT

__all__ = ["population_options"]


def population_options(plan: SweepPlan) -> dict[str, Any]:
    """The arguments of `PBTScheduler` that are no options of the spec; empty for another one."""
    spec = plan.spec
    if not isinstance(spec.scheduler.options, PBT):
        return {}
    options = spec.scheduler.options.model_dump(exclude={"synch"})

    def is_held(path: Path) -> bool:
        return spec.support.why_held(path) is not None

    def allows(configuration: Mapping[str, Any]) -> bool:
        return not any(check_param_space(spec.algorithm, configuration, spec.backend))

    return {
        **options,
        "perturbation_interval": spec.perturbation_interval,
        "seed": spec.search.seed,
        "param_space": spec.param_space,
        "population": plan.max_trials,
        "concurrent": plan.concurrent,
        "is_held": is_held,
        "allows": allows,
    }
