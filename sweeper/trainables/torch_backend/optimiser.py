"""Adam over all replicas' parameters as one tensor, and gradient clipping, each replica its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from sweeper.trainables.torch_backend.networks import ReplicaNetworks

__all__ = ["ReplicaAdam", "clip_gradients"]

_NORM_EPSILON = np.float32(1e-6)
_MAX_NORM = 1e9  # RLlib's stand-in for an infinite norm (utils/torch_utils.py)


class ReplicaAdam:
    """Adam with torch's defaults, which are RLlib's; fused, one call a step.

    The functional form, because `torch.optim.Adam` spends more on its bookkeeping than on the
    parameters of a few small networks.
    """

    def __init__(self, parameters: Tensor, gradients: Tensor) -> None:
        self._parameters = parameters.detach()
        self._gradients = gradients
        self._moments = (torch.zeros_like(gradients), torch.zeros_like(gradients))
        self._steps = torch.zeros((), device=gradients.device)

    def step(self, lr: float) -> None:
        """Take one step along the gradients."""
        adam(
            [self._parameters],
            [self._gradients],
            [self._moments[0]],
            [self._moments[1]],
            [],
            [self._steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )

    def freeze(self, replicas: Tensor) -> None:
        """With its moments and gradients zero a replica takes no step."""
        for moment in self._moments:
            moment[replicas] = 0

    def tensors(self) -> dict[str, Tensor]:
        """The moments, ``float32[replicas, size]``."""
        return dict(zip(("exp_avg", "exp_avg_sq"), self._moments, strict=True))

    @property
    def steps(self) -> int:
        """How many were taken."""
        return int(self._steps)

    def restore(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """The inverse of `tensors` and `steps`."""
        for name, moment in self.tensors().items():
            moment.copy_(tensors[name])
        self._steps.fill_(steps)


def clip_gradients(networks: ReplicaNetworks, limit: float | None, by: str) -> Tensor:
    """Clip each replica's gradients as RLlib does; never across replicas.

    Returns:
        The global norms before, ``float32[replicas]``.
    """
    gradients = networks.gradients
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=1)
    host_norms = norms.cpu().numpy()
    is_sick = ~np.isfinite(host_norms)
    if limit is not None and by == "value":
        gradients.clamp_(-limit, limit)
    elif limit is not None and by == "norm":
        for view in networks.named_gradients().values():
            _scale(view, torch.linalg.vector_norm(view.flatten(1), dim=1), limit)
    elif limit is not None:
        if is_sick.any():
            host_norms = np.where(is_sick, _finite_norms(networks), host_norms)
        scale = np.float32(limit) / np.maximum(host_norms + _NORM_EPSILON, np.float32(limit))
        gradients.mul_(torch.from_numpy(scale).to(gradients.device).unsqueeze(1))
    if is_sick.any():
        # RLlib warns, makes what is left finite and goes on
        # (core/learner/torch/torch_learner.py): weights or a loss that are not end a replica.
        rows = torch.from_numpy(is_sick).to(gradients.device)
        gradients[rows] = gradients[rows].nan_to_num()
    return norms


def _finite_norms(networks: ReplicaNetworks) -> NDArray[np.float32]:
    """Global norms to which a parameter whose own norm is not finite adds 0 or a large number."""
    norms = [
        torch.linalg.vector_norm(view.flatten(1), dim=1).nan_to_num(posinf=_MAX_NORM)
        for view in networks.named_gradients().values()
    ]
    total: NDArray[np.float32] = torch.linalg.vector_norm(torch.stack(norms), dim=0).cpu().numpy()
    return total


def _scale(view: Tensor, norms: Tensor, limit: float) -> None:
    norms = norms.nan_to_num(posinf=_MAX_NORM)
    scale = torch.where(norms > limit, limit / norms, torch.ones_like(norms))
    view.mul_(scale.view(-1, *[1] * (view.dim() - 1)))
