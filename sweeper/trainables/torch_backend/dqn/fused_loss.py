"""The TD loss of the standard Q network with its hand-derived gradient.

The same loss as `loss.compute_loss`, for ``num_atoms`` 1; `loss` names the tests that compare them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sweeper.trainables.torch_backend.dqn.loss import LossTerms
from sweeper.trainables.torch_backend.dqn.packed_q import PackedQNetwork
from sweeper.trainables.torch_backend.replay.buffer import ReplaySample

__all__ = ["differentiate_td"]

Array = NDArray[np.float32]


def differentiate_td(
    online: PackedQNetwork,
    target: PackedQNetwork,
    sample: ReplaySample,
    *,
    double_q: bool,
    is_huber: bool,
) -> LossTerms:
    """Compute the loss of every row, and write the gradient of each replica's mean.

    With ``double_q`` the online network chooses the action at the end, else the target network.
    Huber's loss has its bend at 1; the other one is the squared error.
    """
    rows = sample.actions.shape[1]
    starts, ends = sample.observations[:, :rows], sample.observations[:, rows:]
    after = _q_values(*target.forward(ends))
    advantages, values = online.forward(sample.observations if double_q else starts, kept=rows)
    both = _q_values(advantages, values)
    best = (both[:, rows:] if double_q else after).argmax(axis=-1)
    replica, row = np.ogrid[: len(best), :rows]
    goal = sample.rewards + sample.discounts * after[replica, row, best]
    chosen = both[replica, row, sample.actions]
    error = chosen - goal
    size = np.abs(error)
    if is_huber:
        bent = np.minimum(size, 1.0)
        loss, slope = bent * (size - 0.5 * bent), error.clip(-1.0, 1.0)
    else:
        loss, slope = error * error, 2 * error
    slope *= sample.weights / rows
    # Q = A - mean A + V, so dQ_a / dA_b = (1 if a == b else 0) - 1 / actions, and dQ / dV = 1.
    gradient = np.zeros_like(after)
    gradient[replica, row, sample.actions] = slope
    if values is not None:
        gradient -= slope[..., None] / gradient.shape[-1]
    online.backward(gradient, None if values is None else slope[..., None])
    return LossTerms(*map(torch.from_numpy, (sample.weights * loss, size, chosen)))


def _q_values(advantages: Array, values: Array | None) -> Array:
    if values is None:
        return advantages
    mean: Array = advantages.sum(axis=-1, keepdims=True) / np.float32(advantages.shape[-1])
    q_values: Array = advantages + (values - mean)
    return q_values
