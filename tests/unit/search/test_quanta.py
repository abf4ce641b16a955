"""Quantised values lie in their ranges, bit for bit, and rounding excludes none that is meant."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.schedulers.mutation import Mutation
from sweeper.search.distributions import Distribution, parse_space
from sweeper.search.expansion import expand, list_values
from sweeper.search.sampling.dimensions import describe_dimensions


@st.composite
def quantised(draw: st.DrawFn) -> Distribution:
    """A range with bounds as a user writes them, and some without."""
    kind = draw(st.sampled_from(["quniform", "qloguniform", "qrandint", "qlograndint", "qrandn"]))
    if "int" in kind:
        q, first = draw(st.integers(1, 7)), draw(st.integers(1, 40))
        return Distribution(kind, (first, first + q + draw(st.integers(0, 90)), q))
    q = draw(st.sampled_from([0.05, 0.1, 0.01, 0.003, 0.25, 2.0, 3]))
    if kind == "qrandn":
        return Distribution(kind, (draw(st.floats(-5, 5)), draw(st.floats(0.1, 5)), q))
    first, steps = draw(st.integers(1, 50)), draw(st.integers(1, 40))
    lower, upper = (round(index * q, 6) for index in (first, first + steps))
    return Distribution(kind, (lower, upper, q))


def check(leaf: Distribution, value: Any) -> None:
    assert leaf.contains(value)
    if leaf.bounds is not None:
        assert leaf.bounds[0] <= value <= leaf.bounds[1], "exactly"
    assert leaf.own_value(json.loads(json.dumps(value))) == value
    assert leaf.quantum is not None
    assert math.isclose(value / leaf.quantum, round(value / leaf.quantum))
    assert type(value) is (int if leaf.is_integer else float)


@given(quantised(), st.integers(0, 2**32 - 1))
def test_no_way_to_a_value_leaves_its_range(leaf: Distribution, seed: int) -> None:
    space = {"x": leaf}
    drawn = [sample.parameters["x"] for sample in expand(space, 20, seed)]
    (dimension,) = describe_dimensions(space).values()
    mutation, generator = Mutation(space, resample_probability=0.2), np.random.default_rng(seed)
    ends: list[Any] = [] if leaf.bounds is None else [*map(leaf.multiple, leaf.indices)]
    for value in [*drawn, *ends]:
        check(leaf, value)
        suggested = dimension.to_optuna(value)
        check(leaf, dimension.from_optuna(suggested))
        if leaf.bounds is not None:
            assert dimension.from_optuna(suggested) == value
        check(leaf, mutation.mutate({"x": value}, generator)["x"])
    for value in list_values(leaf, 100) or ():
        check(leaf, value)


def test_a_bound_is_drawn_as_it_is_written() -> None:
    space, _ = parse_space({"x": {"quniform": [0.1, 0.3, 0.05]}})
    drawn = {sample.parameters["x"] for sample in expand(space, 200, 0)}
    assert {min(drawn), max(drawn)} == {0.1, 0.3}
    assert len(drawn) == 5


@pytest.mark.parametrize("value", [0.3, 0.30000000000000004, 0.1, 0.09999999999999999, 0.15, 0.17])
def test_rounding_excludes_no_value(value: float) -> None:
    leaf = Distribution("quniform", (0.1, 0.3, 0.05))
    assert leaf.contains(value)
    assert leaf.bounds is not None
    assert leaf.bounds[0] <= leaf.own_value(value) <= leaf.bounds[1]


@pytest.mark.parametrize("value", [0.3001, 0.0999, 0.0, -0.3])
def test_what_lies_beyond_is_excluded(value: float) -> None:
    assert not Distribution("quniform", (0.1, 0.3, 0.05)).contains(value)


def test_a_condition_on_a_quantised_value_holds_for_the_number_that_is_written() -> None:
    raw = {
        "gamma": {"quniform": [0.1, 0.3, 0.05]},
        "tau": {"choice": [1], "when": {"gamma": [0.15, 0.3]}},
    }
    space, problems = parse_space(raw)
    assert problems == []
    with_tau = {
        round(one.parameters["gamma"], 6)
        for one in expand(space, 100, 0)
        if "tau" in one.parameters
    }
    assert with_tau == {0.15, 0.3}
