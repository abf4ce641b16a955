"""The Q networks of all replicas, online and target.

The architecture is RLlib's (algorithms/dqn/): one encoder with a linear head for the Q values or,
with ``dueling`` (Wang et al. 2016), one head for the advantages and one for the state's value.
It equals an actor-critic network with shared layers, so parameters, initialisation and every
network but the standard one come from `torch_backend.networks`. `packed_q` evaluates the
standard one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.architecture import Architecture, build_architecture
from sweeper.trainables.torch_backend.dqn.packed_q import PackedQNetwork, network_outputs
from sweeper.trainables.torch_backend.networks import NetworkOutputs, ReplicaNetworks
from sweeper.trainables.torch_backend.packed_images import can_pack_images
from sweeper.trainables.torch_backend.packed_mlp import can_pack

__all__ = ["BatchValues", "QHead", "QNetworks", "QValues", "build_q_architecture"]

Array = NDArray[np.float32]


class QValues(NamedTuple):
    """The Q values of a batch.

    Attributes:
        values: ``float32[replicas, rows, actions]``.
        logits: logits of the returns' distribution, ``float32[replicas, rows, actions, atoms]``;
            None if only the expectation is learned.
    """

    values: Tensor
    logits: Tensor | None


@dataclass(frozen=True)
class QHead:
    """How the heads' outputs become Q values.

    Attributes:
        is_dueling: whether there is a head for the state's value.
        atoms: atoms of the returns' distribution (Bellemare et al. 2017); with 1 only the
            expectation is learned.
        v_min: the first atom.
        v_max: the last atom.
    """

    actions: int
    is_dueling: bool
    atoms: int
    v_min: float
    v_max: float

    @property
    def outputs(self) -> int:
        """Outputs of the advantages' head."""
        return self.actions * self.atoms

    def support(self, device: torch.device) -> Tensor:
        """Return the atoms, ``float32[atoms]``."""
        steps = torch.arange(0.0, self.atoms, dtype=torch.float32, device=device)
        return self.v_min + steps * (self.v_max - self.v_min) / float(self.atoms - 1)

    def combine(self, outputs: NetworkOutputs) -> QValues:
        """Compute the Q values of every action.

        With a distribution, the advantages' logits are centred over the atoms, not over the
        actions, and one number per state is added, as in RLlib's default_dqn_torch_rl_module.py.
        """
        advantages, values = outputs.distribution, outputs.values.unsqueeze(-1)
        if self.atoms == 1:
            if self.is_dueling:
                advantages = advantages + (values - advantages.mean(dim=-1, keepdim=True))
            return QValues(advantages, None)
        logits = advantages.view(*advantages.shape[:-1], self.actions, self.atoms)
        if self.is_dueling:
            logits = logits - logits.mean(dim=-1, keepdim=True) + values.unsqueeze(-1)
        support = self.support(logits.device)
        return QValues((torch.softmax(logits, dim=-1) * support).sum(dim=-1), logits)


def build_q_architecture(
    model_config: Mapping[str, Any],
    *,
    observation_shape: tuple[int, ...],
    head: QHead,
    image_scale: float = 1.0,
) -> Architecture:
    """Build the architecture that a ``model_config`` describes.

    Raises:
        ConfigurationRefusedError: a key or a value is not supported.
    """
    return build_architecture(
        {**model_config, "vf_share_layers": True},
        observation_shape=observation_shape,
        distribution_inputs=head.outputs,
        is_gaussian=False,
        image_scale=image_scale,
    )


class BatchValues(NamedTuple):
    """The Q values for a batch of transitions.

    Attributes:
        current: of the online network at the start, differentiable.
        after: of the online network at the end, or None.
        target: of the target network at the end.
    """

    current: QValues
    after: QValues | None
    target: QValues


class QNetworks:
    """The networks of all replicas.

    Attributes:
        online: the networks that are trained and act.
        target: the networks that compute targets.
        packed: online and target networks on the same parameters, evaluated by `packed_q`; None
            if they are neither the standard network nor one of images on a CPU.
    """

    def __init__(
        self,
        architecture: Architecture,
        head: QHead,
        *,
        replicas: int,
        device: torch.device,
        is_packed: bool = True,
    ) -> None:
        self.head = head
        self.replicas = replicas
        self.device = device
        self.online, self.target = (
            ReplicaNetworks(architecture, replicas=replicas, device=device, is_packed=False)
            for _ in range(2)
        )
        self.packed: tuple[PackedQNetwork, PackedQNetwork] | None = None
        can_be_packed = can_pack(architecture) or can_pack_images(architecture)
        if is_packed and device.type == "cpu" and can_be_packed:
            online, target = (
                PackedQNetwork(
                    architecture,
                    networks.named_parameters(),
                    networks.named_gradients(),
                    is_dueling=head.is_dueling,
                )
                for networks in (self.online, self.target)
            )
            self.packed = online, target

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        """Draw each replica's parameters from its own generator; copy them to the targets."""
        self.online.initialise(generators)
        self.update_target(1.0)

    def update_target(self, tau: float) -> None:
        """Set ``target = tau * online + (1 - tau) * target``."""
        with torch.no_grad():
            if tau == 1.0:
                self.target.parameters.copy_(self.online.parameters)
            else:
                self.target.parameters.lerp_(self.online.parameters, tau)

    def values(self, observations: Array) -> Array:
        """Return the online network's Q values, ``float32[replicas, rows, actions]``."""
        with torch.no_grad():
            return self.head.combine(self._forward(0, observations)).values.cpu().numpy()

    def forward(self, observations: Array, rows: int, *, needs_after: bool) -> BatchValues:
        """Compute the Q values for a batch of transitions.

        Args:
            observations: the starts, then the ends: ``float32[replicas, 2 * rows, *shape]``.
            rows: transitions of one replica.
            needs_after: whether to evaluate the online network at the ends too.
        """
        starts, ends = observations[:, :rows], observations[:, rows:]
        combine = self.head.combine
        with torch.no_grad():
            target = combine(self._forward(1, ends))
        if self.packed is not None:
            seen = observations if needs_after else starts
            current, others = self.packed[0].differentiable(self.online.parameters, seen, rows)
            return BatchValues(combine(current), combine(others) if needs_after else None, target)
        self.online.gradients.zero_()
        current = self._forward(0, starts)
        with torch.no_grad():
            after = combine(self._forward(0, ends)) if needs_after else None
        return BatchValues(combine(current), after, target)

    def _forward(self, which: int, observations: Array) -> NetworkOutputs:
        """The outputs of the online (0) or the target network (1), advantages first."""
        if self.packed is not None:
            return network_outputs(*self.packed[which].forward(observations))
        networks = (self.online, self.target)[which]
        return networks.forward(torch.from_numpy(observations).to(self.device))
