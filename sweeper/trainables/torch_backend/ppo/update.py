"""PPO's update of all replicas: epochs of minibatches, Adam, the adaptive KL coefficient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.distributions import ActionDistribution
from sweeper.trainables.torch_backend.networks import ReplicaNetworks
from sweeper.trainables.torch_backend.optimiser import ReplicaLearner
from sweeper.trainables.torch_backend.ppo.fused_loss import differentiate_loss
from sweeper.trainables.torch_backend.ppo.loss import (
    LossCoefficients,
    LossTerms,
    Minibatch,
    compute_loss,
    describe_loss,
    explained_variance,
)
from sweeper.trainables.torch_backend.ppo.settings import PPOSettings

__all__ = ["PPOLearner", "TrainBatch"]

_GATHERED_NUMBERS = 2**20

Array = NDArray[Any]


@dataclass(frozen=True)
class TrainBatch:
    """A train batch of every replica as one table, so that one gather makes a minibatch.

    Attributes:
        table: ``float32[replicas x rows, width]``: the fields of a `Minibatch` side by side, the
            scalar ones first, without observations that are images.
        images: observations ``[replicas x rows, height, width, channels]``, or None.
        widths: columns of the scalar fields together, then of each other field.
        rows: rows per replica.
    """

    table: Tensor
    images: Tensor | None
    widths: list[int]
    rows: int

    @classmethod
    def build(cls, fields: Minibatch) -> TrainBatch:
        """Build the table from whole batches."""
        rows = fields.log_probs.shape[1]
        scalars = torch.stack([fields.log_probs, fields.advantages, fields.value_targets], dim=-1)
        columns = [scalars, fields.observations, fields.actions, fields.old_distribution]
        images = None
        if fields.observations.dim() > 3:
            images = columns.pop(1).flatten(0, 1)
        table = torch.cat(columns, dim=-1).flatten(0, 1)
        return cls(table, images, [column.shape[-1] for column in columns], rows)

    def minibatches(self, order: Tensor) -> Iterator[Minibatch]:
        """The minibatches with the rows ``order[minibatches, replicas, rows]`` of the table.

        Gathers several minibatches at once, up to a few megabytes.
        """
        width = self.table.shape[1] + (0 if self.images is None else self.images[0].numel())
        block = max(1, _GATHERED_NUMBERS // (width * order[0].numel()))
        for index in torch.split(order, block):
            flat = index.reshape(-1)
            gathered = self.table.index_select(0, flat).view(*index.shape, -1)
            # Column by column in memory: the loss works on columns.
            table = gathered.mT.contiguous().mT
            scalars, *fields = torch.split(table, self.widths, dim=-1)
            if self.images is not None:
                images = self.images.index_select(0, flat)
                fields.insert(0, images.view(*index.shape, *images.shape[1:]))
            observations, actions, old = (field.unbind() for field in fields)
            log_probs, advantages, targets = (scalar.unbind() for scalar in scalars.unbind(-1))
            for minibatch in zip(
                observations, actions, log_probs, advantages, targets, old, strict=True
            ):
                yield Minibatch(*minibatch)


class PPOLearner(ReplicaLearner):
    """Networks, optimiser and KL coefficients of all replicas.

    Attributes:
        kl_coeffs: ``float32[replicas]``.
    """

    def __init__(
        self,
        networks: ReplicaNetworks,
        distribution: ActionDistribution,
        settings: PPOSettings,
        shuffle_generators: Sequence[np.random.Generator],
    ) -> None:
        super().__init__(
            networks, settings.minibatch_size, settings.grad_clip, settings.grad_clip_by
        )
        self.networks = networks
        self._distribution = distribution
        self._settings = settings
        self._generators = shuffle_generators
        self.kl_coeffs = np.full(networks.replicas, settings.kl_coeff, dtype=np.float32)

    def update(self, batch: TrainBatch, env_steps: int) -> dict[str, Array]:
        """Learn from one train batch, and freeze replicas whose loss or parameters diverge.

        Args:
            batch: rows of all replicas, including frozen ones.
            env_steps: a replica's env steps before this batch, for schedules.

        Returns:
            RLlib's learner metrics, ``float[replicas]`` each; as in RLlib those of the last
            minibatch.
        """
        before = self.networks.parameters.detach().clone()
        lr = self._settings.lr.value(env_steps)
        coefficients = self._coefficients(env_steps)
        loss_sum = torch.zeros(
            self.networks.replicas, dtype=torch.float32, device=self.networks.device
        )
        for minibatch in batch.minibatches(self._draw_order(batch.rows)):
            values, terms, norms = self._step(minibatch, coefficients, lr)
            loss_sum += terms.total.detach().sum(1)
        metrics = describe_loss(self._distribution, terms, coefficients)
        metrics["vf_explained_var"] = explained_variance(minibatch.value_targets, values)
        metrics["gradients_default_optimizer_global_norm"] = norms
        arrays = {name: values.cpu().numpy() for name, values in metrics.items()}
        self._freeze_diverged(before, loss_sum)
        self._adapt_kl(arrays["mean_kl_loss"])
        return arrays

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors whose first axis is the replica, and counters as JSON."""
        return self._optimiser.tensors(), {
            "optimiser_steps": self._optimiser.steps,
            "kl_coeffs": self.kl_coeffs.tolist(),
            "is_frozen": self.is_frozen.tolist(),
        }

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """The inverse of `state`; the caller restores the networks."""
        super().restore(tensors, state)
        self.kl_coeffs = np.array(state["kl_coeffs"], dtype=np.float32)

    def _step(
        self, minibatch: Minibatch, coefficients: LossCoefficients, lr: float
    ) -> tuple[Tensor, LossTerms, Tensor]:
        """Take one optimiser step; returns the values, the loss and the gradients' norms."""
        networks = self.networks
        if networks.packed is not None:  # the standard network on a CPU, see `loss`
            values, terms = differentiate_loss(
                networks.packed, self._distribution, minibatch, coefficients
            )
        else:
            networks.gradients.zero_()
            outputs = networks.forward(minibatch.observations)
            terms = compute_loss(self._distribution, outputs, minibatch, coefficients)
            terms.total.backward(self._row_weights)  # type: ignore[no-untyped-call]
            values = outputs.values.detach()
        return values, terms, self._descend(lr)

    def _coefficients(self, env_steps: int) -> LossCoefficients:
        settings = self._settings
        kl_coeff = torch.from_numpy(self.kl_coeffs).to(self.networks.device)
        return LossCoefficients(
            clip_param=settings.clip_param.value(env_steps),
            vf_clip_param=settings.vf_clip_param.value(env_steps),
            vf_loss_coeff=settings.vf_loss_coeff.value(env_steps),
            entropy_coeff=settings.entropy_coeff.value(env_steps),
            kl_coeff=kl_coeff if settings.use_kl_loss else None,
            use_critic=settings.use_critic,
        )

    def _draw_order(self, rows: int) -> Tensor:
        """Rows of the table for every minibatch, ``int64[minibatches, replicas, rows]``.

        As in RLlib (utils/minibatch_utils.py) a minibatch may straddle two epochs, and the last
        one is filled from an extra epoch.
        """
        settings = self._settings
        size = settings.minibatch_size
        minibatches = math.ceil(settings.num_epochs * rows / size)
        epochs = math.ceil(minibatches * size / rows)
        order = np.empty((minibatches, len(self._generators), size), dtype=np.int64)
        passes = np.tile(np.arange(rows), (epochs, 1))
        for replica, generator in enumerate(self._generators):
            if settings.shuffle_batch_per_epoch:
                passes = generator.permuted(passes, axis=1)
            stream = passes.reshape(-1)[: minibatches * size] + replica * rows
            order[:, replica] = stream.reshape(minibatches, size)
            if settings.shuffle_batch_per_epoch:
                passes.sort(axis=1)
        return torch.from_numpy(order).to(self.networks.device)

    def _adapt_kl(self, kl: Array) -> None:
        """Adapt the KL coefficients to the last minibatch's KL; NaN changes nothing.

        The paper's rule (section 4) with the numbers of RLlib's ppo_torch_learner.py.
        """
        if self._settings.use_kl_loss:
            self.kl_coeffs[kl > 2.0 * self._settings.kl_target] *= 1.5
            self.kl_coeffs[kl < 0.5 * self._settings.kl_target] *= 0.5
