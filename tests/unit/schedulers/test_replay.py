"""A sweep that is cut anywhere and resumed from its journal decides as if it had never been."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_streams import Curve, Step, curves, replay, train

from sweeper.metrics import Objective
from sweeper.schedulers.base import Action, Report, Scheduler
from sweeper.schedulers.registry import SCHEDULERS, build_scheduler

OPTIONS = {
    "fifo": {},
    "asha": {"max_t": 60, "grace_period": 10, "reduction_factor": 2, "brackets": 2},
    "hyperband": {"max_t": 60, "grace_period": 10, "reduction_factor": 2},
    "median": {"grace_period": 20, "min_samples_required": 2},
}

Build = Callable[[], Scheduler]


def builder(name: str, mode: str) -> Build:
    return lambda: build_scheduler(name, Objective(mode=mode), OPTIONS[name])


TESTED = [name for name in SCHEDULERS if name in OPTIONS]


@pytest.mark.parametrize("name", TESTED)
@given(
    trials=curves(),
    order=st.lists(st.integers(0, 7), max_size=48),
    cut=st.integers(0, 100),
    mode=st.sampled_from(["max", "min"]),
)
def test_a_resumed_sweep_decides_like_an_uninterrupted_one(
    name: str, trials: list[Curve], order: list[int], cut: int, mode: str
) -> None:
    build = builder(name, mode)
    whole = train(build(), trials, order)
    before = whole[: cut % (len(whole) + 1)]
    scheduler = build()
    recorded = [step.decision for step in before if step.decision is not None]
    assert replay(scheduler, before) == recorded, "a replayed report is decided on alike"
    assert replay(scheduler, whole[len(before) :]) == [
        step.decision for step in whole[len(before) :] if step.decision is not None
    ]


@pytest.mark.parametrize("name", TESTED)
@given(trials=curves(trials=5), cut=st.integers(0, 100), redone=st.integers(1, 3))
def test_training_again_what_was_reported_before_a_kill_changes_no_decision(
    name: str, trials: list[Curve], cut: int, redone: int
) -> None:
    """One trial at a time; the last one trains again from an earlier checkpoint, alike."""
    build = builder(name, "max")
    whole = train(build(), trials)
    before = whole[: cut % (len(whole) + 1)]
    again: list[Step] = []
    if before and before[-1].decision is not None and before[-1].decision.action is not Action.STOP:
        current = before[-1].report
        assert current is not None
        mine = [step for step in before if step.report and step.report.trial_id == current.trial_id]
        again = mine[-redone:]
    scheduler = build()
    replay(scheduler, before)
    assert all(one.action is Action.CONTINUE for one in replay(scheduler, again))
    assert replay(scheduler, whole[len(before) :]) == [
        step.decision for step in whole[len(before) :] if step.decision is not None
    ]


@pytest.mark.parametrize("name", TESTED)
@given(trials=curves())
def test_a_trial_without_a_value_is_withheld(name: str, trials: list[Curve]) -> None:
    build = builder(name, "max")
    scheduler, disturbed = build(), build()
    for curve in trials:
        disturbed.on_report(Report(curve.trial_id, 10, None))
    decisions = [step.decision for step in train(scheduler, trials)]
    silent = [Report(curve.trial_id, 30, None) for curve in trials]
    assert all(disturbed.on_report(report).action is Action.CONTINUE for report in silent)
    assert [step.decision for step in train(disturbed, trials)] == decisions


@pytest.mark.parametrize("name", TESTED)
@given(trials=curves(), order=st.lists(st.integers(0, 7), max_size=48))
def test_a_trial_better_than_all_others_is_never_stopped(
    name: str, trials: list[Curve], order: list[int]
) -> None:
    best = Curve("t0099", tuple((100.0, 100.0 + index % 2) for index in range(6)))
    steps = train(builder(name, "max")(), [*trials, best], order)
    ends = [step.ended for step in steps if step.ended is not None]
    assert ("t0099", "TERMINATED") in ends
