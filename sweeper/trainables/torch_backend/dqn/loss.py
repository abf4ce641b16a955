"""DQN's loss by autograd: the TD error of n-step transitions, or a distance of distributions.

The standard network's TD loss (``num_atoms`` 1, on a CPU) has a second, hand-derived form in
`fused_loss`; `update` chooses. `test_dqn_update` compares the forms with each other,
`test_dqn_parity` both with RLlib.

Mnih et al. 2015 ("Human-level control through deep reinforcement learning"), with the options of
Hessel et al. 2018 ("Rainbow"): double Q (van Hasselt et al. 2016) and the distribution of returns
(Bellemare et al. 2017, "A Distributional Perspective on Reinforcement Learning"). Term for term
RLlib's algorithms/dqn/torch/dqn_torch_learner.py.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sweeper.trainables.torch_backend.dqn.networks import BatchValues, QHead
from sweeper.trainables.torch_backend.replay.buffer import ReplaySample

__all__ = ["LossTerms", "compute_loss", "describe_loss"]


class LossTerms(NamedTuple):
    """The terms of the loss, ``float32[replicas, rows]`` each.

    Attributes:
        weighted: weighted losses; a replica minimises the mean of its rows.
        td_errors: absolute TD errors, the new priorities.
        chosen: Q values of the actions taken.
    """

    weighted: Tensor
    td_errors: Tensor
    chosen: Tensor


def compute_loss(
    head: QHead, values: BatchValues, sample: ReplaySample, *, td_error_loss_fn: str
) -> LossTerms:
    """Compute the loss of every row.

    The action at the end is chosen by ``values.after`` (double Q), or without it by ``target``.
    ``td_error_loss_fn`` is ``huber`` (with its bend at 1) or ``mse``; a distribution ignores it.
    """
    current, target_values = values.current, values.target
    index, rewards, discounts, weights = (
        torch.from_numpy(array).to(current.values.device)
        for array in (sample.actions, sample.rewards, sample.discounts, sample.weights)
    )
    actions = index.unsqueeze(-1)
    chosen = current.values.gather(-1, actions).squeeze(-1)
    choosing = target_values if values.after is None else values.after
    best = choosing.values.argmax(dim=-1, keepdim=True)
    if current.logits is not None and target_values.logits is not None:
        logits = _select(current.logits, actions)
        probabilities = torch.softmax(_select(target_values.logits, best), dim=-1)
        with torch.no_grad():
            target = project(head, probabilities, rewards, discounts)
        # The Kullback-Leibler divergence without the target's entropy, which is constant.
        td_errors = -(target * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
        return LossTerms(weights * td_errors, td_errors.detach(), chosen)
    after = target_values.values.gather(-1, best).squeeze(-1)
    target = rewards + discounts * after
    loss = functional.huber_loss if td_error_loss_fn == "huber" else functional.mse_loss
    weighted = weights * loss(chosen, target, reduction="none")
    return LossTerms(weighted, (chosen.detach() - target).abs(), chosen)


def project(head: QHead, probabilities: Tensor, rewards: Tensor, discounts: Tensor) -> Tensor:
    """Project the distribution of ``reward + discount * return`` on the atoms.

    The probability of a point between two atoms is split by its distance to them (Bellemare et
    al. 2017, algorithm 1).

    Probabilities are those of the returns at the end, ``float32[replicas, rows, atoms]``, rewards
    and discounts ``float32[replicas, rows]``. Returns ``float32[replicas, rows, atoms]``.
    """
    support = head.support(probabilities.device)
    moved = rewards.unsqueeze(-1) + discounts.unsqueeze(-1) * support
    spacing = (head.v_max - head.v_min) / float(head.atoms - 1)
    positions = (moved.clamp(head.v_min, head.v_max) - head.v_min) / spacing
    lower = positions.nan_to_num().floor().clamp(0, head.atoms - 1)
    # Rounding can put v_max just beyond the last atom.
    upper = positions.nan_to_num().ceil().clamp(0, head.atoms - 1)
    is_atom = (upper - lower < 0.5).to(positions.dtype)
    projected = torch.zeros_like(probabilities)
    projected.scatter_add_(-1, lower.long(), probabilities * (upper - positions + is_atom))
    projected.scatter_add_(-1, upper.long(), probabilities * (positions - lower))
    return projected


def describe_loss(terms: LossTerms) -> dict[str, Tensor]:
    """Return a batch's metrics under RLlib's names, ``float32[replicas]`` each."""
    with torch.no_grad():
        loss = terms.weighted.mean(dim=1)
        return {
            "total_loss": loss,
            "qf_loss": loss,
            "qf_mean": terms.chosen.mean(dim=1),
            "qf_max": terms.chosen.amax(dim=1),
            "qf_min": terms.chosen.amin(dim=1),
            "td_error_mean": terms.td_errors.mean(dim=1),
        }


def _select(logits: Tensor, actions: Tensor) -> Tensor:
    """Return the logits of one action per row, ``float32[replicas, rows, atoms]``."""
    index = actions.unsqueeze(-1).expand(*actions.shape, logits.shape[-1])
    return logits.gather(-2, index).squeeze(-2)
