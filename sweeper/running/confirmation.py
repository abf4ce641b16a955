"""What a launch has to do of the confirmation: whom it trains again, and what is left of it."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sweeper.errors import UserError
from sweeper.evidence.confirmation import (
    Group,
    choose_finalists,
    collect_retrained,
    describe_missing,
    find_open_group,
    holds_for,
    is_current,
    ran_to_its_end,
)
from sweeper.evidence.judgement import find_undecided
from sweeper.evidence.schedule import trace_schedule
from sweeper.formatting import count_noun
from sweeper.hints import did_you_mean, join_words
from sweeper.journal import ConfirmationPlanned
from sweeper.paths import run_reference
from sweeper.planning.plan import SweepPlan
from sweeper.results.records import SweepResults, judge_trial
from sweeper.running.resume.extension import Extension
from sweeper.running.resume.state import LaunchState
from sweeper.states import LaunchEnd
from sweeper.trainables.plateau import PLATEAU

__all__ = [
    "choose_confirmation",
    "describe_left",
    "find_next_group",
    "may_confirm",
    "refuse_confirmation",
]


def may_confirm(search_end: str) -> bool:
    """Whether a confirmation follows: after a whole search, or one that its budget ended."""
    return search_end == LaunchEnd.FINISHED or search_end.startswith("budget.")


def choose_confirmation(
    plan: SweepPlan, results: SweepResults, state: LaunchState, search_end: str
) -> ConfirmationPlanned | None:
    """The confirmation that the run should have; None without one, or without a finalist.

    Finalists that were chosen for the same search stay; others come in if the user names them, or
    asks for another number of them, or for the best where only named ones were confirmed.

    Args:
        plan: of the launch.
        results: of the search, now that it is over.
        state: where the launch began.
        search_end: how the search ended.
    """
    intended, objective = plan.confirmation, plan.spec.objective
    if intended is None or not may_confirm(search_end):
        return None
    before, is_same_search = results.confirmation, is_current(results)
    kept: tuple[str, ...] = ()
    best: tuple[str, ...] = ()
    number: int | None = 0
    if before is not None and is_same_search and holds_for(before, objective):
        kept, number = before.finalists, before.number
    is_first = not kept and not state.named
    if state.wants_best or is_first or number not in (0, intended.finalists):
        best = choose_finalists(results, objective, intended.finalists)
        number = intended.finalists
    finalists = tuple(dict.fromkeys(kept + best + state.named))
    if not finalists:
        return None
    baseline = intended.baseline
    planned = ConfirmationPlanned(
        time=time.time(),
        finalists=finalists,
        baseline={}
        if baseline is None
        else {"name": baseline.name, "configuration": baseline.configuration},
        seeds=intended.seeds,
        step=intended.step,
        episodes=intended.episodes,
        stop=_describe_stop(plan),
        objective={
            "metric": objective.metric,
            "mode": objective.mode,
            "score": objective.score,
        },
        search_ended_by=search_end,
        schedules={
            name: schedule.spec.param_space
            for name in finalists
            if (schedule := trace_schedule(plan.spec, results, name)) is not None
        },
        number=number,
    )
    if before is not None and is_same_search and replace(planned, time=before.time) == before:
        return before
    return planned


def _describe_stop(plan: SweepPlan) -> dict[str, Any]:
    plateau = plan.spec.plateau
    stop: dict[str, Any] = dict(plan.spec.stop)
    return stop if plateau is None else {**stop, PLATEAU: plateau.model_dump(exclude_none=True)}


def find_next_group(
    plan: SweepPlan,
    results: SweepResults,
    state: LaunchState,
    search_end: str,
    again: Collection[str] | None = None,
) -> Group | None:
    """The confirmation's trials that are next; None if there are none.

    Args:
        plan: of the launch.
        results: so far; the confirmation need not be planned yet.
        state: where the launch began.
        search_end: how the search ended.
        again: trials that are over and still go on; by default those of the launch's state.
    """
    planned = choose_confirmation(plan, results, state, search_end)
    if planned is None:
        return None
    wanted = replace(results, confirmation=planned)
    decide = find_undecided(plan.spec.objective)
    return find_open_group(wanted, decide, state.reopened if again is None else again)


def refuse_confirmation(
    plan: SweepPlan, results: SweepResults, extension: Extension, *, is_over: object
) -> None:
    """Check what the user wants confirmed.

    Raises:
        UserError: the search is not over, there are no such finalists, or training did not begin
            from scratch.
    """
    name, objective = results.root.name, plan.spec.objective
    if results.origin is not None:
        raise UserError(
            f"{name} began with {results.origin}; a confirmation trains from scratch, which would "
            "say nothing of it; train it on other seeds: `sweeper train SPEC --from CHECKPOINT`"
        )
    if not is_over:
        raise UserError(
            f"the search of {name} is not over; `sweeper resume {run_reference(results.root)}` "
            "goes on with it, and confirms its finalists at the end"
        )
    known = {record.trial_id: record for record in results.trials}
    for trial_id in extension.trials:
        record = known.get(trial_id)
        if record is None:
            raise UserError(f"{name} has no trial {trial_id}{did_you_mean(trial_id, known)}")
        if not ran_to_its_end(record) or judge_trial(record, objective).value is None:
            raise UserError(
                f"{trial_id} can't be confirmed: it did not run to its own end with a score "
                f"({record.state}{f', {record.reason}' if record.reason else ''})"
            )
    able = len(choose_finalists(results, objective, len(known)))
    if not able:
        raise UserError(f"{name} has no finalist: no trial ran to its own end with a score")
    if extension.finalists is not None and extension.finalists > able:
        raise UserError(
            f"--finalists {extension.finalists}: only {count_noun(able, 'trial')} of {name} ran to "
            "their own end with a score"
        )


def describe_left(
    plan: SweepPlan, results: SweepResults, state: LaunchState, search_end: str
) -> list[str]:
    """What is left of the confirmation, for the user; empty if nothing is."""
    group = find_next_group(plan, results, state, search_end)
    planned = choose_confirmation(plan, results, state, search_end)
    if group is None or planned is None:
        return []
    wanted = replace(results, confirmation=planned)
    objective = plan.spec.objective
    retrained = collect_retrained(wanted, find_undecided(objective))
    lines = [f"confirmation of {join_words(planned.finalists, 'and')}:"]
    lines += [f"  {words} to come" for words in describe_missing(retrained)]
    if group.begun:
        lines.append(f"  {', '.join(group.begun)} of it go on")
    return lines
