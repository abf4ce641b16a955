"""Optimisation history: what each trial came to, against what the sweep had spent by then."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.formatting import count_noun, format_number
from sweeper.metrics import ENV_STEPS
from sweeper.plots.chart import Axis, Chart, Line, Mark, Panel, Points, missing
from sweeper.plots.colours import BEST, MUTED, STATE_LOOKS
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import describe_trial, score_title
from sweeper.results.exchanges import count_env_steps
from sweeper.results.ranking import id_key
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import env_steps_of
from sweeper.states import TrialState

__all__ = ["Step", "draw", "spent_env_steps", "trace_history"]

TITLE = "Optimisation history"


@dataclass(frozen=True)
class Step:
    """A trial in the order in which trials ended.

    Attributes:
        record: the trial.
        spent: env steps of all trials and replicas so far, its own among them; or its place in
            the order where trials don't tell their env steps.
        score: None if it has none.
        best: the best score of those so far that could win; NaN before the first.
    """

    record: TrialRecord
    spent: float
    score: float | None
    best: float


def draw(source: PlotSource) -> Chart:
    """Scores in the order in which trials ended, and the best so far."""
    if source.empty:
        return missing(TITLE, source.empty)
    has_steps = all(
        env_steps_of(one.last_report) is not None for one in source.trials if one.reports
    )
    steps = trace_history(source, has_steps=has_steps)
    scores = [one.score for one in steps if one.score is not None]
    low, high = min(scores), max(scores)
    gap = (high - low) or max(1.0, abs(high))
    floor = low - 0.08 * gap if source.objective.mode == "max" else high + 0.08 * gap
    marks: list[Mark] = (
        [_draw_best(steps)] if any(not math.isnan(one.best) for one in steps) else []
    )
    marks += _draw_states(steps, floor, _size(len(steps)))
    notes: tuple[str, ...] = ()
    if not has_steps:
        notes += ("Not all trials tell their env steps: the order of the trials stands in.",)
    if any(one.record.ended is None and one.record.state.is_over for one in steps):
        notes += ("When trials ended is not known: they stand in the order they were proposed.",)
    without = sum(one.score is None for one in steps)
    if without:
        notes += (f"{count_noun(without, 'trial')} without a score: at the edge.",)
    retried = sum(one.record.retries > 0 for one in steps)
    if retried and has_steps:
        notes += (
            f"{count_noun(retried, 'trial')} failed and went on from a checkpoint; what was "
            "trained twice is counted once.",
        )
    title = "Env steps of the whole sweep, all replicas together" if has_steps else "trials ended"
    return Chart(
        title=f"{TITLE} of {count_noun(len(steps), 'trial')}",
        subtitle="Each mark is a trial, placed where it ended. The line is the best score so far "
        "of trials that were neither pruned nor are running.",
        panels=(
            Panel(
                x=Axis(title=title.lower() if has_steps else title),
                y=Axis(title=score_title(source.objective)),
                marks=tuple(marks),
            ),
        ),
        notes=notes,
    )


def trace_history(source: PlotSource, *, has_steps: bool = True) -> list[Step]:
    """The trials in the order in which they ended; those that go on come last.

    Trials that were pruned count for the best only if every trial with a score was, as they can
    win only then.
    """
    order = sorted(
        (one for one in source.trials if one.reports or one.state.is_over),
        key=lambda one: (
            not one.state.is_over,
            math.inf if one.ended is None else one.ended,
            id_key(one.trial_id),
        ),
    )
    scored = {one.record.trial_id: one.score for one in source.scored}
    whole = [one for one in order if one.state is TrialState.TERMINATED and one.trial_id in scored]
    counted = {TrialState.TERMINATED} if whole else {TrialState.PRUNED}
    steps: list[Step] = []
    spent, best = 0.0, math.nan
    for place, record in enumerate(order, start=1):
        spent = spent + spent_env_steps(record) if has_steps else float(place)
        score = scored.get(record.trial_id)
        if score is not None and record.state in counted:
            merit = source.objective.merit
            best = score if math.isnan(best) or merit(score) > merit(best) else best
        steps.append(Step(record, spent, score, best))
    return steps


def spent_env_steps(record: TrialRecord) -> int:
    """What a trial was trained for, all replicas together, as budgets count it.

    Env steps that came with another trial's weights are that trial's.
    """
    report = record.last_report
    if isinstance(report.get(f"replica/{ENV_STEPS}"), list):
        spent = count_env_steps(report)
    else:
        spent = int(env_steps_of(report) or 0) * max(1, len(record.seeds))
    return max(0, spent - sum(one.taken_env_steps for one in record.exchanges))


def _draw_best(steps: Sequence[Step]) -> Line:
    known = [one for one in steps if not math.isnan(one.best)]
    return Line(
        x=[one.spent for one in known],
        y=[one.best for one in known],
        name="best so far",
        colour=BEST,
        width=2.2,
        is_steps=True,
        labels=[f"best so far: {format_number(one.best)}" for one in known],
    )


def _draw_states(steps: Sequence[Step], floor: float, size: float) -> list[Mark]:
    marks: list[Mark] = []
    for state, look in STATE_LOOKS.items():
        found = [one for one in steps if one.record.state is state]
        for has_score in (True, False):
            part = [one for one in found if (one.score is not None) == has_score]
            if not part:
                continue
            marks.append(
                Points(
                    x=[one.spent for one in part],
                    y=[floor if one.score is None else one.score for one in part],
                    name=look.word if has_score else f"{look.word}, no score",
                    colour=look.colour if has_score or state is TrialState.ERROR else MUTED,
                    symbol=look.symbol,
                    is_open=look.is_open,
                    size=size,
                    opacity=0.85,
                    labels=[_tell(one) for one in part],
                )
            )
    return marks


def _tell(step: Step) -> str:
    score = "no score" if step.score is None else f"score {format_number(step.score)}"
    return describe_trial(step.record, f"{score} after {step.spent:,.0f}")


def _size(number: int) -> float:
    return 7.0 if number <= 60 else 5.0 if number <= 300 else 3.5
