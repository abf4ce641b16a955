"""What the replicas of a torch trainer did in one iteration, in the contract's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.trainables.replicas import ReplicaProgress
from sweeper.trainables.rollout import Episode

__all__ = ["describe_progress"]


def describe_progress(
    *,
    env_steps: Sequence[int],
    episodes: Sequence[Sequence[Episode]],
    metrics: Mapping[str, NDArray[Any]],
    diverged: NDArray[np.bool_],
) -> list[ReplicaProgress]:
    """One iteration, replica by replica.

    Args:
        env_steps: of each replica since its start.
        episodes: of each replica, those that ended in this iteration.
        metrics: the learner's, ``float[replicas]`` each; what is not finite is left out.
        diverged: ``bool[replicas]``.
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
        )
        for replica, finished in enumerate(episodes)
    ]
