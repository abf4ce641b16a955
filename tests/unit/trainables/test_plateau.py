from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.stopper import TrialPlateauStopper

from sweeper.trainables.plateau import Plateau, PlateauWatch


def met_at(watch: PlateauWatch, values: list[Any], metric: str = "loss") -> int | None:
    for number, value in enumerate(values, start=1):
        row = {} if value is None else {metric: value}
        if watch.take(row, is_evaluation=metric.startswith("evaluation/")):
            return number
    return None


@given(
    values=st.lists(st.sampled_from([0.0, 0.005, 0.02, 1.0, 2.0]), max_size=20),
    results=st.integers(2, 5),
    grace=st.integers(0, 8),
    threshold=st.none() | st.sampled_from([0.01, 1.5]),
    mode=st.sampled_from(["max", "min"]),
)
def test_it_ends_a_trial_where_tunes_stopper_would(
    values: list[float], results: int, grace: int, threshold: float | None, mode: str
) -> None:
    options = {
        "std": 0.01,
        "num_results": results,
        "grace_period": grace,
        "metric_threshold": threshold,
        "mode": mode,
    }
    theirs = TrialPlateauStopper("loss", **options)
    expected = next(
        (n for n, value in enumerate(values, start=1) if theirs("t", {"loss": value})), None
    )
    assert met_at(PlateauWatch(Plateau("loss", **options)), values) == expected


@given(values=st.lists(st.sampled_from([0.0, 0.005, 1.0, None]), max_size=20), cut=st.integers(0))
def test_a_restored_watch_ends_a_trial_where_an_uninterrupted_one_does(
    values: list[float | None], cut: int
) -> None:
    plateau = Plateau("loss", num_results=3, grace_period=5)
    whole = met_at(PlateauWatch(plateau), values)
    cut %= len(values) + 1
    if whole is not None and whole <= cut:
        return
    first, second = PlateauWatch(plateau), PlateauWatch(plateau)
    met_at(first, values[:cut])
    second.restore(json.loads(json.dumps(first.state())))
    rest = met_at(second, values[cut:])
    assert (None if rest is None else rest + cut) == whole


def test_reports_that_repeat_an_evaluation_do_not_count() -> None:
    watch = PlateauWatch(Plateau("evaluation/loss", num_results=2, grace_period=0))
    row = {"evaluation/loss": 1.0}
    assert watch.take(row, is_evaluation=True) is None
    assert [watch.take(row, is_evaluation=False) for _ in range(5)] == [None] * 5
    reason = watch.take(row, is_evaluation=True)
    assert reason == "plateau of evaluation/loss (std < 0.01 over 2 values)"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_values_are_no_plateau(value: float) -> None:
    watch = PlateauWatch(Plateau("loss", num_results=2, grace_period=0))
    assert met_at(watch, [value, value, value, 1.0]) is None
    assert met_at(watch, [1.0]) == 1


def test_without_a_plateau_no_trial_ends() -> None:
    watch = PlateauWatch(None)
    assert met_at(watch, [1.0] * 9) is None
    watch.restore(watch.state())
