"""Streams of reports for schedulers: drawn, interleaved, and cut as a kill cuts a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from sweeper.schedulers.base import Action, Decision, Report, Scheduler
from sweeper.states import TrialState

STEP = 10  # env steps from one report to the next


@dataclass(frozen=True)
class Curve:
    """What a trial would report, trained to its end; `fails_after` reports it crashes for good."""

    trial_id: str
    replicas: tuple[tuple[float, ...] | None, ...]
    fails_after: int | None = None

    def report(self, index: int) -> Report:
        values = self.replicas[index]
        value = None if values is None else sum(values) / len(values)
        return Report(self.trial_id, STEP * (index + 1), value, values or ())


def curves(*, trials: int = 8, reports: int = 6, seeds: int = 2) -> st.SearchStrategy[list[Curve]]:
    """Trials whose values are small whole numbers, so that ties happen and sums are exact."""
    values = st.tuples(*[st.integers(-8, 8).map(lambda one: float(2 * one))] * seeds)
    late = st.integers(0, 2)

    def build(number: int, rows: list[tuple[float, ...]], blank: int, fails: int | None) -> Curve:
        replicas = tuple(None if index < blank else row for index, row in enumerate(rows))
        return Curve(f"t{number:04d}", replicas, fails)

    one = st.tuples(
        st.lists(values, min_size=reports, max_size=reports),
        late,
        st.none() | st.none() | st.integers(1, reports - 1),
    )
    return st.lists(one, min_size=1, max_size=trials).map(
        lambda drawn: [build(number, *args) for number, args in enumerate(drawn, start=1)]
    )


@dataclass(frozen=True)
class Step:
    """What a journal has of a sweep: a report with its decision, a last one, or an end."""

    report: Report | None = None
    decision: Decision | None = None
    ended: tuple[str, TrialState] | None = None


def train(scheduler: Scheduler, curves: Sequence[Curve], order: Sequence[int] = ()) -> list[Step]:
    """Run a sweep: trials report in the order of their turns, those left over one after another.

    Args:
        scheduler: is asked at each report but a trial's last one.
        curves: the trials.
        order: whose turn it is, as indices modulo the trials that are not over.
    """
    steps: list[Step] = []
    at = dict.fromkeys(range(len(curves)), 0)
    turns = list(order)
    while at:
        number = sorted(at)[turns.pop(0) % len(at) if turns else 0]
        steps += _advance(scheduler, curves[number], at[number])
        at[number] += 1
        if steps[-1].ended is not None:
            del at[number]
    return steps


def _advance(scheduler: Scheduler, curve: Curve, index: int) -> list[Step]:
    if curve.fails_after == index:
        scheduler.on_end(curve.trial_id, TrialState.ERROR)
        return [Step(ended=(curve.trial_id, TrialState.ERROR))]
    report = curve.report(index)
    if index == len(curve.replicas) - 1:
        scheduler.on_final_report(report)
        scheduler.on_end(curve.trial_id, TrialState.TERMINATED)
        return [Step(report), Step(ended=(curve.trial_id, TrialState.TERMINATED))]
    decision = scheduler.on_report(report)
    steps = [Step(report, decision)]
    if decision.action is Action.STOP:
        scheduler.on_end(curve.trial_id, TrialState.PRUNED)
        steps.append(Step(ended=(curve.trial_id, TrialState.PRUNED)))
    return steps


def replay(scheduler: Scheduler, steps: Sequence[Step]) -> list[Decision]:
    """Tell a new scheduler what an earlier launch recorded, as `running.learners` does."""
    decisions = []
    for step in steps:
        if step.ended is not None:
            scheduler.on_end(*step.ended)
        elif step.report is not None and step.decision is not None:
            decisions.append(scheduler.on_report(step.report))
        elif step.report is not None:
            scheduler.on_final_report(step.report)
    return decisions
