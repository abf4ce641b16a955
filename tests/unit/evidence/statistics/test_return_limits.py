"""Limits that runs pile up at, and intervals cut there."""

from __future__ import annotations

import numpy as np
import pytest

from sweeper.evidence.statistics import (
    Interval,
    Limits,
    find_limits,
    prediction_interval,
    summarise_sample,
)
from sweeper.evidence.verdict import Sample, judge

CARTPOLE = (500.0, 460.2, 500.0, 301.7, 500.0)


def test_equal_best_runs_beside_others_that_differ_are_a_ceiling() -> None:
    assert find_limits([CARTPOLE]) == Limits(None, 500.0)
    assert find_limits([[-value for value in CARTPOLE]]) == Limits(-500.0, None)
    # Three of them in all samples are enough.
    assert find_limits([[500.0, 460.2], [500.0, 301.7], [500.0]]) == Limits(None, 500.0)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [500.0] * 5,  # whether it is the best or the worst, nobody knows
        [500.0, 500.0, 460.2, 301.7],  # two are chance
        [3.0, 3.0, 3.0, 2.0, 2.0, 1.0],  # a coarse scale
    ],
    ids=str,
)
def test_anything_else_is_none(values: list[float]) -> None:
    assert find_limits([values]) == Limits()


def test_diverged_runs_that_stand_at_the_worst_value_are_no_floor() -> None:
    values = [10.0, 10.0, 10.0, 12.5, 14.1, 13.2]
    assert find_limits([values]).low == 10.0
    assert find_limits([values], substituted=2).low is None


def test_an_interval_is_cut_and_says_so() -> None:
    cut = Limits(0.0, 500.0).cut(Interval(-20.0, 657.0, 0.95, "Student's t prediction"))
    assert cut == Interval(0.0, 500.0, 0.95, "Student's t prediction, cut at 500, cut at 0")
    inside = Interval(430.0, 490.0, 0.95, "Student's t")
    assert Limits(None, 500.0).cut(inside) == inside
    assert Limits(None, 500.0).cut(None) is None


def test_a_verdict_promises_nothing_beyond_the_ceiling() -> None:
    uncut = prediction_interval(CARTPOLE)
    assert uncut is not None
    assert uncut.high > 600
    made = judge(
        [Sample("t0001", CARTPOLE, 1e5)], Sample("baseline", (20.1, 30.5, 25.2, 22.8, 28.1), 1e5)
    )
    evidence = made.evidence["t0001"]
    assert evidence.prediction is not None
    assert evidence.interval is not None
    assert evidence.interval.high <= evidence.prediction.high == 500.0
    assert evidence.prediction.low == uncut.low
    assert "and 500 (95 %)" in made.text


def test_the_mean_of_episodes_does_not_lie_beyond_them() -> None:
    summary = summarise_sample([*[500.0] * 9, 430.0])
    assert summary.interval is not None
    assert summary.interval[1] == 500.0


@pytest.mark.parametrize("step", [0.05, 0.2, 0.5, 1.0], ids="in steps of {} deviations".format)
def test_a_coarse_scale_keeps_its_coverage(step: float) -> None:
    """Where values repeat by chance a cut would cost coverage; it hardly ever happens."""
    generator, uncut, cut = np.random.default_rng(0), [], []
    for _ in range(400):
        values = np.round(generator.normal(size=10) / step) * step
        fresh = np.round(generator.normal(size=20) / step) * step
        interval = prediction_interval(list(values))
        shorter = find_limits([list(values)]).cut(interval)
        if interval is None or shorter is None:
            continue
        for made, hits in ((interval, uncut), (shorter, cut)):
            hits.append(np.mean((made.low <= fresh) & (fresh <= made.high)))
    assert np.mean(cut) >= np.mean(uncut) - 0.005
