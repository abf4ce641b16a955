"""Update all replicas' networks: a step of Adam each, and the target network when it is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.dqn.fused_loss import differentiate_td
from sweeper.trainables.torch_backend.dqn.loss import (
    LossTerms,
    compute_loss,
    describe_loss,
)
from sweeper.trainables.torch_backend.dqn.networks import QNetworks
from sweeper.trainables.torch_backend.dqn.settings import DQNSettings
from sweeper.trainables.torch_backend.optimiser import ReplicaLearner
from sweeper.trainables.torch_backend.replay.buffer import ReplaySample

__all__ = ["DQNLearner"]

Array = NDArray[Any]


class DQNLearner(ReplicaLearner):
    """Networks and optimiser of all replicas."""

    def __init__(self, networks: QNetworks, settings: DQNSettings) -> None:
        super().__init__(networks.online, settings.batch, settings.grad_clip, settings.grad_clip_by)
        self.networks = networks
        self._settings = settings
        self._lr_at = 0  # the env steps whose learning rate the next update takes
        self._last_target_update = 0
        self._target_updates = 0
        self._loss_sum = torch.zeros(networks.replicas, dtype=torch.float32, device=networks.device)
        self._last: tuple[LossTerms, Tensor] | None = None
        self._before = networks.online.parameters.detach().clone()

    def begin_iteration(self) -> None:
        """Save the parameters to which a replica that diverges is reset."""
        self._before.copy_(self.networks.online.parameters.detach())
        self._loss_sum.zero_()
        self._last = None

    def update(self, sample: ReplaySample, env_steps: int) -> Array:
        """Make one gradient step on one batch, at ``env_steps`` of each replica.

        Returns:
            Absolute TD errors, ``float32[replicas, rows]``, also of frozen replicas.
        """
        terms = self._differentiate(sample)
        self._last = terms, self._descend(self._lr)
        self._loss_sum += terms.weighted.detach().sum(dim=1)
        self._follow(env_steps)
        return terms.td_errors.cpu().numpy()

    def end_iteration(self) -> dict[str, Array]:
        """Freeze replicas that diverged, and return the last update's metrics.

        A replica has diverged if its loss or its parameters are not finite.

        Returns:
            RLlib's metrics, ``float[replicas]`` each; empty without an update.
        """
        if self._last is None:
            return {}
        terms, norms = self._last
        metrics = {name: values.cpu().numpy() for name, values in describe_loss(terms).items()}
        metrics["gradients_default_optimizer_global_norm"] = norms.cpu().numpy()
        for name, value in (
            ("default_optimizer_learning_rate", self._lr),
            ("num_target_updates", self._target_updates),
            ("last_target_update_ts", self._last_target_update),
        ):
            metrics[name] = np.full(self.networks.replicas, float(value))
        target = self.networks.target.parameters.detach()
        self._freeze_diverged(self._before, self._loss_sum, target)
        return metrics

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return the tensors, replicas first, and the rest as JSON."""
        named = self.networks.target.named_parameters()
        target = {f"target.{name}": values for name, values in named.items()}
        return self._optimiser.tensors() | target, {
            "optimiser_steps": self._optimiser.steps,
            "is_frozen": self.is_frozen.tolist(),
            "lr_at": self._lr_at,
            "last_target_update": self._last_target_update,
            "target_updates": self._target_updates,
        }

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Load what `state` returned; the trainer restores the online network."""
        super().restore(tensors, state)
        target = {name.removeprefix("target."): values for name, values in tensors.items()}
        self.networks.target.load(target)
        # Checkpoints of older versions have the learning rate itself.
        self._lr_at = int(state.get("lr_at", state["last_target_update"]))
        self._last_target_update = int(state["last_target_update"])
        self._target_updates = int(state["target_updates"])

    def begin(self, tensors: Mapping[str, Tensor]) -> None:
        """Begin with other weights; the target network is a copy of them."""
        super().begin(tensors)
        self.networks.update_target(1.0)

    @property
    def _lr(self) -> float:
        return self._settings.lr.value(self._lr_at)

    def _differentiate(self, sample: ReplaySample) -> LossTerms:
        """Compute the loss and write its gradients.

        The standard network without a distribution uses the hand-derived form, `fused_loss`.
        """
        networks, settings = self.networks, self._settings
        if networks.packed is not None and networks.head.atoms == 1:
            return differentiate_td(
                *networks.packed,
                sample,
                double_q=settings.double_q,
                is_huber=settings.td_error_loss_fn == "huber",
            )
        values = networks.forward(
            sample.observations, settings.batch, needs_after=settings.double_q
        )
        terms = compute_loss(
            networks.head,
            values,
            sample,
            td_error_loss_fn=settings.td_error_loss_fn,
        )
        terms.weighted.backward(self._row_weights)  # type: ignore[no-untyped-call]
        return terms

    def _follow(self, env_steps: int) -> None:
        """Set the next learning rate, and update the target network when it is due."""
        settings = self._settings
        self._lr_at = env_steps
        if env_steps - self._last_target_update >= settings.target_network_update_freq:
            self.networks.update_target(settings.tau)
            self._last_target_update = env_steps
            self._target_updates += 1
