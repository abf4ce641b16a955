"""The scheduler of a spec, whichever it is: for a plan's words and numbers, and for a launch."""

from __future__ import annotations

from sweeper.planning.population import population_options
from sweeper.schedulers.base import Scheduler
from sweeper.schedulers.pbt import MIN_POPULATION
from sweeper.schedulers.registry import build_scheduler
from sweeper.spec import ExperimentSpec
from sweeper.spec.schedulers import resolve_options

__all__ = ["make_scheduler"]


def make_scheduler(spec: ExperimentSpec, *, population: int = MIN_POPULATION) -> Scheduler:
    """A scheduler that has not been told of any trial.

    Args:
        spec: what is run.
        population: how many trials there are in all; matters only to PBT.
    """
    options = population_options(spec, population=population)
    if options is None:
        options = resolve_options(spec.scheduler, spec.stop)
    return build_scheduler(spec.scheduler.type, spec.objective, options)
