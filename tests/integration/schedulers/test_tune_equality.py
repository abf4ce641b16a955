"""Our ASHA and median rule decide as Tune's own classes, fed with the same reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler
from report_streams import Curve, curves

from sweeper.metrics import Objective
from sweeper.schedulers.asha import AshaScheduler
from sweeper.schedulers.base import Action, Report, Scheduler
from sweeper.schedulers.median import MedianScheduler

_ORDERS = st.lists(st.integers(0, 7), max_size=48)
_MODES = st.sampled_from(["max", "min"])


@dataclass(eq=False)
class Stub:
    """What Tune's schedulers read of a trial."""

    trial_id: str


def decide_alike(
    theirs: Any, ours: Scheduler, trials: Sequence[Curve], order: Sequence[int]
) -> list[str]:
    """Feed both; every trial's last report is one that met its own criterion."""
    controller = SimpleNamespace(get_live_trials=list)
    stubs = {curve.trial_id: Stub(curve.trial_id) for curve in trials}
    for stub in stubs.values():
        theirs.on_trial_add(controller, stub)
    at, turns, stopped = dict.fromkeys(range(len(trials)), 0), list(order), []
    while at:
        number = sorted(at)[turns.pop(0) % len(at) if turns else 0]
        curve = trials[number]
        report, is_last = curve.report(at[number]), at[number] == len(curve.replicas) - 1
        at[number] += 1
        row = _row(report)
        if is_last:
            theirs.on_trial_complete(controller, stubs[curve.trial_id], row)
            ours.on_final_report(report)
            del at[number]
            continue
        decision = theirs.on_trial_result(controller, stubs[curve.trial_id], row)
        is_stopped = ours.on_report(report).action is Action.STOP
        assert is_stopped == (decision == TrialScheduler.STOP), (curve.trial_id, report)
        if is_stopped:
            stopped.append(curve.trial_id)
            del at[number]
    return stopped


def _row(report: Report) -> dict[str, float]:
    row: dict[str, float] = {"env_steps": report.env_steps}
    return row if report.value is None else {**row, "value": report.value}


@given(
    trials=curves(trials=20),
    order=_ORDERS,
    mode=_MODES,
    grace=st.sampled_from([10, 15, 20]),
    factor=st.sampled_from([2, 3, 4]),
)
def test_asha_is_tunes(
    trials: list[Curve], order: list[int], mode: str, grace: int, factor: int
) -> None:
    theirs = ASHAScheduler(
        time_attr="env_steps",
        metric="value",
        mode=mode,
        max_t=60,
        grace_period=grace,
        reduction_factor=factor,
    )
    ours = AshaScheduler(
        Objective(mode=mode), max_t=60, grace_period=grace, reduction_factor=factor
    )
    # Values that come after the second rung are compared at one rung by us, at two by Tune.
    prompt = [curve for curve in trials if curve.replicas[0] is not None]
    decide_alike(theirs, ours, prompt, order)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=40), factor=st.floats(1.1, 10))
def test_the_cut_off_is_bit_for_bit_tunes(values: list[float], factor: float) -> None:
    theirs = ASHAScheduler(
        time_attr="env_steps",
        metric="value",
        mode="max",
        max_t=100,
        grace_period=10,
        reduction_factor=factor,
    )
    ours = AshaScheduler(Objective(), max_t=100, grace_period=10, reduction_factor=factor)
    for number, value in enumerate(values):
        stub = Stub(str(number))
        theirs.on_trial_add(None, stub)
        row = {"env_steps": 10, "value": value}
        rung = ours.ladders[0].rungs[0]
        assert rung.quantile(1 - 1 / factor) == theirs._brackets[0].cutoff(
            theirs._brackets[0]._rungs[-1][1]
        )
        theirs.on_trial_result(None, stub, row)
        ours.on_report(Report(str(number), 10, value))


@given(
    trials=curves(trials=20),
    order=_ORDERS,
    mode=_MODES,
    grace=st.sampled_from([10, 20, 30]),
    samples=st.integers(1, 4),
)
def test_the_median_rule_is_tunes(
    trials: list[Curve], order: list[int], mode: str, grace: int, samples: int
) -> None:
    theirs = MedianStoppingRule(
        time_attr="env_steps",
        metric="value",
        mode=mode,
        grace_period=grace,
        min_samples_required=samples,
    )
    ours = MedianScheduler(Objective(mode=mode), grace_period=grace, min_samples_required=samples)
    decide_alike(theirs, ours, trials, order)
