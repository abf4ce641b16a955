from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from effort import count_calls
from launch_events import Launch, make_plan

from sweeper.evidence.selection import select
from sweeper.metrics import Objective
from sweeper.results.records import SweepResults, TrialRecord
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
    return Standing(Workload(trials, concurrent, {STEPS: 100}, budget_s), Objective())


def test_the_time_left_is_unknown_before_the_first_report() -> None:
    made = standing()
    made.update(record(1), updated=0.0)
    assert made.left_s(now=10.0, elapsed_s=10.0) is None


def test_a_running_trial_is_assumed_to_keep_its_speed() -> None:
    made = standing(trials=1)
    made.update(record(1, "RUNNING", (20, 12.0), (40, 22.0)), updated=0.0)
    # 20 steps take 10 s; the start-up of 2 s before the first report comes once.
    assert made.left_s(now=0.0, elapsed_s=22.0) == pytest.approx(30.0)
    assert made.left_s(now=5.0, elapsed_s=27.0) == pytest.approx(25.0)


def started(number: int, state: str, *rows: tuple[float, float], speed: float) -> TrialRecord:
    """A trial whose first report has a speed, so that its start-up time is known."""
    made = record(number, state, *rows)
    first, *rest = made.reports
    return replace(made, reports=({**first, "env_steps_per_s": speed}, *rest))


def test_the_start_of_a_process_does_not_count_as_slow_training() -> None:
    made = standing(trials=1)
    # 10 steps at 5 a second, after 10 s of imports.
    made.update(started(1, "RUNNING", (10, 12.0), speed=5.0), updated=0.0)
    assert made.left_s(now=0.0, elapsed_s=12.0) == pytest.approx(18.0)


def test_later_trials_reuse_started_processes() -> None:
    made = standing(trials=3)
    made.update(started(1, "TERMINATED", (10, 12.0), (100, 30.0), speed=5.0), updated=0.0)
    assert made.left_s(now=0.0, elapsed_s=30.0) == pytest.approx(40.0)


def test_a_speed_that_contradicts_the_clock_is_ignored() -> None:
    for speed in (0.0, float("nan"), 1e-3):
        made = standing(trials=1)
        made.update(started(1, "RUNNING", (10, 12.0), speed=speed), updated=0.0)
        assert made.left_s(now=0.0, elapsed_s=12.0) == pytest.approx(108.0)


def test_the_first_bound_that_is_met_ends_a_trial() -> None:
    made = Standing(Workload(1, 1, {STEPS: 100, "time_total_s": 60.0}), Objective())
    # It has used more of its time than of its steps, but will reach the steps first.
    made.update(started(1, "RUNNING", (10, 12.0), speed=5.0), updated=0.0)
    assert made.left_s(now=0.0, elapsed_s=12.0) == pytest.approx(18.0)
    made.update(started(1, "RUNNING", (10, 12.0), speed=1.0), updated=0.0)
    assert made.left_s(now=0.0, elapsed_s=12.0) == pytest.approx(48.0)


def test_trials_that_wait_for_resources_leave_no_slot_free() -> None:
    """The spec allows more concurrent trials than the machine has resources for."""
    made = standing(trials=5, concurrent=3)
    for number in (1, 2):
        made.update(record(number, "RUNNING", (50, 50.0)), updated=0.0)
    made.update(record(3, "PENDING"), updated=0.0)
    # Its process may still be starting; after a while it must be waiting for resources.
    assert made.left_s(now=1.0, elapsed_s=51.0) == pytest.approx(149.0)
    assert made.left_s(now=20.0, elapsed_s=70.0) == pytest.approx(230.0)


def test_the_estimate_of_the_live_view_improves_as_trials_end(tmp_path: Path) -> None:
    """Trials of 70 to 130 s on two slots, whose processes take 40 s to start."""
    lengths = [100.0, 130.0, 70.0, 120.0, 80.0, 110.0, 90.0, 100.0]
    launch = Launch(make_plan(tmp_path, trials=len(lengths), concurrent=2))
    launch.begin()
    begun = launch.now
    slots, moments = [(begun, 40.0), (begun, 40.0)], []
    for number, length in enumerate(lengths, start=1):
        (free, startup), other = sorted(slots)
        moments.append((free, number, "start", 0.0, length, 0.0))
        for tenth in range(1, 11):
            at = startup + length * tenth / 10
            moments.append((free + at, number, "report", tenth / 10, length, at))
        moments.append((free + startup + length, number, "end", 1.0, length, 0.0))
        slots = [(free + startup + length, 0.0), other]
    ends = max(free for free, _ in slots)
    misses = []
    for moment, number, what, share, length, spent in sorted(moments):
        launch.now = moment
        name = f"t{number:04d}"
        if what == "start":
            launch.start(name)
        elif what == "end":
            launch.end(name)
        else:
            speed = 1000 / length
            launch.report(name, share, 1.0, time_total_s=spent, env_steps_per_s=speed)
        launch.watch.refresh()
        named = launch.watch.end()
        if named is not None and what != "start" and (not misses or what == "end"):
            misses.append(abs(named - ends) / (ends - begun))
    first, *after_ends = misses
    assert first < 0.25
    assert max(after_ends) < 0.2
    assert max(after_ends[len(lengths) // 2 :]) < 0.07
    assert after_ends[-1] < 0.001


def test_later_trials_take_the_mean_of_the_others_and_share_the_slots() -> None:
    made = standing(trials=6, concurrent=2)
    for number in (1, 2):
        made.update(record(number, "TERMINATED", (100, 50.0)), updated=0.0)
    # Four of 50 s on two slots.
    assert made.left_s(now=0.0, elapsed_s=50.0) == pytest.approx(100.0)


def test_the_estimate_improves_as_trials_end_early() -> None:
    made = standing(trials=4)
    made.update(record(1, "RUNNING", (10, 10.0)), updated=0.0)
    assert made.left_s(now=0.0, elapsed_s=10.0) == pytest.approx(390.0)
    made.update(record(1, "PRUNED", (10, 10.0)), updated=0.0)
    assert made.left_s(now=0.0, elapsed_s=10.0) == pytest.approx(30.0)


def test_the_budget_bounds_the_time_left() -> None:
    made = standing(trials=100, budget_s=60.0)
    assert made.left_s(now=0.0, elapsed_s=20.0) == pytest.approx(40.0)
    made.update(record(1, "TERMINATED", (100, 50.0)), updated=0.0)
    assert made.left_s(now=0.0, elapsed_s=50.0) == pytest.approx(10.0)
    assert made.left_s(now=0.0, elapsed_s=70.0) == 0.0


def test_nothing_is_left_when_every_trial_has_ended() -> None:
    made = standing(trials=1)
    made.update(record(1, "TERMINATED", (100, 50.0)), updated=0.0)
    assert made.left_s(now=0.0, elapsed_s=50.0) == 0.0


def test_only_criteria_that_bound_every_trial_count_as_progress() -> None:
    report = {STEPS: 50, "episode_return_mean": 470.0, "time_total_s": 30.0}
    assert trial_share(report, {STEPS: 100, "episode_return_mean": 475.0}) == 0.5
    assert trial_share(report, {"episode_return_mean": 475.0}) == 0.0
    assert trial_share(report, {STEPS: 100, "time_total_s": 40.0}) == 0.75
    assert trial_share({}, {STEPS: 100}) == 0.0


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_so_far_is_the_one_that_the_selection_would_choose(mode: str) -> None:
    rules = Objective("episode_return_mean", mode)
    made = Standing(Workload(4), rules)
    records = [
        record(1, "ERROR", (10, 1.0), value=900.0 if mode == "max" else -900.0),
        record(2, "RUNNING", (90, 1.0), value=7.0),
        record(3, "TERMINATED", (50, 1.0), value=7.0),
        record(4, "PENDING"),
        record(5, "TERMINATED", (50, 1.0), value=float("nan")),
    ]
    for item in records:
        made.update(item, updated=0.0)
    best = made.best()
    assert best is not None
    chosen = select(
        SweepResults(root=None, trials=tuple(records)), Objective("episode_return_mean", mode)
    )  # type: ignore[arg-type]
    assert best == (chosen.trial_id, chosen.score) == ("t0003", 7.0)


def test_a_best_trial_that_gets_worse_is_the_best_no_longer() -> None:
    made = standing()
    made.update(record(1, "RUNNING", (10, 1.0), value=5.0), updated=0.0)
    made.update(record(2, "RUNNING", (10, 1.0), value=4.0), updated=0.0)
    assert made.best() == ("t0001", 5.0)
    made.update(record(1, "RUNNING", (10, 1.0), (20, 2.0), value=3.0), updated=0.0)
    assert made.best() == ("t0002", 4.0)


def test_counts_are_of_the_trials_as_they_are_now() -> None:
    made = standing()
    made.update(record(1, "RUNNING"), updated=0.0)
    made.update(record(1, "PRUNED"), updated=0.0)
    made.update(record(2, "RUNNING"), updated=0.0)
    assert made.counts() == {"PRUNED": 1, "RUNNING": 1}


def test_a_look_at_the_standing_takes_little_work_however_many_trials_there_are() -> None:
    made = standing(trials=10_000, concurrent=4)
    for number in range(2_000):
        made.update(record(number, "TERMINATED", (100, 50.0), value=float(number)), updated=0.0)

    def look() -> None:
        made.counts(), made.best(), made.left_s(now=0.0, elapsed_s=1.0)

    assert count_calls(look) < 50_000
