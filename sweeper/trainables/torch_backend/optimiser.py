"""Adam over all replicas' parameters as one tensor; clipping and freezing per replica."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from sweeper.trainables.torch_backend.networks import ReplicaNetworks

__all__ = ["ReplicaLearner", "clip_gradients"]

Mask = NDArray[np.bool_]

_NORM_EPSILON = np.float32(1e-6)
_MAX_NORM = 1e9  # RLlib's stand-in for an infinite norm (utils/torch_utils.py)


class ReplicaAdam:
    """Adam with torch's defaults, which are RLlib's; one fused call per step.

    Uses torch's functional form: for a few small networks `torch.optim.Adam` spends more time on
    bookkeeping than on the parameters.
    """

    def __init__(self, parameters: Tensor, gradients: Tensor) -> None:
        self._parameters = parameters.detach()
        self._gradients = gradients
        self._moments = (torch.zeros_like(gradients), torch.zeros_like(gradients))
        self._steps = torch.zeros((), dtype=torch.float32, device=gradients.device)

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
        """Zero the moments: with zero gradients these replicas then take no steps."""
        for moment in self._moments:
            moment[replicas] = 0

    def tensors(self) -> dict[str, Tensor]:
        """The moments by their names in a checkpoint, ``float32[replicas, size]``."""
        return dict(zip(("optimiser.exp_avg", "optimiser.exp_avg_sq"), self._moments, strict=True))

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        return int(self._steps)

    def restore(self, tensors: Mapping[str, Tensor], steps: int) -> None:
        """The inverse of `tensors` and `steps`."""
        for name, moment in self.tensors().items():
            moment.copy_(tensors[name])
        self._steps.fill_(steps)


class ReplicaLearner(abc.ABC):
    """Trains all replicas' networks; those that diverge are frozen.

    Attributes:
        trained: the networks whose parameters are learned.
        is_frozen: replicas that keep their last finite parameters, ``bool[replicas]``.
    """

    def __init__(
        self, trained: ReplicaNetworks, rows: int, grad_clip: float | None, grad_clip_by: str
    ) -> None:
        self.trained = trained
        self.is_frozen: Mask = np.zeros(trained.replicas, dtype=np.bool_)
        self._optimiser = ReplicaAdam(trained.parameters, trained.gradients)
        self._clip = grad_clip, grad_clip_by
        # As the gradient of all rows' losses: that of each replica's mean.
        shape = trained.replicas, rows
        self._row_weights = torch.full(shape, 1 / rows, dtype=torch.float32, device=trained.device)

    def freeze(self, replicas: Mask) -> None:
        """Keep these replicas as they are from now on."""
        self.is_frozen |= replicas
        self._optimiser.freeze(self._rows(self.is_frozen))

    @abc.abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors whose first axis is the replica, and the rest as JSON."""

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """The inverse of `state`; the caller restores the trained networks."""
        self._optimiser.restore(tensors, int(state["optimiser_steps"]))
        self.is_frozen = np.array(state["is_frozen"], dtype=np.bool_)

    def begin(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin with other weights than random ones; those of heads that are not used may lack.

        Raises:
            ValueError: a tensor has another shape.
        """
        for name, view in self.trained.named_parameters().items():
            if name in tensors:
                if tensors[name].shape != view.shape:
                    found, due = tuple(tensors[name].shape), tuple(view.shape)
                    raise ValueError(f"{name} is {found}, and must be {due}")
                view.copy_(tensors[name])

    def _descend(self, lr: float) -> Tensor:
        """Step along the clipped gradients; returns their norms, ``float32[replicas]``."""
        if self.is_frozen.any():
            self.trained.gradients[self._rows(self.is_frozen)] = 0
        norms = clip_gradients(self.trained, *self._clip)
        self._optimiser.step(lr)
        return norms

    def _freeze_diverged(self, before: Tensor, loss_sum: Tensor, *others: Tensor) -> None:
        """Freeze replicas with a non-finite loss or parameter; they get the ones from before."""
        parameters = self.trained.parameters.detach()
        is_finite = torch.isfinite(loss_sum) & torch.isfinite(parameters).all(dim=1)
        diverged = ~is_finite.cpu().numpy() & ~self.is_frozen
        if diverged.any():
            rows = self._rows(diverged)
            for tensor in (parameters, *others):
                tensor[rows] = before[rows]
            self.freeze(diverged)

    def _rows(self, replicas: Mask) -> Tensor:
        return torch.from_numpy(replicas).to(self.trained.device)


def clip_gradients(networks: ReplicaNetworks, limit: float | None, by: str) -> Tensor:
    """Clip the gradients of each replica on its own, as RLlib does.

    Args:
        networks: the owner of the gradients.
        limit: of the norms or values; None: no clipping.
        by: ``global_norm``, ``norm`` (of each parameter) or ``value``.

    Returns:
        The global norms before clipping, ``float32[replicas]``.
    """
    gradients = networks.gradients
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=1)
    host_norms = norms.cpu().numpy()
    is_broken = ~np.isfinite(host_norms)
    if limit is not None and by == "value":
        gradients.clamp_(-limit, limit)
    elif limit is not None and by == "norm":
        for view in networks.named_gradients().values():
            _scale(view, torch.linalg.vector_norm(view.flatten(1), dim=1), limit)
    elif limit is not None:
        if is_broken.any():
            host_norms = np.where(is_broken, _finite_norms(networks), host_norms)
        scale = np.float32(limit) / np.maximum(host_norms + _NORM_EPSILON, np.float32(limit))
        gradients.mul_(torch.from_numpy(scale).to(gradients.device).unsqueeze(1))
    if is_broken.any():
        # RLlib makes such gradients finite and continues (core/learner/torch/torch_learner.py).
        # A replica ends only when its weights or its loss are non-finite.
        rows = torch.from_numpy(is_broken).to(gradients.device)
        gradients[rows] = gradients[rows].nan_to_num()
    return norms


def _finite_norms(networks: ReplicaNetworks) -> NDArray[np.float32]:
    """Global norms where a parameter with a NaN norm adds 0, with an infinite one `_MAX_NORM`."""
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
