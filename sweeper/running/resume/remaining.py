"""What is left of a run, in words, or what keeps it from going on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.errors import UserError
from sweeper.formatting import count_noun, format_duration
from sweeper.hints import join_words
from sweeper.metrics import ENV_STEPS
from sweeper.origin import Origin
from sweeper.planning.plan import SweepPlan
from sweeper.results.records import SweepResults
from sweeper.running.limits import Usage
from sweeper.running.resume.state import Continuation, LaunchState
from sweeper.spec.sections import Budget
from sweeper.states import LaunchEnd, TrialState

__all__ = ["Remaining", "describe_missing", "describe_remaining", "refuse_without_effect"]

_MAX_NAMED = 8


@dataclass(frozen=True)
class Remaining:
    """What is left of a run, in words.

    Attributes:
        is_nothing: no trial can go on and none is left to begin.
        reasons: how the search has ended, if `is_nothing`: ``finished``, or the budgets that are
            used up; else empty.
        lines: for the user.
        late: what a launch that was killed could not record, and the next one records; for the
            user, too.
    """

    is_nothing: bool
    reasons: tuple[str, ...]
    lines: tuple[str, ...]
    late: tuple[str, ...] = ()


def describe_remaining(plan: SweepPlan, state: LaunchState, before: SweepResults) -> Remaining:
    """What a launch that begins at ``state`` will do, or why there is nothing to do."""
    spec, name = plan.spec, before.root.name
    counts = before.counts()
    done = sum(count for state, count in counts.items() if state.has_succeeded)
    words = [f"{done} of {count_noun(plan.trials, 'trial')} finished"]
    if counts.get(TrialState.ERROR):
        words.append(f"{counts[TrialState.ERROR]} failed")
    summary = ", ".join(words)
    budget = spec.budget
    usage = Usage.of(before, spec.objective)
    untried = max(0, plan.trials - state.asked)
    of_all, of_new = _used_up(budget, usage, state)
    new = 0 if of_new else untried
    if budget.trials is not None:
        new = min(new, max(0, budget.trials - state.asked))
    if of_all or not (new or state.continuations):
        # A budget that only bars new trials does not count if none is left to begin.
        used_up = {**of_all, **(of_new if untried else {})}
        if not (untried or state.continuations):
            used_up = {}
        lines = [f"nothing left to do in {name}: {summary}"]
        if used_up:
            what = " and ".join(what for what, _ in used_up.values())
            how = "; ".join(how for _, how in used_up.values())
            lines = [f"nothing left to do in {name}: {what} ({summary}); {how}"]
        elif counts.get(TrialState.ERROR) and not state.continuations:
            lines.append("--retry-errored tries failed trials again")
        late: tuple[str, ...] = ()
        if before.ended_by is None:
            ends = [f"the end of {end.trial_id}" for end in state.ends]
            what = join_words([*ends[:_MAX_NAMED], "its own end"], "and")
            late = (
                f"its last launch was killed before it could record {what}; this is recorded now",
            )
        reasons = tuple(used_up) or (LaunchEnd.FINISHED,)
        return Remaining(True, reasons, (*lines, *_describe_lost(state)), late)
    lines = [f"going on with {name}: {summary}"]
    for again in state.continuations[:_MAX_NAMED]:
        lines.append(f"  {again.trial_id} goes on {_describe_start(again, plan.origin)}")
    if len(state.continuations) > _MAX_NAMED:
        lines.append(f"  and {len(state.continuations) - _MAX_NAMED} others go on")
    if new:
        lines.append(f"  {count_noun(new, 'trial')} still to begin")
    for what, how in of_new.values() if untried else ():
        lines.append(f"  no further trial starts: {what}; {how}")
    if budget.time_s is not None:
        left_s = format_duration(budget.time_s - state.spent_s)
        lines.append(f"  {left_s} of the search's time are left")
    if budget.env_steps is not None:
        left_steps = budget.env_steps - usage.env_steps
        lines.append(
            f"  {left_steps:,} of the search's env steps are left, counted over all replicas"
        )
    return Remaining(False, (), (*lines, *_describe_lost(state)))


def refuse_without_effect(
    changes: Mapping[str, Any], left: Remaining, *, is_retry_barred: bool = False
) -> None:
    """Refuse an extension of the search under which nothing of it goes on.

    A change is recorded by the launch that it begins. Kept without one, it would only hold for
    trials that are added later, and these would be trained by another rule than the others.

    Args:
        changes: of the spec, by dotted key.
        left: of the search.
        is_retry_barred: trials that failed were to be tried again, and none of them is.

    Raises:
        UserError: there is such a change, or that is so.
    """
    given = [key for key in changes if not key.startswith(("selection.", "ray."))]
    if not left.is_nothing or not (given or is_retry_barred):
        return
    options = [f"a new {join_words(given)}"] if given else []
    options += ["--retry-errored"] if is_retry_barred else []
    effect = "has" if len(given) + is_retry_barred == 1 else "have"
    used_up = [reason for reason in left.reasons if reason != LaunchEnd.FINISHED]
    remedy = "; give both at once" if set(used_up) - set(given) else ""
    reasons = "\n".join(left.lines)
    raise UserError(
        f"{reasons}\nso {join_words(options)} {effect} no effect, and nothing was changed{remedy}"
    )


_UsedUp = dict[str, tuple[str, str]]


def _used_up(budget: Budget, usage: Usage, state: LaunchState) -> tuple[_UsedUp, _UsedUp]:
    """The budgets that bar all trials, and those that bar only new ones.

    Each with a description and with the option that raises it.
    """
    of_all: _UsedUp = {}
    of_new: _UsedUp = {}
    if budget.time_s is not None and state.spent_s >= budget.time_s:
        what = f"its {format_duration(budget.time_s)} of budget.time_s are spent"
        of_all[LaunchEnd.BUDGET_TIME] = (what, "--time SECONDS gives it more")
    if budget.env_steps is not None and usage.env_steps >= budget.env_steps:
        what = f"its {budget.env_steps:,} env steps of budget.env_steps are spent"
        if usage.env_steps > budget.env_steps:
            what += f", {usage.env_steps:,} were taken"
        how = "--stop budget.env_steps=N gives it more, N in all"
        of_all[LaunchEnd.BUDGET_ENV_STEPS] = (what, how)
    if budget.trials is not None and state.asked >= budget.trials:
        what = f"its {count_noun(budget.trials, 'trial')} of budget.trials are begun"
        of_new[LaunchEnd.BUDGET_TRIALS] = (what, "--stop budget.trials=N gives it more, N in all")
    patience = budget.no_improvement_trials
    if patience is not None and usage.without_improvement >= patience:
        row = f"{count_noun(usage.without_improvement, 'trial')} in a row"
        what = f"{row} ended without a better score (budget.no_improvement_trials: {patience})"
        how = "--stop budget.no_improvement_trials=N allows more"
        of_new[LaunchEnd.BUDGET_NO_IMPROVEMENT] = (what, how)
    return of_all, of_new


def _describe_start(again: Continuation, origin: Origin | None) -> str:
    if again.checkpoint is None:
        begins = "" if origin is None else f", with {origin}"
        return f"from the start{begins}, {describe_missing(again) or 'it has no checkpoint'}"
    steps = again.metrics.get(ENV_STEPS)
    whose = "its" if again.donor is None else f"{again.donor}'s"
    where = f"{whose} checkpoint at {steps:,} env steps" if isinstance(steps, int) else None
    gone = describe_missing(again)
    return f"from {where or again.checkpoint.name}{f', because {gone}' if gone else ''}"


def describe_missing(again: Continuation) -> str | None:
    """What is wrong with a trial's newest checkpoint; None if it is the one to go on from."""
    if again.missing is None:
        return None
    return f"{again.missing} is {again.damage or 'gone or damaged'}"


def _describe_lost(state: LaunchState) -> tuple[str, ...]:
    optimiser = "the optimiser's state of finished trials was not kept"
    reasons = (
        (state.trimmed, optimiser, "checkpoint.trainer: true keeps it"),
        (state.lost, "no checkpoint was kept", "a greater checkpoint.keep_trials keeps more"),
    )
    return tuple(
        f"  {_name(trials)} can't go on: {what}; a run with {remedy}"
        for trials, what, remedy in reasons
        if trials
    )


def _name(trials: Sequence[str]) -> str:
    others = len(trials) - _MAX_NAMED
    return ", ".join(trials[:_MAX_NAMED]) + (f" and {others} others" if others > 0 else "")
