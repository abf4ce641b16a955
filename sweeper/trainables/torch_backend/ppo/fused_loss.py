"""The loss of `loss` with a gradient derived by hand, for the standard network on a CPU.

Read `loss` first: it has the same loss in autograd, and says when this form is used, why, and
which tests compare both. Minibatches have their rows side by side here,
``[replicas, columns, rows]``, as in `packed_mlp`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.distributions import ActionDistribution
from sweeper.trainables.torch_backend.packed_image_network import PackedImageNetwork
from sweeper.trainables.torch_backend.packed_mlp import PackedMlp
from sweeper.trainables.torch_backend.ppo.fused_densities import evaluate_density
from sweeper.trainables.torch_backend.ppo.loss import LossCoefficients, LossTerms, Minibatch

__all__ = ["differentiate_loss"]

Array = NDArray[Any]


def differentiate_loss(
    network: PackedMlp | PackedImageNetwork,
    distribution: ActionDistribution,
    batch: Minibatch,
    coefficients: LossCoefficients,
) -> tuple[Tensor, LossTerms]:
    """Compute the loss and write the gradient of each replica's mean to the network's gradients.

    Returns:
        The values, ``float32[replicas, rows]``, and the terms of the loss, as `compute_loss`.
    """
    rows = batch.log_probs.shape[1]
    inputs, values = network.forward(batch.observations.numpy())
    density = evaluate_density(distribution, inputs)
    advantages = batch.advantages.numpy()
    log_ratio = density.log_prob(_rows_last(batch.actions))
    log_ratio -= batch.log_probs.numpy()
    ratio = np.exp(log_ratio)
    gain = advantages * ratio
    clipped = np.maximum(ratio, 1 - coefficients.clip_param)
    np.minimum(clipped, 1 + coefficients.clip_param, out=clipped)
    clipped *= advantages
    surrogate = np.minimum(gain, clipped)
    # The derivative by the log probability: r A, or 0 if the row is clipped. Multiplying, not
    # masking, keeps NaN, as autograd does.
    slope = gain * (gain <= surrogate)
    slope /= -rows
    total = -surrogate
    squared_error = None
    if coefficients.use_critic:
        error = values[:, 0] - batch.value_targets.numpy()
        squared_error = error * error
        clipped_error = squared_error
        error *= 2 * coefficients.vf_loss_coeff / rows  # now the derivative by the values
        if not math.isinf(coefficients.vf_clip_param):
            clipped_error = np.minimum(squared_error, coefficients.vf_clip_param)
            error *= squared_error <= coefficients.vf_clip_param
        total += coefficients.vf_loss_coeff * clipped_error
    else:
        error = np.zeros_like(total)
    if coefficients.entropy_coeff != 0:
        total -= coefficients.entropy_coeff * density.entropy()
    kl = kl_slope = None
    if coefficients.kl_coeff is not None:
        kl_coeff = coefficients.kl_coeff.numpy()[:, None]
        kl = density.kl(_rows_last(batch.old_distribution))
        total += kl_coeff * kl
        kl_slope = kl_coeff[..., None] / rows
    gradient = density.gradient(slope, -coefficients.entropy_coeff / rows, kl_slope)
    network.backward(gradient, error[:, None])
    return torch.from_numpy(values[:, 0]), LossTerms(
        total=torch.from_numpy(total),
        surrogate=torch.from_numpy(surrogate),
        squared_error=None if squared_error is None else torch.from_numpy(squared_error),
        current=torch.from_numpy(density.normalised).mT,
        kl=None if kl is None else torch.from_numpy(kl),
    )


def _rows_last(tensor: Tensor) -> Array:
    """``[replicas, columns, rows]`` from ``[replicas, rows, columns]``, without a copy."""
    array: Array = tensor.mT.numpy()
    return array
