"""The contract of a trial: seeds that never meet, and rows of metrics."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.environments.settings import EnvironmentSettings
from sweeper.metrics import ENV_STEPS
from sweeper.search.configuration import merge_configuration
from sweeper.trainables.contract import (
    STAGES,
    EvaluationResult,
    Purpose,
    ReplicaProgress,
    TrialDivergedError,
    TrialSettings,
    derive_seed,
    find_met_criterion,
    steps_crossed,
    tenths_done,
)
from sweeper.trainables.metrics import TrialMetrics


def progress(env_steps: int, *returns: float, diverged: bool = False, **learner: float):
    return ReplicaProgress(
        env_steps=env_steps,
        episode_returns=returns,
        episode_lengths=tuple(10 + index for index in range(len(returns))),
        learner=learner,
        diverged=diverged,
    )


def settings(**changes: Any) -> TrialSettings:
    environment = EnvironmentSettings("CartPole-v1")
    return TrialSettings("PPO", "rllib", environment, constants={}, seeds=(0,), **changes)


def evaluation(*returns: float) -> EvaluationResult:
    return EvaluationResult(returns, tuple(1 for _ in returns))


def test_seeds_of_all_stages_and_purposes_lie_far_apart() -> None:
    seeds = sorted(
        derive_seed(seed, stage, purpose)
        for seed in range(40)
        for stage in STAGES
        for purpose in Purpose
    )
    assert all(0 <= seed < 2**31 for seed in seeds)
    # RLlib adds the worker's and the sub-environment's index to the seed it is given.
    assert min(b - a for a, b in itertools.pairwise(seeds)) > 64


def test_a_seed_is_the_same_in_every_version() -> None:
    assert derive_seed(0, "search", Purpose.TRAINING) == 1484405855
    assert derive_seed(5, "confirmation", Purpose.REPLAY) == 1634594561


def test_parameters_are_merged_into_nested_constants() -> None:
    constants = {"lr": 0.1, "model_config": {"fcnet_hiddens": [64], "vf_share_layers": True}}
    merged = merge_configuration(constants, {"lr": 0.2, "model_config": {"fcnet_hiddens": [8]}})
    assert merged == {
        "lr": 0.2,
        "model_config": {"fcnet_hiddens": [8], "vf_share_layers": True},
    }
    assert constants["model_config"]["fcnet_hiddens"] == [64]


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(1, 10**5))
def test_a_multiple_is_crossed_once(before: int, more: int, every: int) -> None:
    multiples = any(
        before < multiple * every <= before + more
        for multiple in range(before // every, (before + more) // every + 1)
    )
    assert steps_crossed(before, before + more, every) == multiples
    assert not steps_crossed(before, before + more, None)


def test_a_stop_criterion_is_met_from_its_value_on() -> None:
    stop = {"num_env_steps_sampled_lifetime": 100000.0, "episode_return_mean": 475.5}
    below = {"num_env_steps_sampled_lifetime": 99999}
    assert find_met_criterion(stop, below) is None
    assert find_met_criterion(stop, {**below, "episode_return_mean": math.nan}) is None
    met = find_met_criterion(stop, {**below, "episode_return_mean": 475.5})
    assert met == "episode_return_mean >= 475.5"
    met = find_met_criterion(stop, {"num_env_steps_sampled_lifetime": 100000})
    assert met == "num_env_steps_sampled_lifetime >= 100000"
    assert find_met_criterion(None, below) is None


def test_the_return_is_absent_until_every_replica_has_finished_an_episode() -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(10, 1.0), progress(10)])
    assert "episode_return_mean" not in metrics.row(train_time_s=1)
    metrics.record_training([progress(20), progress(20, 3.0, 5.0)])
    row = metrics.row(train_time_s=0.5)
    assert row["episode_return_mean"] == 2.5
    assert row["replica/episode_return_mean"] == [1.0, 4.0]
    assert (row["episode_return_min"], row["episode_return_max"]) == (1.0, 5.0)
    assert row["episode_len_mean"] == 10.25
    assert row["num_episodes"] == 2
    assert row["env_steps_per_s"] == 40.0


def test_the_window_of_episodes_is_carried_across_iterations_and_bounded() -> None:
    metrics = TrialMetrics(replicas=1, smoothing_episodes=3)
    metrics.record_training([progress(10, 0.0, 1.0)])
    metrics.record_training([progress(20, 2.0, 6.0)])
    assert metrics.row(train_time_s=1)["episode_return_mean"] == 3.0
    metrics.record_training([progress(30)])
    assert metrics.row(train_time_s=1)["episode_return_mean"] == 3.0


def test_rivals_count_the_least_env_steps_of_the_replicas() -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(130), progress(128)])
    row = metrics.row(train_time_s=1)
    assert row["num_env_steps_sampled_lifetime"] == 128
    assert row["replica/num_env_steps_sampled_lifetime"] == [130, 128]


def test_an_evaluation_once_there_is_always_there() -> None:
    metrics = TrialMetrics(replicas=1)
    metrics.record_training([progress(10)])
    assert "evaluation/episode_return_mean" not in metrics.row(train_time_s=1)
    metrics.record_evaluation([evaluation(1.0, 3.0)])
    for _ in range(2):
        metrics.record_training([progress(20)])
        assert metrics.row(train_time_s=1)["evaluation/episode_return_mean"] == 2.0
    metrics.record_evaluation([None])
    assert metrics.row(train_time_s=1)["evaluation/episode_return_mean"] == 2.0


@given(st.lists(st.floats(-1e6, 1e6), max_size=4), st.sampled_from([math.nan, math.inf]))
def test_a_return_that_is_not_finite_shows_and_no_older_value_stands_in_for_it(
    returns: list[float], broken: float
) -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(10, 1.0), progress(10, 2.0)])
    metrics.record_evaluation([evaluation(1.0), evaluation(2.0)])
    metrics.record_training([progress(20, *returns, broken), progress(20, vf_loss=math.nan)])
    metrics.record_evaluation([evaluation(*returns, broken), evaluation(2.0)])
    row = metrics.row(train_time_s=1)
    assert not math.isfinite(row["episode_return_mean"])
    assert not math.isfinite(row["evaluation/episode_return_mean"])
    assert "learner/vf_loss" not in row


def test_with_mode_min_a_diverged_replica_counts_as_the_greatest_seen() -> None:
    metrics = TrialMetrics(replicas=3, mode="min")
    metrics.record_training([progress(10, 100.0), progress(10, 500.0), progress(10, 300.0)])
    metrics.record_training([progress(20, diverged=True), progress(20), progress(20)])
    assert metrics.row(train_time_s=1)["replica/episode_return_mean"] == [500.0, 500.0, 300.0]


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
def test_a_trial_knows_its_tenths_by_whichever_bound_is_nearest(
    stop: dict[str, float] | None, budget: float | None, row: dict[str, float], tenths: int
) -> None:
    assert tenths_done(settings(stop=stop, time_budget_s=budget), row) == tenths


def test_a_trial_without_env_steps_of_its_own_divides_its_share_of_the_searchs() -> None:
    row = {ENV_STEPS: 250}
    assert tenths_done(settings(stop={}, env_steps_share=1000.0), row) == 2
    assert tenths_done(settings(stop={ENV_STEPS: 500}, env_steps_share=1000.0), row) == 5


def test_a_diverged_replica_counts_as_the_worst_seen_and_holds_nobody_back() -> None:
    metrics = TrialMetrics(replicas=3)
    metrics.record_training([progress(10, 1.0), progress(10, 5.0), progress(10, 9.0)])
    metrics.record_evaluation([evaluation(2.0), evaluation(6.0), evaluation(10.0)])
    metrics.record_training(
        [progress(20, 8.0), progress(20, 7.0), progress(10, diverged=True, entropy=3.0)]
    )
    metrics.record_evaluation([evaluation(20.0), evaluation(30.0), None])
    row = metrics.row(train_time_s=1)
    assert row["replica/episode_return_mean"] == [4.5, 6.0, 1.0]
    assert row["episode_return_mean"] == pytest.approx(11.5 / 3)
    assert row["replica/evaluation/episode_return_mean"] == [20.0, 30.0, 2.0]
    assert row["num_env_steps_sampled_lifetime"] == 20
    assert row["replica/diverged"] == [False, False, True]
    assert "learner/entropy" not in row


def test_a_replica_that_diverged_before_its_first_episode_counts_once_a_value_is_known() -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(10, diverged=True), progress(10)])
    assert "episode_return_mean" not in metrics.row(train_time_s=1)
    metrics.record_training([progress(10, diverged=True), progress(20, 3.0)])
    assert metrics.row(train_time_s=1)["episode_return_mean"] == 3.0


def test_more_than_half_diverged_ends_the_trial() -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(10, 1.0), progress(10, diverged=True)])
    with pytest.raises(TrialDivergedError, match="2 of 2 replicas diverged"):
        metrics.record_training([progress(12, diverged=True), progress(10, diverged=True)])


def test_rows_go_on_after_a_restore_as_if_nothing_had_happened() -> None:
    metrics = TrialMetrics(replicas=2, smoothing_episodes=2)
    metrics.record_training([progress(10, 1.0, 2.0, 3.0), progress(10, 5.0)])
    metrics.record_evaluation([evaluation(2.0), None])
    restored = TrialMetrics(replicas=2, smoothing_episodes=2)
    restored.restore(json.loads(json.dumps(metrics.state())))
    for each in (metrics, restored):
        each.record_training([progress(30, 4.0), progress(10, diverged=True)])
        each.record_evaluation([evaluation(8.0), None])
    assert restored.row(train_time_s=1) == metrics.row(train_time_s=1)
    assert restored.env_steps == 30
    assert restored.diverged == (False, True)


def test_learner_metrics_are_means_over_the_replicas_that_report_them() -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(10, vf_loss=1.0, entropy=0.5), progress(10, vf_loss=3.0)])
    row = metrics.row(train_time_s=1)
    assert (row["learner/vf_loss"], row["learner/entropy"]) == (2.0, 0.5)
