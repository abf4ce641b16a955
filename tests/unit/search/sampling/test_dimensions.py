"""Every distribution of ours has one of Optuna's, and values go both ways."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest

from sweeper.search.distributions import distributions, parse_space
from sweeper.search.expansion import expand
from sweeper.search.sampling.dimensions import describe_dimensions, order_dimensions

KINDS = {
    "choice": {"choice": [[64], [64, 64], "a", None, 1, True]},
    "uniform": {"uniform": [-1.5, 2.5]},
    "quniform": {"quniform": [0.85, 0.99, 0.01]},
    "loguniform": {"loguniform": [1e-5, 1e-1]},
    "qloguniform": {"qloguniform": [0.001, 0.1, 0.001]},
    "randint": {"randint": [-3, 8]},
    "qrandint": {"qrandint": [5, 33, 4]},
    "lograndint": {"lograndint": [1, 1000]},
    "qlograndint": {"qlograndint": [8, 512, 8]},
    "randn": {"randn": [10, 2]},
    "qrandn": {"qrandn": [10, 2, 0.5]},
}


def space_of(raw: dict[str, Any]) -> dict[str, Any]:
    space, problems = parse_space(raw)
    assert not problems
    return space


@pytest.mark.parametrize("kind", KINDS)
def test_what_we_draw_goes_to_optuna_and_back(kind: str) -> None:
    space = space_of({"x": KINDS[kind]})
    (dimension,) = describe_dimensions(space).values()
    for sample in expand(space, 100, seed=3):
        value = sample.parameters["x"]
        suggested = dimension.to_optuna(value)
        assert dimension.optuna._contains(dimension.optuna.to_internal_repr(suggested))
        back = dimension.from_optuna(suggested)
        assert type(back) is type(value)
        assert back == value or math.isclose(back, value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_optuna_suggests_can_be_drawn(kind: str) -> None:
    space = space_of({"x": KINDS[kind]})
    (dimension,) = describe_dimensions(space).values()
    ((_, leaf),) = distributions(space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    values = [dimension.suggest(study.ask()) for _ in range(200)]
    assert all(leaf.contains(value) for value in values)
    drawn = [sample.parameters["x"] for sample in expand(space, 2000, seed=4)]
    if kind.startswith("q") and kind != "qrandn":  # the same multiples, bit for bit
        assert set(values) <= {*drawn}
    if kind == "randn":
        assert np.mean(values) == pytest.approx(10, abs=0.5)
        assert np.std(values) == pytest.approx(2, abs=0.4)


def test_a_value_of_a_choice_is_no_copy_that_a_trial_could_change() -> None:
    (dimension,) = describe_dimensions(space_of({"x": KINDS["choice"]})).values()
    dimension.from_optuna(0).append(7)
    assert dimension.from_optuna(0) == [64]


def test_a_point_outside_of_a_normal_distributions_tail_is_its_end() -> None:
    (dimension,) = describe_dimensions(space_of({"x": KINDS["randn"]})).values()
    assert dimension.to_optuna(1e9) < 1
    assert dimension.to_optuna(-1e9) > 0


def test_a_parameter_comes_after_those_that_its_condition_names() -> None:
    space = space_of(
        {
            "c": {"uniform": [0, 1], "when": {"b": 1}},
            "b": {"choice": [1, 2], "when": {"a": True}},
            "a": {"choice": [True, False]},
        }
    )
    assert order_dimensions(describe_dimensions(space)) == [("a",), ("b",), ("c",)]
