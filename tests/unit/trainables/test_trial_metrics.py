"""The rows of metrics that a trial reports."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from sweeper.metrics import Objective
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


def test_a_replica_that_diverges_in_an_evaluation_counts_as_the_worst_and_is_explained() -> None:
    metrics = TrialMetrics(replicas=3)
    for returns in ((5.0, 2.0, 3.0), (9.0, 8.0, 7.0)):
        metrics.record_training([progress(10, value) for value in returns])
        metrics.record_evaluation([evaluation(value) for value in returns])
    failed = EvaluationResult.failed("a reward of nan")
    metrics.record_evaluation([failed, evaluation(8.0), evaluation(7.0)])
    row = metrics.row(train_time_s=1)
    assert row["replica/diverged"] == [True, False, False]
    assert row["replica/diverged_because"] == ["a reward of nan", None, None]
    # Neither the value of its last evaluation, nor none at all.
    assert row["replica/evaluation/episode_return_mean"] == [2.0, 8.0, 7.0]
    # As before, if it had diverged in training already.
    metrics.record_training([progress(10, diverged=True), progress(30), progress(30)])
    metrics.record_evaluation([None, evaluation(1.0), evaluation(1.0)])
    assert metrics.row(train_time_s=1)["replica/evaluation/episode_return_mean"] == [1.0] * 3


def test_a_divergence_in_the_first_evaluation_leaves_the_trial_a_value() -> None:
    metrics = TrialMetrics(replicas=3)
    metrics.record_training([progress(10, 1.0)] * 3)
    metrics.record_evaluation([evaluation(4.0), EvaluationResult.failed("x"), evaluation(6.0)])
    assert metrics.row(train_time_s=1)["replica/evaluation/episode_return_mean"] == [4.0, 4.0, 6.0]


def test_when_most_replicas_diverge_in_an_evaluation_the_trial_fails_with_the_cause() -> None:
    metrics = TrialMetrics(replicas=2)
    metrics.record_training([progress(10, 1.0)] * 2)
    failed = EvaluationResult.failed("an odd reward")
    metrics.record_divergence([failed, None])
    with pytest.raises(TrialDivergedError, match="2 of 2 replicas diverged: an odd reward"):
        metrics.record_evaluation([None, failed])


def test_a_row_says_whether_it_follows_an_evaluation() -> None:
    metrics = TrialMetrics(replicas=1)
    metrics.record_training([progress(10)])
    assert "evaluation/is_new" not in metrics.row(train_time_s=1)
    metrics.record_evaluation([evaluation(1.0)])
    assert metrics.row(train_time_s=1)["evaluation/is_new"] is True
    metrics.record_training([progress(20)])
    assert metrics.row(train_time_s=1)["evaluation/is_new"] is False


def test_values_that_are_not_finite_are_no_learner_metrics() -> None:
    metrics = TrialMetrics(replicas=1)
    metrics.record_training([progress(20, vf_loss=math.nan)])
    assert "learner/vf_loss" not in metrics.row(train_time_s=1)


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
    metrics = TrialMetrics(replicas=3, objective=Objective(mode="min"))
    metrics.record_training([progress(10, 100.0), progress(10, 500.0), progress(10, 300.0)])
    metrics.record_training([progress(20, diverged=True), progress(20), progress(20)])
    assert metrics.row(train_time_s=1)["replica/episode_return_mean"] == [500.0, 500.0, 300.0]


EPISODES = ("episode_return_min", "episode_return_max", "episode_len_mean")


@pytest.mark.parametrize(
    ("objective", "longest"),
    [(Objective(), False), (Objective("episode_len_mean", "min"), True)],
)
def test_every_metric_of_episodes_has_the_replicas_values_and_their_worst(
    objective: Objective, longest: bool
) -> None:
    metrics = TrialMetrics(replicas=3, objective=objective)
    metrics.record_training([progress(10, 1.0, 4.0), progress(10, 5.0), progress(10, 9.0, 2.0, 7)])
    metrics.record_evaluation([EvaluationResult((1.0,), (length,)) for length in (20, 30, 40)])
    row = metrics.row(train_time_s=1)
    assert [row[f"replica/{name}"] for name in EPISODES] == [
        [1.0, 5.0, 2.0], [4.0, 5.0, 9.0], [10.5, 10.0, 11.0]
    ]  # fmt: skip
    metrics.record_training([progress(10, diverged=True), progress(20), progress(20)])
    row = metrics.row(train_time_s=1)
    length, evaluated = (11.0, 40.0) if longest else (10.0, 20.0)
    assert [row[f"replica/{name}"] for name in EPISODES] == [
        [1.0, 5.0, 2.0], [4.0, 5.0, 9.0], [length, 10.0, 11.0]
    ]  # fmt: skip
    assert row["replica/evaluation/episode_len_mean"] == [evaluated, 30.0, 40.0]
    assert row["evaluation/episode_len_mean"] == (evaluated + 70) / 3
    assert [row[name] for name in EPISODES] == [1.0, 9.0, (length + 21) / 3]


def test_a_checkpoint_of_an_earlier_version_knows_the_worst_of_all_metrics() -> None:
    metrics = TrialMetrics(replicas=3)
    metrics.record_training([progress(10, 1.0), progress(10, 5.0), progress(10, 9.0)])
    metrics.record_evaluation([evaluation(1.0), evaluation(2.0), evaluation(3.0)])
    state = json.loads(json.dumps(metrics.state()))
    state["diverged"] = [True, False, False]
    state["worst"] = {"episode_return_mean": 1.0, "evaluation/episode_return_mean": 1.0}
    older = TrialMetrics(replicas=3)
    older.restore(state)
    assert older.row(train_time_s=1)["replica/evaluation/episode_len_mean"] == [1.0] * 3
    assert older.row(train_time_s=1)["replica/episode_len_mean"] == [10.0] * 3


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
