"""Whether a search learns anything where a scheduler stops most of its trials."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sweeper.planning.schedulers import make_scheduler
from sweeper.search.expansion import count
from sweeper.spec import ExperimentSpec
from sweeper.spec.schedulers import RUNGED
from sweeper.spec.search import CMAES, GP, resolve_search_options
from sweeper.spec.search_rules import find_modelled_ranges

__all__ = ["note_early_ends", "warn_of_early_ends"]


def note_early_ends(spec: ExperimentSpec, trials: int) -> Iterator[str]:
    """From how many trials the search learns, if not from all, and if those are enough."""
    if _learns_from_ends_alone(spec) and not _are_too_few(spec, trials):
        yield f"{_describe(spec, trials)}; {_until(spec)}"


def warn_of_early_ends(spec: ExperimentSpec, trials: int) -> Iterator[str]:
    """That the search learns little, since too few trials come to their own end."""
    if not (_learns_from_ends_alone(spec) and _are_too_few(spec, trials)):
        return
    remedy = (
        "set search.consider_pruned_trials: true"
        if isinstance(spec.search.options, CMAES)
        else "use tpe, which learns from pruned trials too, or scheduler: fifo"
    )
    yield f"{_describe(spec, trials)}; {_until(spec)}, which is most of the sweep; {remedy}"


def _learns_from_ends_alone(spec: ExperimentSpec) -> bool:
    """Whether trials that the scheduler stops tell the search nothing."""
    if spec.scheduler.type not in RUNGED:
        return False
    options = resolve_search_options(spec.search, spec.scheduler.type)
    return spec.search.algorithm == "gp" or options.get("consider_pruned_trials") is False


def _describe(spec: ExperimentSpec, trials: int) -> str:
    ends, kind = _expect_ends(spec, trials), spec.scheduler.type
    which = f"{spec.search.algorithm} learns only from trials that run to their own end"
    studies = _count_studies(spec)
    each = f" for each of {studies:,} points of the grid" if studies > 1 else ""
    if ends is None:
        return f"{which}, and nobody knows how many {kind} lets{each}"
    return f"{which}, about {ends:.0f} of {trials // studies:,} under {kind}{each}"


def _until(spec: ExperimentSpec) -> str:
    needed = _count_needed(spec)
    if isinstance(spec.search.options, CMAES):
        return f"until {needed} have (a generation), it draws as at the beginning"
    return f"until {needed} have (n_startup_trials), it draws at random"


def _are_too_few(spec: ExperimentSpec, trials: int) -> bool:
    """Whether those it needs take more than half of the sweep."""
    ends = _expect_ends(spec, trials)
    return ends is not None and ends < 2 * _count_needed(spec)


def _expect_ends(spec: ExperimentSpec, trials: int) -> float | None:
    """How many trials of a study come to their own end."""
    ends = make_scheduler(spec).expected_ends(trials)
    return None if ends is None else ends / _count_studies(spec)


def _count_studies(spec: ExperimentSpec) -> int:
    """Each point of a grid has a search of its own."""
    return count(spec.param_space, 1)


def _count_needed(spec: ExperimentSpec) -> int:
    """How many values the search needs before it learns from them."""
    options = spec.search.options
    if isinstance(options, CMAES):
        dimensions = len(find_modelled_ranges(spec.param_space))
        # As `cmaes` has it by default.
        size = options.popsize or 4 + math.floor(3 * math.log(max(1, dimensions)))
        return max(size, options.n_startup_trials)
    return options.n_startup_trials if isinstance(options, GP) else 1
