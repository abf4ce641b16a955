"""The progress of each replica of a torch trainer."""

from __future__ import annotations

import numpy as np

from sweeper.trainables.contract import ReplicaProgress
from sweeper.trainables.torch_backend.progress import Episode, describe_progress


def test_each_replica_gets_its_own_numbers_and_only_finite_ones():
    first, second = describe_progress(
        env_steps=[30, 20],
        episodes=[[Episode(1.5, 10), Episode(float("nan"), 7)], []],
        metrics={
            "loss": np.array([0.5, np.nan]),
            "entropy": np.array([np.inf, 0.25], dtype=np.float32),
        },
        diverged=np.array([False, True]),
        causes={1: "a reward of nan"},
    )
    assert first.env_steps == 30
    assert first.learner == {"loss": 0.5}
    assert not first.diverged
    # An environment's returns are passed on unchanged.
    assert str(first.episode_returns) == "(1.5, nan)"
    assert first.episode_lengths == (10, 7)
    cause = "a reward of nan"
    learner = {"entropy": 0.25}
    assert second == ReplicaProgress(env_steps=20, learner=learner, diverged=True, cause=cause)
