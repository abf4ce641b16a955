"""Generalised advantage estimation over the fragments of all replicas at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["estimate_advantages", "standardise"]

Array = NDArray[Any]

_MIN_DEVIATION = 1e-4  # RLlib's (connectors/learner/general_advantage_estimation.py)


def estimate_advantages(
    *,
    rewards: Array,
    values: Array,
    terminated: NDArray[np.bool_],
    ended: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    gamma: float,
    lambda_: float,
) -> NDArray[np.float32]:
    """GAE(γ, λ) of every step, ``float32[replicas, steps, envs]``.

    A terminal state is worth 0. A truncated episode and a fragment's end are bootstrapped with
    the value of the observation that came last. Nothing flows back over the end of an episode
    or from a step that is not valid.

    Args:
        rewards: ``[replicas, steps, envs]``, as the three masks.
        values: ``[replicas, steps + 1, envs]``: of each step's observation, and of the one
            after the last step. ``values[:, t + 1]`` is the value of step t's outcome, which in
            NEXT_STEP autoreset is the episode's own last observation.
        terminated: the step ended its episode in a terminal state.
        ended: the step ended its episode, terminal or truncated.
        valid: the step is part of the batch: not an autoreset's, not another batch's.
        gamma: the discount.
        lambda_: the weight of longer returns.
    """
    residuals = rewards + gamma * ~terminated * values[:, 1:] - values[:, :-1]
    decay = np.where(ended, 0.0, gamma * lambda_)
    advantages = np.empty(rewards.shape, dtype=np.float32)
    running = np.zeros(rewards[:, 0].shape)
    for step in range(rewards.shape[1] - 1, -1, -1):
        running = np.where(valid[:, step], residuals[:, step] + decay[:, step] * running, 0.0)
        advantages[:, step] = running
    return advantages


def standardise(advantages: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero mean and unit deviation per replica, over ``float32[replicas, rows]``."""
    mean = advantages.mean(axis=1, keepdims=True)
    deviation = np.maximum(advantages.std(axis=1, keepdims=True), _MIN_DEVIATION)
    standardised: NDArray[np.float32] = (advantages - mean) / deviation
    return standardised
