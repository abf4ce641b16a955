"""The median stopping rule over env steps."""

from __future__ import annotations

import pytest

from sweeper.metrics import Objective
from sweeper.schedulers.base import CONTINUE, Action, Decision, Report
from sweeper.schedulers.median import MedianScheduler


def median(mode: str = "max", **options: int) -> MedianScheduler:
    return MedianScheduler(Objective(mode=mode), **{"grace_period": 20, **options})


def tell(
    scheduler: MedianScheduler, trial_id: str, *values: float, first: int = 10
) -> list[Decision]:
    return [
        scheduler.on_report(Report(trial_id, first + 10 * index, value))
        for index, value in enumerate(values)
    ]


def test_a_trial_whose_best_is_below_the_median_of_running_means_ends() -> None:
    scheduler = median()
    for trial_id, value in (("t0001", 10.0), ("t0002", 20.0), ("t0003", 30.0)):
        tell(scheduler, trial_id, -100.0, value, value)
    (early, late) = tell(scheduler, "t0004", 15.0, 12.0)
    assert early == CONTINUE, "the grace period"
    assert late.action is Action.STOP
    assert late.reason == "its best, 15 < 20, the median of 3 trials' running means"


def test_only_what_was_reported_from_the_grace_period_on_counts_for_the_mean() -> None:
    scheduler = median(min_samples_required=1)
    tell(scheduler, "t0001", 0.0, 10.0, 20.0)
    assert tell(scheduler, "t0002", 0.0, 9.0, 16.0)[1].action is Action.STOP
    assert [one.action for one in tell(scheduler, "t0003", 0.0, 10.0, 15.0)] == [
        Action.CONTINUE
    ] * 3


def test_a_few_trials_are_not_compared_nor_those_that_came_less_far() -> None:
    scheduler = median(min_samples_required=2)
    tell(scheduler, "t0001", 50.0, 50.0, 50.0)
    tell(scheduler, "t0002", 50.0, 50.0)
    assert [one.action for one in tell(scheduler, "t0003", 1.0, 50.0, 1.0)] == [Action.CONTINUE] * 3


def test_reports_repeated_after_a_rollback_replace_the_old_ones() -> None:
    scheduler, straight = median(min_samples_required=1), median(min_samples_required=1)
    tell(scheduler, "t0001", 0.0, 50.0, 60.0)
    tell(scheduler, "t0001", 20.0, 30.0, first=20)
    tell(straight, "t0001", 0.0, 20.0, 30.0)
    for one in (scheduler, straight):
        decisions = tell(one, "t0002", 0.0, 21.0, 24.0)
        assert [decision.action for decision in decisions] == [
            Action.CONTINUE,
            Action.CONTINUE,
            Action.STOP,
        ]


def test_less_can_be_better() -> None:
    scheduler = median("min", min_samples_required=1)
    tell(scheduler, "t0001", 9.0, 1.0)
    decision = tell(scheduler, "t0002", 9.0, 2.0)[1]
    assert decision.reason == "its best, 2 > 1, the median of 1 trials' running means"


def test_yielding_is_refused() -> None:
    with pytest.raises(ValueError, match="min_time_slice"):
        median(min_time_slice=5)
