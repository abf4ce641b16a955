from __future__ import annotations

import time
from typing import Any

import pytest

from sweeper.evidence.selection import select
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.results.scoring import Rules
from sweeper.results.standing import Standing, Workload, trial_share

STEPS = "num_env_steps_sampled_lifetime"


def record(
    number: int, state: str = "RUNNING", *rows: tuple[float, float], value: float = 0.0
) -> TrialRecord:
    """A trial with reports at (env steps, seconds)."""
    reports = tuple(
        {
            "training_iteration": index,
            STEPS: steps,
            "time_total_s": seconds,
            "episode_return_mean": value,
        }
        for index, (steps, seconds) in enumerate(rows, start=1)
    )
    return TrialRecord(f"t{number:04d}", state, reports=reports)


def standing(trials: int = 4, concurrent: int = 1, budget_s: float | None = None) -> Standing:
    return Standing(Workload(trials, concurrent, {STEPS: 100}, budget_s), Rules())


def test_nothing_can_be_said_of_the_time_left_before_the_first_report() -> None:
    made = standing()
    made.update(record(1), heard=0.0)
    assert made.left_s(now=10.0, elapsed_s=10.0) is None


def test_a_running_trial_is_taken_to_go_on_at_its_speed() -> None:
    made = standing(trials=1)
    made.update(record(1, "RUNNING", (20, 12.0), (40, 22.0)), heard=0.0)
    # 20 steps take 10 s; the 2 s of the first report's start-up come once.
    assert made.left_s(now=0.0, elapsed_s=22.0) == pytest.approx(30.0)
    assert made.left_s(now=5.0, elapsed_s=27.0) == pytest.approx(25.0)


def test_trials_to_come_cost_what_the_others_cost_and_share_the_slots() -> None:
    made = standing(trials=6, concurrent=2)
    for number in (1, 2):
        made.update(record(number, "TERMINATED", (100, 50.0)), heard=0.0)
    # Four of 50 s on two slots.
    assert made.left_s(now=0.0, elapsed_s=50.0) == pytest.approx(100.0)


def test_the_estimate_gets_better_as_trials_end_early() -> None:
    made = standing(trials=4)
    made.update(record(1, "RUNNING", (10, 10.0)), heard=0.0)
    assert made.left_s(now=0.0, elapsed_s=10.0) == pytest.approx(390.0)
    made.update(record(1, "PRUNED", (10, 10.0)), heard=0.0)
    assert made.left_s(now=0.0, elapsed_s=10.0) == pytest.approx(30.0)


def test_the_budget_bounds_the_time_left() -> None:
    made = standing(trials=100, budget_s=60.0)
    assert made.left_s(now=0.0, elapsed_s=20.0) == pytest.approx(40.0)
    made.update(record(1, "TERMINATED", (100, 50.0)), heard=0.0)
    assert made.left_s(now=0.0, elapsed_s=50.0) == pytest.approx(10.0)
    assert made.left_s(now=0.0, elapsed_s=70.0) == 0.0


def test_nothing_is_left_when_every_trial_has_ended() -> None:
    made = standing(trials=1)
    made.update(record(1, "TERMINATED", (100, 50.0)), heard=0.0)
    assert made.left_s(now=0.0, elapsed_s=50.0) == 0.0


def test_only_what_bounds_every_trial_counts_as_its_way() -> None:
    report = {STEPS: 50, "episode_return_mean": 470.0, "time_total_s": 30.0}
    assert trial_share(report, {STEPS: 100, "episode_return_mean": 475.0}) == 0.5
    assert trial_share(report, {"episode_return_mean": 475.0}) == 0.0
    assert trial_share(report, {STEPS: 100, "time_total_s": 40.0}) == 0.75
    assert trial_share({}, {STEPS: 100}) == 0.0


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_so_far_is_the_one_that_the_selection_would_choose(mode: str) -> None:
    rules = Rules("episode_return_mean", mode)
    made = Standing(Workload(4), rules)
    records = [
        record(1, "ERROR", (10, 1.0), value=900.0 if mode == "max" else -900.0),
        record(2, "RUNNING", (90, 1.0), value=7.0),
        record(3, "TERMINATED", (50, 1.0), value=7.0),
        record(4, "PENDING"),
        record(5, "TERMINATED", (50, 1.0), value=float("nan")),
    ]
    for item in records:
        made.update(item, heard=0.0)
    best = made.best()
    assert best is not None
    chosen = select(SweepResults(root=None, trials=tuple(records)), "episode_return_mean", mode)  # type: ignore[arg-type]
    assert best == (chosen.trial_id, chosen.score) == ("t0003", 7.0)


def test_a_best_trial_that_gets_worse_is_the_best_no_longer() -> None:
    made = standing()
    made.update(record(1, "RUNNING", (10, 1.0), value=5.0), heard=0.0)
    made.update(record(2, "RUNNING", (10, 1.0), value=4.0), heard=0.0)
    assert made.best() == ("t0001", 5.0)
    made.update(record(1, "RUNNING", (10, 1.0), (20, 2.0), value=3.0), heard=0.0)
    assert made.best() == ("t0002", 4.0)


def test_counts_are_of_the_trials_as_they_are_now() -> None:
    made = standing()
    made.update(record(1, "RUNNING"), heard=0.0)
    made.update(record(1, "PRUNED"), heard=0.0)
    made.update(record(2, "RUNNING"), heard=0.0)
    assert made.counts() == {"PRUNED": 1, "RUNNING": 1}


def test_a_picture_of_five_thousand_trials_takes_milliseconds() -> None:
    made = standing(trials=10_000, concurrent=4)
    for number in range(5_000):
        made.update(record(number, "TERMINATED", (100, 50.0), value=float(number)), heard=0.0)

    def look() -> Any:
        return made.counts(), made.best(), made.left_s(now=0.0, elapsed_s=1.0)

    took = []
    for _ in range(5):
        began = time.process_time()
        look()
        took.append(time.process_time() - began)
    assert min(took) < 0.05
