"""All advice on a sweep, the most useful first: what costs trials, then what limits the best one,
then where the next hour goes, then what mattered.
"""  # noqa: D205

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeper.evidence.advice.effort import advise_on_effort
from sweeper.evidence.advice.failures import advise_on_failures
from sweeper.evidence.advice.finding import Advice, Finding
from sweeper.evidence.advice.importances import advise_on_importances
from sweeper.evidence.advice.length import advise_on_length
from sweeper.evidence.advice.ranges import advise_on_ranges
from sweeper.metrics import Objective
from sweeper.results.records import SweepResults, TrialRecord, judge_trial
from sweeper.results.scoring import is_comparable
from sweeper.results.spread import spread_of
from sweeper.states import TrialState

__all__ = ["advise", "rank_by_merit"]

_POPULATION = (
    "The trials of a population change their values while they train, so no score belongs to one."
)


def advise(
    results: SweepResults,
    objective: Objective,
    param_space: Mapping[str, Any],
    *,
    is_brief: bool = False,
) -> Advice:
    """Ask every question about a sweep.

    Args:
        results: of a run.
        objective: by which trials are judged.
        param_space: nested, with its distributions.
        is_brief: leave out the importance of parameters, which takes a second and suggests
            nothing to do.
    """
    trials = [one for one in results.trials if one.state.is_over]
    ranked = rank_by_merit(trials, objective)
    findings = [advise_on_failures(param_space, trials)]
    if any(one.exchanges for one in trials):
        findings.append(Finding("ranges", False, _POPULATION))
    else:
        findings.append(advise_on_ranges(param_space, ranked))
    findings.append(advise_on_length(trials, objective))
    whole = [one for one in trials if one.state is TrialState.TERMINATED]
    findings.append(advise_on_effort(list(_runs(whole, objective)), _hourly(trials)))
    if is_brief:
        return Advice(tuple(findings))
    if any(one.exchanges for one in trials):
        findings.append(Finding("importance", False, _POPULATION))
    else:
        findings.append(advise_on_importances(param_space, ranked))
    return Advice(tuple(findings))


def rank_by_merit(
    trials: Sequence[TrialRecord], objective: Objective
) -> list[tuple[TrialRecord, float]]:
    """Trials and their merits, the best first; those stopped early below all others."""
    merits = [
        (one, objective.merit(score))
        for one in trials
        if (score := judge_trial(one, objective).value) is not None
    ]
    whole = [pair for pair in merits if pair[0].state is TrialState.TERMINATED]
    pruned = [pair for pair in merits if pair[0].state is TrialState.PRUNED]
    if whole and pruned:
        gap = max(merit for _, merit in pruned) - min(merit for _, merit in whole) + 1.0
        pruned = [(one, merit - max(gap, 0.0)) for one, merit in pruned]
    return sorted([*whole, *pruned], key=lambda pair: -pair[1])


def _runs(trials: Sequence[TrialRecord], objective: Objective) -> Iterator[tuple[float, ...]]:
    """What each run of each configuration came to."""
    for one in trials:
        spread = spread_of(one, objective)
        if spread is not None and all(map(is_comparable, spread.values)):
            yield spread.values


def _hourly(trials: Sequence[TrialRecord]) -> float | None:
    """How many trials an hour brings to their end, as many at a time as there were.

    Time between the launches of a run does not count.
    """
    moments = [
        (moment, change)
        for one in trials
        if one.started is not None and one.ended is not None
        for moment, change in ((one.started, 1), (one.ended, -1))
    ]
    at_once = max(itertools.accumulate(change for _, change in sorted(moments)), default=0)
    taken = [one.time_total_s for one in trials]
    known = [seconds for seconds in taken if seconds is not None and 0 < seconds < math.inf]
    if not known or at_once < 1:
        return None
    return 3600 * at_once * len(known) / sum(known)
