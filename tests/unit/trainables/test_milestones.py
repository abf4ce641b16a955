"""Stop criteria, tenths of a trial, multiples of env steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.environments.settings import EnvironmentSettings
from sweeper.metrics import ENV_STEPS
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.milestones import find_met_criterion, steps_crossed, tenths_done


def settings(**changes: Any) -> TrialSettings:
    environment = EnvironmentSettings("CartPole-v1")
    return TrialSettings("PPO", "rllib", environment, constants={}, seeds=(0,), **changes)


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(1, 10**5))
def test_a_multiple_is_crossed_once(before: int, more: int, every: int) -> None:
    multiples = any(
        before < multiple * every <= before + more
        for multiple in range(before // every, (before + more) // every + 1)
    )
    assert steps_crossed(before, before + more, every) == multiples
    assert not steps_crossed(before, before + more, None)


def test_a_stop_criterion_is_met_at_its_value() -> None:
    stop = {"num_env_steps_sampled_lifetime": 100000.0, "episode_return_mean": 475.5}
    below = {"num_env_steps_sampled_lifetime": 99999}
    assert find_met_criterion(stop, below) is None
    assert find_met_criterion(stop, {**below, "episode_return_mean": math.nan}) is None
    met = find_met_criterion(stop, {**below, "episode_return_mean": 475.5})
    assert met == "episode_return_mean >= 475.5"
    met = find_met_criterion(stop, {"num_env_steps_sampled_lifetime": 100000})
    assert met == "num_env_steps_sampled_lifetime >= 100000"
    assert find_met_criterion(None, below) is None


@pytest.mark.parametrize(
    ("stop", "budget", "row", "tenths"),
    [
        ({ENV_STEPS: 1000}, None, {ENV_STEPS: 250}, 2),
        ({"time_total_s": 60.0}, None, {"time_total_s": 31.0}, 5),
        ({"training_iteration": 20}, None, {"training_iteration": 20}, 10),
        ({}, 100.0, {"time_total_s": 45.0}, 4),
        ({"time_total_s": 10.0, "training_iteration": 100}, None,
         {"time_total_s": 2.0, "training_iteration": 90}, 9),
        ({"episode_return_mean": 475.0}, None, {"episode_return_mean": 400.0}, 0),
        (None, None, {"time_total_s": 5.0}, 0),
    ],
)  # fmt: skip
def test_the_nearest_bound_determines_the_tenths(
    stop: dict[str, float] | None, budget: float | None, row: dict[str, float], tenths: int
) -> None:
    assert tenths_done(settings(stop=stop, time_budget_s=budget), row) == tenths


def test_a_trial_without_a_bound_on_env_steps_uses_its_share_of_the_searchs() -> None:
    row = {ENV_STEPS: 250}
    assert tenths_done(settings(stop={}, env_steps_share=1000.0), row) == 2
    assert tenths_done(settings(stop={ENV_STEPS: 500}, env_steps_share=1000.0), row) == 5
