"""Mutations of a copied trial's values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.schedulers.mutation import Mutation, find_mutable
from sweeper.search.distributions import distributions, parse_space
from sweeper.search.expansion import expand

SPACE: dict[str, Any] = {
    "lr": {"loguniform": [1e-5, 1e-2]},
    "gamma": {"uniform": [0.9, 1.0]},
    "vf_loss_coeff": {"quniform": [0.1, 1.0, 0.1]},
    "num_epochs": {"randint": [1, 31]},
    "minibatch_size": {"choice": [64, 128, 256]},
    "kl_target": {"qloguniform": [0.01, 0.1, 0.01]},
    "grad_clip": {"lograndint": [1, 100]},
    "horizon": {"qrandint": [3, 20, 4]},
    "use_kl_loss": {"choice": [True, False]},
    "kl_coeff": {"uniform": [0.1, 1.0], "when": {"use_kl_loss": True}},
    "model_config": {"vf_share_layers": {"choice": [True, False]}},
    "train_batch_size_per_learner": 4000,
}


def space(raw: dict[str, Any] = SPACE) -> dict[str, Any]:
    parsed, problems = parse_space(raw)
    assert not problems
    return parsed


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def is_held(path: tuple[str, ...]) -> bool:
    return path[0] == "model_config"


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0.1, 3), st.floats(0.1, 3))
def test_values_stay_inside_their_ranges_over_many_copies(
    seed: int, resampled: float, up: float, down: float
) -> None:
    parsed = space()
    leaves = dict(distributions(parsed))
    mutation = Mutation(parsed, is_held, resampled, (up, down))
    draws = generator(seed)
    parameters = next(expand(parsed, 1, seed)).parameters
    shared = parameters["model_config"]
    for _ in range(8):
        parameters = mutation.mutate(parameters, draws)
        assert parameters["model_config"] == shared
        assert ("kl_coeff" in parameters) == parameters["use_kl_loss"]
        assert type(parameters["num_epochs"]) is int
        assert parameters["horizon"] in (4, 8, 12, 16, 20)
        assert parameters["vf_loss_coeff"] / 0.1 == pytest.approx(
            round(parameters["vf_loss_coeff"] / 0.1)
        )
        for path, leaf in leaves.items():
            if path[0] in parameters and path[0] != "model_config":
                assert leaf.contains(parameters[path[0]]), path


HELD: dict[str, Any] = {
    "lr": {"loguniform": [1e-5, 1e-2]},
    "entropy_coeff": {"choice": [0.0, 0.01, 0.1], "when": {"use_kl_loss": [True, False]}},
    "use_kl_loss": {"choice": [True, False]},
    "kl_coeff": {"uniform": [0.1, 1.0], "when": {"use_kl_loss": True}},
    "use_critic": {"choice": [True, False]},
    "vf_loss_coeff": {"choice": [0.5, 1.0], "when": {"use_critic": True}},
    "model_config": {
        "vf_share_layers": {"choice": [True, False], "when": {"vf_loss_coeff": 0.5}},
        "free_log_std": {"choice": [True, False], "when": {"entropy_coeff": [0.0, 0.01, 0.1]}},
    },
}


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_what_goes_with_the_weights_neither_changes_nor_comes_nor_goes(
    seed: int, resampled: float
) -> None:
    parsed = space(HELD)

    def goes_with_weights(path: tuple[str, ...]) -> bool:
        return path[0] in ("kl_coeff", "model_config")

    def held_of(parameters: dict[str, Any]) -> dict[str, Any]:
        return {key: parameters.get(key) for key in ("kl_coeff", "model_config")}

    mutation = Mutation(parsed, goes_with_weights, resampled)
    draws = generator(seed)
    donor = next(expand(parsed, 1, seed)).parameters
    for _ in range(8):
        copied = mutation.mutate(donor, draws)
        assert held_of(copied) == held_of(donor)
        assert copied.keys() == donor.keys()
        donor = copied
    # What always applies depends on nothing: its condition's other parameter may change.
    assert find_mutable(parsed, goes_with_weights) == [("lr",), ("entropy_coeff",)]


@given(st.integers(0, 2**32 - 1))
def test_the_same_generator_gives_the_same_values(seed: int) -> None:
    parsed = space()
    start = next(expand(parsed, 1, seed)).parameters
    first, second = (Mutation(parsed).mutate(start, generator(seed)) for _ in range(2))
    assert first == second


def scaled(leaf: dict[str, Any], value: Any, factor: float) -> Any:
    mutation = Mutation(space({"x": leaf}), resample_probability=0, factors=(factor, factor))
    return mutation.mutate({"x": value}, generator())["x"]


def test_a_number_is_multiplied_and_clipped() -> None:
    assert scaled({"uniform": [0, 1]}, 0.5, 1.2) == pytest.approx(0.6)
    assert scaled({"uniform": [0, 1]}, 0.99, 1.2) == 1.0
    assert scaled({"loguniform": [1e-4, 1]}, 1.1e-4, 0.8) == 1e-4
    assert scaled({"uniform": [-2, -1]}, -1.1, 0.8) == -1.0


def test_a_small_whole_number_still_moves() -> None:
    assert scaled({"randint": [1, 10]}, 2, 1.2) == 3
    assert scaled({"randint": [1, 10]}, 2, 0.8) == 1
    assert scaled({"randint": [1, 10]}, 9, 1.2) == 9
    assert scaled({"quniform": [0.1, 1.0, 0.1]}, 0.1, 1.2) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        ({"randint": [1, 10]}, 5),
        ({"lograndint": [1, 100]}, 1),
        ({"qrandint": [4, 20, 4]}, 8),
        ({"quniform": [0.1, 1.0, 0.1]}, 0.3),
        ({"quniform": [-1.0, 1.0, 0.5]}, -0.5),
        ({"uniform": [0, 1]}, 0.5),
        ({"uniform": [0, 1]}, 0.0),
        ({"randint": [0, 10]}, 0),
    ],
)
def test_a_factor_of_1_changes_no_number(leaf: dict[str, Any], value: float) -> None:
    assert repr(scaled(leaf, value, 1)) == repr(value)


def test_a_zero_is_drawn_anew() -> None:
    assert 0 < scaled({"uniform": [0, 1]}, 0, 1.2) < 1


def test_a_choice_moves_to_a_neighbour_whatever_the_numbers_are() -> None:
    leaf = {"choice": [64, 1024, 2]}
    assert scaled(leaf, 64, 1.2) == 1024
    assert scaled(leaf, 2, 1.2) == 1024
    assert scaled(leaf, 1024, 1.2) in (64, 2)


def test_a_change_that_does_not_go_with_the_rest_is_not_made() -> None:
    parsed = space({"a": {"randint": [1, 100]}, "b": {"randint": [1, 100]}})
    mutation = Mutation(parsed, allows=lambda one: one["a"] <= one["b"])
    start: dict[str, Any] = {"a": 50, "b": 50}
    for seed in range(50):
        start = mutation.mutate(start, generator(seed))
        assert start["a"] <= start["b"]
    never = Mutation(parsed, allows=lambda _: False)
    assert never.mutate({"a": 3, "b": 4}, generator()) == {"a": 3, "b": 4}


def test_lists_single_values_and_what_goes_with_the_weights_are_not_mutable() -> None:
    raw = {
        "lr": {"loguniform": [1e-5, 1e-2]},
        "epsilon": {"choice": [[[0, 1], [10, 0]], [[0, 1], [20, 0]]]},
        "gamma": {"choice": [0.99]},
        "num_epochs": {"randint": [3, 4]},
        "model_config": {"vf_share_layers": {"choice": [True, False]}},
    }
    assert find_mutable(space(raw), is_held) == [("lr",)]
