"""A population in a plan: what its scheduler has to know beside the spec's options, warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.planning.values import batch_steps
from sweeper.search.distributions import Path
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.param_space import check_param_space
from sweeper.spec.schedulers import PBT

__all__ = ["find_population_warnings", "population_options"]

_FEW_MEMBERS = 6


def population_options(spec: ExperimentSpec, *, population: int) -> dict[str, Any] | None:
    """All arguments of `PBTScheduler` but the objective; None for another scheduler.

    Args:
        spec: what is run.
        population: how many trials there are in all.
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
        "is_held": is_held,
        "allows": allows,
    }


def find_population_warnings(spec: ExperimentSpec, trials: int) -> Iterator[str]:
    """Find what the exchanges of a population cost, and whether it is too small."""
    interval, batch = spec.perturbation_interval, batch_steps(spec)
    if interval is None:
        return
    if batch is not None and interval <= batch:
        yield (
            f"the population is compared every {interval:,} env steps, an iteration or less "
            f"({batch:,} env steps): values change before their effect shows"
        )
    if spec.support.learns_from == "replay" and not spec.checkpoint.replay:
        remedy = "; checkpoint.replay: true keeps it" if spec.support.has_own_replay else ""
        yield (
            "a trial that takes over a checkpoint, or waits for the others, fills its replay "
            f"memory anew, which costs env steps each time{remedy}"
        )
    if trials < _FEW_MEMBERS:
        yield (
            f"a population of {trials} loses its variety after a few exchanges; 8 and more are "
            "common, Jaderberg et al. (2017) took 20 to 80"
        )
