"""The race: only what is worse beyond doubt ends, and seldom by chance."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sweeper.metrics import Objective
from sweeper.schedulers.base import CONTINUE, Action, Report

BENCHMARKS = str(Path(__file__).parents[3] / "benchmarks")


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def load() -> Any:
    return importlib.import_module("race")


def race(mode: str = "max", **options: float) -> Any:
    return load().RaceScheduler(Objective(mode=mode), max_t=100_000, **options)


def report(trial_id: str, *values: float, steps: int = 30_000) -> Any:
    return load().ReplicaReport(trial_id, steps, sum(values) / len(values), replicas=tuple(values))


def test_the_test_is_welchs() -> None:
    generator, sample = np.random.default_rng(1), load().Sample.of
    for _ in range(50):
        mine = generator.normal(0, 1, generator.integers(2, 9)).tolist()
        theirs = generator.normal(0.5, 3, generator.integers(2, 9)).tolist()
        wanted = stats.ttest_ind(mine, theirs, equal_var=False, alternative="less").pvalue
        assert load().welch_p(sample(mine), sample(theirs)) == pytest.approx(wanted)


def test_values_without_any_variance_leave_no_doubt() -> None:
    welch_p = load().welch_p
    one, two, three = (load().Sample.of([value, value]) for value in (1.0, 2.0, 3.0))
    assert welch_p(one, two) == 0
    assert welch_p(two, two) == welch_p(three, two) == 1


def test_a_clear_loser_goes_at_the_first_rung_and_a_doubtful_one_stays() -> None:
    scheduler = race()
    assert scheduler.rung_env_steps == (30_000, 60_000)
    assert scheduler.on_report(report("t0001", 200, 240, 220, 260, 230)).rung == 1
    loser = scheduler.on_report(report("t0002", 20, 22, 19, 25, 21))
    doubtful = scheduler.on_report(report("t0003", 120, 240, 180, 60, 300))
    assert loser.action is Action.STOP
    assert loser.reason.startswith("21.4 against 230 of t0001 at rung 1, p ")
    assert doubtful.action is Action.CONTINUE
    assert "against" in doubtful.reason


def test_no_quota_stops_equals_however_many_there_are() -> None:
    scheduler = race()
    decisions = [
        scheduler.on_report(report(f"t{number:04d}", 100, 110, 90, 105, 95))
        for number in range(100)
    ]
    assert {one.action for one in decisions} == {Action.CONTINUE}


def test_a_good_trial_is_seldom_stopped_by_chance_in_a_whole_sweep() -> None:
    """The last of 20 equal trials, at 2 rungs: the bound is alpha."""
    generator, stopped = np.random.default_rng(0), 0
    for _ in range(60):
        scheduler = race(alpha=0.2)
        for number in range(20):
            decisions = [
                scheduler.on_report(report(f"t{number}", *generator.normal(size=5), steps=steps))
                for steps in scheduler.rung_env_steps
            ]
        stopped += any(one.action is Action.STOP for one in decisions)
    assert stopped <= 0.2 * 60


def test_a_trial_without_its_replicas_values_is_withheld_and_not_compared_with() -> None:
    scheduler = race()
    assert scheduler.on_report(Report("t0001", 30_000, 500.0)) == CONTINUE
    assert scheduler.on_report(report("t0002", 500.0)) == CONTINUE
    assert scheduler.on_report(report("t0003", 1.0, 2.0)).reason == "the first at rung 1"


def test_less_can_be_better() -> None:
    scheduler = race("min")
    scheduler.on_report(report("t0001", 1, 2, 3, 2, 1))
    decision = scheduler.on_report(report("t0002", 101, 102, 103, 102, 101))
    assert decision.action is Action.STOP
    assert decision.reason.startswith("101.8 against 1.8 of t0001")
