"""Generalised advantage estimation (GAE; Schulman et al. 2016, arXiv:1506.02438)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["estimate_advantages", "standardise"]

Array = NDArray[Any]

_MIN_DEVIATION = 1e-4  # as in RLlib (connectors/learner/general_advantage_estimation.py)


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
    """GAE(γ, λ) of every step, for all replicas at once.

    A terminal state is worth 0. A truncated episode and the end of a fragment are bootstrapped
    with the value of their last observation. Nothing flows back across the end of an episode or
    from an invalid step.

    Args:
        rewards: ``[replicas, steps, envs]``; the three masks have the same shape.
        values: ``[replicas, steps + 1, envs]``: of each step's observation, and of the one after
            the last step. ``values[:, t + 1]`` belongs to the outcome of step t: with NEXT_STEP
            autoreset that is the episode's own last observation.
        terminated: the step ended its episode in a terminal state.
        ended: the step ended its episode, terminal or truncated.
        valid: the step belongs to this batch and is not an autoreset.
        gamma: the discount γ.
        lambda_: the weight λ of longer returns.

    Returns:
        ``float32[replicas, steps, envs]``.
    """
    # The residuals δ_t = r_t + γ V(s_{t+1}) - V(s_t), summed with the decay γλ.
    residuals = rewards + gamma * ~terminated * values[:, 1:] - values[:, :-1]
    decay = np.where(ended, 0.0, gamma * lambda_)
    advantages = np.empty(rewards.shape, dtype=np.float32)
    running = np.zeros(rewards[:, 0].shape)
    for step in range(rewards.shape[1] - 1, -1, -1):
        running = np.where(valid[:, step], residuals[:, step] + decay[:, step] * running, 0.0)
        advantages[:, step] = running
    return advantages


def standardise(advantages: NDArray[np.float32]) -> NDArray[np.float32]:
    """Advantages ``float32[replicas, rows]`` with zero mean and unit deviation per replica."""
    mean = advantages.mean(axis=1, keepdims=True)
    deviation = np.maximum(advantages.std(axis=1, keepdims=True), _MIN_DEVIATION)
    standardised: NDArray[np.float32] = (advantages - mean) / deviation
    return standardised
