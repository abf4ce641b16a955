"""Counts a torch trainer's episodes, and reports its iterations as the contract asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeper.trainables.contract import ReplicaProgress

__all__ = ["Episode", "EpisodeCounter", "describe_progress"]

Array = NDArray[Any]
Mask = NDArray[np.bool_]


class Episode(NamedTuple):
    """A finished episode: the sum of the environment's own rewards, and the env steps."""

    episode_return: float
    length: int


class EpisodeCounter:
    """Sums up the running episode of each sub-environment.

    Attributes:
        lengths: env steps of the running episodes, ``int64[replicas, envs]``.
    """

    def __init__(self, replicas: int, envs: int) -> None:
        self.lengths = np.zeros((replicas, envs), dtype=np.int64)
        self._returns = np.zeros((replicas, envs))
        self._finished: list[list[Episode]] = [[] for _ in range(replicas)]

    def forget(self) -> None:
        """Drop the running episodes; finished ones stay."""
        self.lengths[:] = 0
        self._returns[:] = 0.0

    def count(self, rewards: Array, is_real: Mask, ended: Mask) -> None:
        """Add one step of all sub-environments.

        Args:
            rewards: the environments' own, ``float[replicas, envs]``; the masks have the same
                shape.
            is_real: sub-environments that took an env step, not a reset.
            ended: sub-environments whose episode ended with this step.
        """
        self._returns += rewards * is_real
        self.lengths += is_real
        if not ended.any():
            return
        for replica, env in np.argwhere(ended):
            self._finished[replica].append(
                Episode(float(self._returns[replica, env]), int(self.lengths[replica, env]))
            )
        self._returns[ended] = 0.0
        self.lengths[ended] = 0

    def take(self) -> list[list[Episode]]:
        """The episodes that finished since the last call, one list per replica."""
        taken, self._finished = self._finished, [[] for _ in self._finished]
        return taken


def describe_progress(
    *,
    env_steps: Sequence[int],
    episodes: Sequence[Sequence[Episode]],
    metrics: Mapping[str, NDArray[Any]],
    diverged: NDArray[np.bool_],
    causes: Mapping[int, str],
) -> list[ReplicaProgress]:
    """One iteration of every replica.

    Args:
        env_steps: real env steps of each replica.
        episodes: those that each finished in the iteration.
        metrics: ``float[replicas]``; non-finite ones are left out.
        diverged: ``bool[replicas]``.
        causes: why a replica diverged, where that is known.
    """
    return [
        ReplicaProgress(
            env_steps=env_steps[replica],
            episode_returns=tuple(episode.episode_return for episode in finished),
            episode_lengths=tuple(episode.length for episode in finished),
            learner={
                key: float(values[replica])
                for key, values in metrics.items()
                if np.isfinite(values[replica])
            },
            diverged=bool(diverged[replica]),
            cause=causes.get(replica),
        )
        for replica, finished in enumerate(episodes)
    ]
