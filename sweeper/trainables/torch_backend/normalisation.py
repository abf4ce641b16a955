"""Normalises observations and rewards by running moments, separately for each replica.

As in Stable-Baselines3's ``VecNormalize``, with which RL Zoo's hyperparameters were tuned:
observations by the moments of all observations acted on so far, rewards by the deviation of their
discounted sum, both clipped to ±10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ObservationNormaliser", "RewardNormaliser", "RunningMoments"]

Array = NDArray[Any]

_EPSILON = 1e-8
_CLIP = 10.0
_INITIAL_COUNT = 1e-4  # makes the first update well-defined; its weight is negligible


class RunningMoments:
    """Mean and variance of all rows so far, ``float64[replicas, *shape]``."""

    def __init__(self, replicas: int, shape: tuple[int, ...]) -> None:
        self.mean = np.zeros((replicas, *shape))
        self.variance = np.ones((replicas, *shape))
        self.count = np.full(replicas, _INITIAL_COUNT)

    def update(self, rows: Array, counted: NDArray[np.bool_]) -> None:
        """Add the rows ``[replicas, rows, *shape]`` where ``counted[replicas, rows]``."""
        number = counted.sum(axis=1)
        expand = (slice(None), *[None] * (self.mean.ndim - 1))
        weight = counted[(..., *[None] * (rows.ndim - 2))]
        divisor = np.maximum(number, 1)[expand]
        mean = (rows * weight).sum(axis=1, dtype=np.float64) / divisor
        squares = np.where(weight, rows - mean[:, None], 0.0) ** 2
        total = self.count + number
        share = (number / total)[expand]
        delta = mean - self.mean
        # Chan's formula for the joint moments of two samples; no rows, no change.
        self.variance = (
            self.variance * (1 - share)
            + squares.sum(axis=1) / total[expand]
            + delta**2 * share * (1 - share)
        )
        self.mean = self.mean + delta * share
        self.count = total

    def state(self) -> dict[str, Array]:
        """Mean, variance and count."""
        return {"mean": self.mean, "variance": self.variance, "count": self.count}

    def restore(self, state: Mapping[str, Array]) -> None:
        """The inverse of `state`."""
        self.mean = np.array(state["mean"], dtype=np.float64)
        self.variance = np.array(state["variance"], dtype=np.float64)
        self.count = np.array(state["count"], dtype=np.float64)


class ObservationNormaliser:
    """Standardises observations by their running moments."""

    def __init__(self, replicas: int, shape: tuple[int, ...]) -> None:
        self.moments = RunningMoments(replicas, shape)

    def normalise(self, observations: Array) -> NDArray[np.float32]:
        """``float32[replicas, rows, *shape]``; does not update the moments."""
        deviation = np.sqrt(self.moments.variance + _EPSILON)[:, None]
        standardised = (observations - self.moments.mean[:, None]) / deviation
        return np.clip(standardised, -_CLIP, _CLIP).astype(np.float32)


class RewardNormaliser:
    """Scales rewards by the running deviation of their discounted sum."""

    def __init__(self, replicas: int, envs: int, gamma: float) -> None:
        self.moments = RunningMoments(replicas, ())
        self._gamma = gamma
        self._returns = np.zeros((replicas, envs))

    def normalise(
        self, rewards: Array, *, counted: NDArray[np.bool_], ended: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Update with a step's rewards ``[replicas, envs]`` and return them scaled."""
        returns = self._returns * self._gamma + rewards
        self._returns = np.where(counted, returns, self._returns)
        self.moments.update(self._returns, counted)
        self._returns[ended] = 0.0
        deviation = np.sqrt(self.moments.variance + _EPSILON)[:, None]
        return np.clip(rewards / deviation, -_CLIP, _CLIP).astype(np.float32)

    def forget_episodes(self) -> None:
        """Start new episodes everywhere."""
        self._returns[:] = 0.0
