from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.evidence.statistics import (
    Interval,
    clopper_pearson,
    explain_no_interval,
    find_two_groups,
    is_far_from_normal,
    mean_interval,
    order_statistics_interval,
    prediction_interval,
    simultaneous_level,
    two_group_interval,
)

FINITE = st.floats(-1e6, 1e6)


def ends(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


def test_the_prediction_is_wider_than_the_interval_of_the_mean_by_the_root_of_n_plus_one() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    # 2.5 ± t(0.975, 3) · 1.29099 · √(1/4), and · √(1 + 1/4).
    assert ends(mean_interval(values)) == pytest.approx((0.44574, 4.55426), abs=1e-5)
    assert ends(prediction_interval(values)) == pytest.approx((-2.09347, 7.09347), abs=1e-5)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "there is no value"),
        ([7.0], "one value has no spread"),
        ([0.1 + 0.2, 0.3, 0.3], "all 3 values are equal"),
    ],
)
def test_no_interval_without_a_spread(values: list[float], reason: str) -> None:
    assert explain_no_interval(values) == reason
    assert mean_interval(values) is None
    assert prediction_interval(values) is None
    assert order_statistics_interval(values) is None


@pytest.mark.parametrize(
    ("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)]
)
def test_an_interval_has_a_width_and_finite_ends(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="no interval"):
        Interval(low, high, 0.95, "Student's t")


@given(st.lists(FINITE, max_size=12))
def test_every_sample_has_an_interval_or_a_reason(values: list[float]) -> None:
    assert (mean_interval(values) is None) == (explain_no_interval(values) is not None)


def test_order_statistics_promise_what_the_number_of_runs_allows() -> None:
    ten = order_statistics_interval([float(i) for i in range(10)])
    assert ten is not None
    assert ends(ten) == (0.0, 9.0)
    assert ten.level == pytest.approx(9 / 11)
    many = order_statistics_interval([float(i) for i in range(99)])
    assert many is not None
    assert ends(many) == (1.0, 97.0)  # (99 + 1 - 2 · 2) / (99 + 1) = 0.96
    assert many.level == pytest.approx(0.96)


def test_normal_runs_are_seldom_far_from_normal_and_runs_with_a_tail_are() -> None:
    generator = np.random.default_rng(0)
    normal = [generator.normal(size=10).tolist() for _ in range(1000)]
    assert sum(map(is_far_from_normal, normal)) <= 20  # 1 % are expected
    tailed = [(-generator.lognormal(0.0, 1.5, size=20)).tolist() for _ in range(100)]
    assert sum(map(is_far_from_normal, tailed)) >= 98
    assert not is_far_from_normal([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 900.0])  # too few to tell
    assert not is_far_from_normal([5.0] * 20)


def test_clopper_pearson_has_a_width_at_both_ends() -> None:
    assert ends(clopper_pearson(10, 10)) == pytest.approx((0.69150, 1.0), abs=1e-5)
    assert ends(clopper_pearson(0, 10)) == pytest.approx((0.0, 0.30850), abs=1e-5)
    with pytest.raises(ValueError, match="11 of 10"):
        clopper_pearson(11, 10)


def test_three_independent_intervals_cover_together_at_the_level() -> None:
    assert simultaneous_level(0.95, 3) ** 3 == pytest.approx(0.95)
    assert simultaneous_level(0.95, 1) == 0.95


def test_runs_that_succeed_or_get_stuck_are_recognised() -> None:
    groups = find_two_groups([[250.0, 240.0, 20.0, 246.0, 255.0]])
    assert groups is not None
    assert (groups.split, groups.low, groups.high) == (130.0, 20.0, 247.75)


@pytest.mark.parametrize(
    "values",
    [[1.0, 2.0, 30.0], [1.0, 2.0, 3.0, 4.0, 9.0], [5.0] * 6, []],
    ids=["three runs", "an outlier", "equal", "none"],
)
def test_runs_without_a_wide_gap_are_one_group(values: list[float]) -> None:
    assert find_two_groups([values]) is None


@pytest.mark.parametrize(
    "samples",
    [
        [[500.0, 500.0, 500.0, 500.0, 499.8], [180.0, 210.0, 195.0, 220.0, 205.0]],
        [[-0.3, -0.3, -0.3, -0.3, -0.30000000000000004]],
        [[0.0, 0.0, 0.0, 0.0, 5e-324]],
    ],
    ids=["beside a ceiling", "rounding", "the smallest number"],
)
def test_a_gap_that_is_nothing_beside_all_runs_makes_no_groups(samples: list[list[float]]) -> None:
    assert find_two_groups(samples) is None


def test_a_sample_that_only_succeeded_takes_the_stuck_level_from_the_others() -> None:
    lucky, other = [500.0] * 5, [500.0, 490.0, 495.0, 20.0, 498.0]
    groups = find_two_groups([lucky, other])
    assert groups is not None
    low, high = ends(two_group_interval(lucky, groups))
    # With 5 of 5, up to 52 % of runs may get stuck.
    assert high == 500.0
    assert low == pytest.approx(20 + 0.47818 * 480, abs=1e-2)
