from __future__ import annotations

import math

import pytest

from sweeper.evidence.statistics import Curve, area_under_curve, steps_to_threshold

CURVE = Curve(env_steps=(0, 100, 300), values=(0.0, 10.0, 30.0))


def test_the_area_is_a_mean_over_env_steps() -> None:
    # (100 · 5 + 200 · 20) / 300
    assert area_under_curve(CURVE) == pytest.approx(15.0)


def test_a_threshold_is_reached_at_the_first_report_that_has_it() -> None:
    assert steps_to_threshold(CURVE, 10.0) == 100
    assert steps_to_threshold(CURVE, 10.5) == 300
    assert steps_to_threshold(CURVE, 31.0) is None
    assert steps_to_threshold(CURVE, 9.0, mode="min") == 0


@pytest.mark.parametrize(
    ("env_steps", "values", "problem"),
    [
        ((), (), "0 env steps for 0 values"),
        ((1, 2), (1.0,), "2 env steps for 1 values"),
        ((2, 1), (1.0, 2.0), "ascend"),
        ((1, 2), (1.0, math.nan), "finite"),
    ],
)
def test_what_is_no_curve_is_refused(env_steps: tuple, values: tuple, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Curve(env_steps=env_steps, values=values)
