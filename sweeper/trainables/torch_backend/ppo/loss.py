"""PPO's loss (Schulman et al. 2017, arXiv:1707.06347) with RLlib's terms, in autograd.

On a CPU the standard network (`packed_mlp`) takes its gradient from a second, hand-derived form,
`fused_loss`; `update` chooses. `test_ppo_update` compares both forms, `test_ppo_parity` compares
both with RLlib.

The first axis of every tensor is the replica. A replica's loss is the mean over its own rows, so
the sum of all losses gives each replica's parameters the gradient of its own loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sweeper.trainables.torch_backend.distributions import ActionDistribution
from sweeper.trainables.torch_backend.networks import NetworkOutputs

__all__ = [
    "LossCoefficients",
    "LossTerms",
    "Minibatch",
    "compute_loss",
    "describe_loss",
    "explained_variance",
]

_SMALL_NUMBER = 1e-6  # as in RLlib (utils/numpy.py)


class Minibatch(NamedTuple):
    """Rows of all replicas' train batches.

    Attributes:
        observations: ``[replicas, rows, *shape]``, float32 or the bytes of images.
        actions: ``float32[replicas, rows, columns]``.
        log_probs: of the actions when they were taken, ``float32[replicas, rows]``.
        advantages: standardised over each replica's train batch, ``float32[replicas, rows]``.
        value_targets: advantages plus old values, ``float32[replicas, rows]``.
        old_distribution: normalised inputs of the distribution that the actions were drawn
            from, ``float32[replicas, rows, inputs]``.
    """

    observations: Tensor
    actions: Tensor
    log_probs: Tensor
    advantages: Tensor
    value_targets: Tensor
    old_distribution: Tensor


@dataclass(frozen=True)
class LossCoefficients:
    """The coefficients of one iteration, under RLlib's names.

    Attributes:
        kl_coeff: ``float32[replicas]``; None for a loss without the KL term.
    """

    clip_param: float
    vf_clip_param: float
    vf_loss_coeff: float
    entropy_coeff: float
    kl_coeff: Tensor | None
    use_critic: bool = True


class LossTerms(NamedTuple):
    """The loss and its terms for every row, ``float32[replicas, rows]``; None: term not used.

    Attributes:
        total: the loss.
        surrogate: the paper's clipped objective, which is maximised.
        squared_error: of the values, before clipping.
        current: the current distribution, normalised, ``float32[replicas, rows, inputs]``.
        kl: KL(old ‖ current).
    """

    total: Tensor
    surrogate: Tensor
    squared_error: Tensor | None
    current: Tensor
    kl: Tensor | None


def compute_loss(
    distribution: ActionDistribution,
    outputs: NetworkOutputs,
    batch: Minibatch,
    coefficients: LossCoefficients,
) -> LossTerms:
    """The loss of every row; a replica's loss is the mean of its rows."""
    current = distribution.normalise(outputs.distribution)
    ratio = torch.exp(distribution.log_prob(current, batch.actions) - batch.log_probs)
    # The paper's min(r A, clip(r, 1 - ε, 1 + ε) A): the sign of A says which bound can lower it.
    is_gain, clip = batch.advantages > 0, coefficients.clip_param
    lower = torch.where(is_gain, -math.inf, 1 - clip)
    upper = torch.where(is_gain, 1 + clip, math.inf)
    surrogate = batch.advantages * ratio.clamp(lower, upper)
    if coefficients.use_critic:
        squared_error = (outputs.values - batch.value_targets).square()
        clipped_error = _clip_error(squared_error, coefficients.vf_clip_param)
        total = coefficients.vf_loss_coeff * clipped_error - surrogate
    else:
        squared_error = None
        total = -surrogate
    if coefficients.entropy_coeff != 0:
        total = total - coefficients.entropy_coeff * distribution.entropy(current)
    kl = None
    if coefficients.kl_coeff is not None:
        kl = distribution.kl(batch.old_distribution, current)
        total = total + coefficients.kl_coeff.unsqueeze(1) * kl
    return LossTerms(total, surrogate, squared_error, current, kl)


def describe_loss(
    distribution: ActionDistribution, terms: LossTerms, coefficients: LossCoefficients
) -> dict[str, Tensor]:
    """RLlib's metrics of a minibatch, ``float32[replicas]`` each."""
    with torch.no_grad():
        zeros = torch.zeros_like(terms.total)
        error = zeros if terms.squared_error is None else terms.squared_error
        rows = {
            "total_loss": terms.total,
            "policy_loss": -terms.surrogate,
            "vf_loss": _clip_error(error, coefficients.vf_clip_param),
            "vf_loss_unclipped": error,
            "entropy": distribution.entropy(terms.current),
            "mean_kl_loss": zeros if terms.kl is None else terms.kl,
        }
        return {name: values.mean(1) for name, values in rows.items()}


def explained_variance(targets: Tensor, values: Tensor) -> Tensor:
    """The share of the targets' variance that the values explain, at least -1; ``[replicas]``."""
    ratio = (targets - values).var(dim=1) / (targets.var(dim=1) + _SMALL_NUMBER)
    return (1 - ratio).clamp(min=-1.0)


def _clip_error(squared_error: Tensor, bound: float) -> Tensor:
    """Clips as RLlib does, not the paper: a row with a larger error has no gradient."""
    return squared_error if math.isinf(bound) else squared_error.clamp(max=bound)
