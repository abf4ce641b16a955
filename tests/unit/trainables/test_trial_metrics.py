"""The rows of metrics that a trial reports."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.trainables.contract import EvaluationResult, ReplicaProgress, TrialDivergedError
from sweeper.trainables.metrics import TrialMetrics


def progress(env_steps: int, *returns: float, diverged: bool = False, **learner: float):
    return ReplicaProgress(
        env_steps=env_steps,
        episode_returns=returns,
        episode_lengths=tuple(10 + index for index in range(len(returns))),
        learner=learner,
        diverged=diverged,
    )


def evaluation(*returns: float) -> EvaluationResult:
    return EvaluationResult(returns, tuple(1 for _ in returns))


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


def test_the_window_of_episodes_spans_iterations_and_is_bounded() -> None:
    metrics = TrialMetrics(replicas=1, smoothing_episodes=3)
    metrics.record_training([progress(10, 0.0, 1.0)])
    metrics.record_training([progress(20, 2.0, 6.0)])
    assert metrics.row(train_time_s=1)["episode_return_mean"] == 3.0
    metrics.record_training([progress(30)])
    assert metrics.row(train_time_s=1)["episode_return_mean"] == 3.0


def test_cut_evaluation_episodes_are_counted_over_replicas_and_kept() -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(10), progress(10)])
    metrics.record_evaluation([evaluation(1.0), evaluation(2.0)])
    assert "evaluation/num_capped_episodes" not in metrics.row(train_time_s=1)
    metrics.record_evaluation(
        [EvaluationResult((1.0, 2.0), (5, 3), 1), EvaluationResult((0.0, 0.0), (5, 5), 2)]
    )
    assert metrics.row(train_time_s=1)["evaluation/num_capped_episodes"] == 3
    again = TrialMetrics(replicas=2)
    state = json.loads(json.dumps(metrics.state()))
    again.restore(state)
    assert again.row(train_time_s=1) == metrics.row(train_time_s=1) | {
        "num_episodes": 0,
        "env_steps_per_s": 0.0,
    }
    del state["capped"]  # as older versions saved it
    older = TrialMetrics(replicas=2)
    older.restore(state)
    assert "evaluation/num_capped_episodes" not in older.row(train_time_s=1)


def test_a_trials_env_steps_are_the_minimum_of_its_replicas() -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(130), progress(128)])
    row = metrics.row(train_time_s=1)
    assert row["num_env_steps_sampled_lifetime"] == 128
    assert row["replica/num_env_steps_sampled_lifetime"] == [130, 128]


def test_an_evaluation_is_repeated_in_later_rows() -> None:
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
def test_a_return_that_is_not_finite_freezes_its_replica_and_is_named(
    returns: list[float], broken: float
) -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(10, 1.0), progress(10, 2.0)])
    metrics.record_evaluation([evaluation(1.0), evaluation(2.0)])
    metrics.record_training([progress(20, 1.0), progress(20, vf_loss=math.nan)])
    metrics.record_evaluation([evaluation(*returns, broken), evaluation(2.0)])
    row = metrics.row(train_time_s=1)
    assert row["replica/diverged"] == [True, False]
    first, second = row["replica/diverged_because"]
    assert first == f"the environment gave a return of {broken} in an evaluation"
    assert second is None
    assert row["replica/evaluation/episode_return_mean"] == [1.0, 2.0]
    assert "learner/vf_loss" not in row


def test_when_most_replicas_are_frozen_the_trial_fails_with_the_cause() -> None:
    metrics = TrialMetrics(replicas=3)
    metrics.record_training([progress(10, 1.0), progress(10, diverged=True), progress(10)])
    with pytest.raises(TrialDivergedError, match="2 of 3 replicas diverged: an odd reward"):
        metrics.record_training(
            [
                progress(20),
                progress(10, diverged=True),
                dataclasses.replace(progress(10, diverged=True), cause="an odd reward"),
            ]
        )


def test_with_mode_min_a_diverged_replica_counts_as_the_maximum_seen() -> None:
    metrics = TrialMetrics(replicas=3, mode="min")
    metrics.record_training([progress(10, 100.0), progress(10, 500.0), progress(10, 300.0)])
    metrics.record_training([progress(20, diverged=True), progress(20), progress(20)])
    assert metrics.row(train_time_s=1)["replica/episode_return_mean"] == [500.0, 500.0, 300.0]


def test_a_diverged_replica_counts_as_the_worst_seen_and_not_in_env_steps() -> None:
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


def test_rows_after_a_restore_equal_those_without_one() -> None:
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
