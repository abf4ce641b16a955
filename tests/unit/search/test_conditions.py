"""What a value needs of other parameters before it applies."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.search.distributions import parse_space
from sweeper.search.expansion import check_points, count, expand

RAW: dict[str, Any] = {
    "use_kl_loss": {"choice": [True, False]},
    "kl_coeff": {"uniform": [0.1, 0.5], "when": {"use_kl_loss": True}},
    "num_epochs": {"randint": [1, 9]},
    "clip_param": {"uniform": [0.1, 0.5], "when": {"num_epochs": [2, 3]}},
    "mode": {"grid_search": ["a", "b", "c"]},
    "tau": {"uniform": [0, 1], "when": {"mode": "b"}},
    "deep": {"below": {"choice": [1, 2], "when": {"kl_coeff": 0.3}}},
    "always": {"uniform": [0, 1], "when": {"use_kl_loss": [False, True]}},
    "gamma": 0.9,
}


def space(raw: dict[str, Any] = RAW) -> dict[str, Any]:
    parsed, problems = parse_space(raw)
    assert problems == []
    return parsed


@pytest.mark.parametrize(
    ("point", "where", "message"),
    [
        (
            {"use_kl_loss": False, "kl_coeff": 0.3},
            (0, "kl_coeff"),
            "kl_coeff applies only where use_kl_loss is true, and it is false here",
        ),
        (
            {"num_epochs": 4, "clip_param": 0.3},
            (0, "clip_param"),
            "clip_param applies only where num_epochs is 2 or 3, and it is 4 here",
        ),
        (
            {"clip_param": 0.3},
            (0, "clip_param"),
            "clip_param applies only where num_epochs is 2 or 3; give num_epochs too",
        ),
        (
            {"deep": {"below": 2}, "kl_coeff": 0.2},
            (0, "deep", "below"),
            "deep.below applies only where kl_coeff is 0.3, and it is 0.2 here",
        ),
        (
            {"deep": {"below": 2}, "use_kl_loss": False},
            (0, "deep", "below"),
            "deep.below applies only where use_kl_loss is true, and it is false here",
        ),
        (
            {"tau": 0.5, "mode": "a"},
            (0, "tau"),
            "tau applies only where mode is 'b', and it is 'a' here",
        ),
    ],
)
def test_a_point_whose_values_exclude_each_other_is_a_problem(
    point: dict[str, Any], where: tuple[Any, ...], message: str
) -> None:
    (problem,) = check_points(space(), [point])
    assert (problem.path, problem.message) == (where, message)


@pytest.mark.parametrize(
    ("point", "pinned"),
    [
        ({"kl_coeff": 0.3}, {"use_kl_loss": True, "kl_coeff": 0.3}),
        ({"deep": {"below": 2}}, {"use_kl_loss": True, "kl_coeff": 0.3, "deep": {"below": 2}}),
        ({"tau": 0.5}, {"mode": "b", "tau": 0.5}),
        ({"clip_param": 0.3, "num_epochs": 3}, {"clip_param": 0.3, "num_epochs": 3}),
        ({"always": 0.5}, {"always": 0.5}),
    ],
)
def test_what_a_value_needs_is_pinned_with_it(
    point: dict[str, Any], pinned: dict[str, Any]
) -> None:
    assert list(check_points(space(), [point])) == []
    found = [sample.configuration for sample in expand(space(), 1, 0, [point])]
    assert len(found) == count(space(), 1, [point]) == (1 if "mode" in pinned else 3)
    for configuration in found:
        assert {**configuration, **pinned} == configuration


@pytest.mark.parametrize(
    ("leaf", "given", "taken"),
    [
        ({"randint": [1, 31]}, 10.0, 10),
        ({"lograndint": [1, 31]}, 10.0, 10),
        ({"qrandint": [8, 64, 8]}, 16.0, 16),
        ({"choice": [64, 128]}, 128.0, 128),
        ({"grid_search": [[64, 64], [128]]}, [64.0, 64.0], [64, 64]),
        ({"choice": [1.0, 1]}, 1, 1),
        ({"uniform": [0, 2]}, 1, 1.0),
        ({"loguniform": [1, 2]}, 1, 1.0),
        ({"quniform": [0.1, 0.3, 0.05]}, 0.15, 0.15000000000000002),
        ({"quniform": [0.1, 0.3, 0.05]}, 0.17, 0.17),
        ({"randn": [0, 1]}, 2, 2.0),
        ({"choice": [True, False]}, True, True),
    ],
)
def test_a_point_takes_the_value_that_would_be_drawn(
    leaf: dict[str, Any], given: Any, taken: Any
) -> None:
    (sample,) = expand(space({"x": leaf}), 1, 0, [{"x": given}])
    assert repr(sample.parameters["x"]) == repr(taken)


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), 10**400, "x", None])
@pytest.mark.parametrize(
    "leaf",
    [
        {"randint": [1, 9]},
        {"lograndint": [1, 9]},
        {"qrandint": [1, 9, 2]},
        {"quniform": [0, 1, 0.25]},
        {"loguniform": [0.1, 1]},
        {"randn": [0, 1]},
        {"qrandn": [0, 1, 0.5]},
        {"choice": [1, 2]},
    ],
)
def test_what_no_range_has_is_outside_of_it(leaf: dict[str, Any], value: Any) -> None:
    (problem,) = check_points(space({"x": leaf}), [{"x": value}])
    assert "is outside of" in problem.message
    _, problems = parse_space({"x": leaf, "y": {"choice": [1], "when": {"x": value}}})
    assert ["never applies" in one.message for one in problems] == [True]


def test_a_wrong_condition_is_reported_and_dropped() -> None:
    raw: dict[str, Any] = {
        "a": {"grid_search": [1, 2], "when": {"b": 1}},
        "b": {"grid_search": [1, 2], "when": {"a": 1}},
        "c": {"grid_search": [1, 2], "when": {"nothing": 1}},
        "d": {"grid_search": [1, 2], "when": {"e": 1}},
        "e": {"choice": []},
        "f": {"choice": [1], "when": {"g": {"h": 1}}},
        "g": {"h": 1},
    }
    parsed, problems = parse_space(raw)
    assert {problem.path[0] for problem in problems} == {"a", "b", "c", "e", "f"}
    assert count(parsed, 1) == 16
    assert list(check_points(parsed, [{"a": 1, "d": 2}])) == []
