from __future__ import annotations

import math

import pytest

from sweeper.errors import ConfigurationRefusedError
from sweeper.trainables.torch_backend.schedules import parse_schedule


def test_a_number_is_a_constant():
    schedule = parse_schedule("lr", 3e-4)
    assert schedule.value(0) == schedule.value(10**9) == 3e-4


def test_a_schedule_is_linear_between_its_points_and_constant_after_them():
    schedule = parse_schedule("lr", [[0, 1.0], [100, 0.5], [200, 0.0]])
    assert [schedule.value(steps) for steps in (0, 50, 100, 150, 200, 999)] == [
        1.0,
        0.75,
        0.5,
        0.25,
        0.0,
        0.0,
    ]


@pytest.mark.parametrize(
    ("points", "values"),
    [
        ([[0, math.inf], [99, math.inf], [100, 10.0]], [math.inf, math.inf, math.inf, 10.0, 10.0]),
        ([[0, math.inf], [100, 10.0]], [math.inf, math.inf, math.inf, 10.0, 10.0]),
        ([[0, 10.0], [100, math.inf]], [10.0, 10.0, 10.0, math.inf, math.inf]),
        ([[0, -math.inf], [100, math.inf]], [-math.inf] * 3 + [math.inf] * 2),
    ],
)
def test_an_infinite_value_is_a_step_at_its_points(points, values):
    schedule = parse_schedule("vf_clip_param", points)
    assert [schedule.value(steps) for steps in (0, 50, 99, 100, 999)] == values


@pytest.mark.parametrize(
    "given",
    [
        [[0, 1.0]],
        [[5, 1.0], [10, 0.0]],
        [[0, 1.0], [10, 0.5], [10, 0.0]],
        [[0, 1.0, 2.0], [10, 0.0]],
        [[0, "x"], [10, 0.0]],
        "0.1",
        None,
        True,
        float("nan"),
    ],
)
def test_anything_else_is_refused_with_the_keys_name(given):
    with pytest.raises(ConfigurationRefusedError, match="clip_param"):
        parse_schedule("clip_param", given)
