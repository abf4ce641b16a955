from __future__ import annotations

import math

import pytest

from sweeper.evidence.statistics import interquartile_mean, summarise_sample


def test_the_interval_is_students() -> None:
    # 1, 2, 3, 4: mean 2.5, deviation 1.29099, t(0.975, 3) = 3.18245.
    made = summarise_sample([1.0, 2.0, 3.0, 4.0])
    assert made.mean == 2.5
    assert made.interval == pytest.approx((2.5 - 2.05426, 2.5 + 2.05426), abs=1e-5)
    assert made.interval_reason is None


def test_the_interquartile_mean_is_that_of_the_middle_half() -> None:
    assert interquartile_mean([1.0, 2.0, 3.0, 1000.0]) == 2.5
    assert interquartile_mean([5.0]) == 5.0
    # 7 values: one is cut at each end.
    assert interquartile_mean([0.0, 1, 2, 3, 4, 5, 100]) == 3.0


@pytest.mark.parametrize(
    ("values", "reason"),
    [([7.0], "one value has no spread"), ([0.1 + 0.2, 0.3, 0.3], "all 3 values are equal")],
)
def test_no_interval_has_zero_width(values: list[float], reason: str) -> None:
    made = summarise_sample(values)
    assert made.interval is None
    assert made.interval_reason == reason
    assert made.to_json()["interval"] is None


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    import numpy as np

    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        low, high = summarise_sample(generator.normal(3.0, 2.0, size=5)).interval or (0, 0)
        hits += low <= 3.0 <= high
    assert math.isclose(hits / 2000, 0.95, abs_tol=0.015)
