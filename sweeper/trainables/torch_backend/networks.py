"""Policy and value networks of all replicas of a trial, evaluated as one.

The parameters of all replicas are one matrix, ``float32[replicas, size]``: a row is a replica, a
range of columns is a parameter. The optimiser sees one tensor; a norm, a copy or a freeze is one
operation on rows. `packed_mlp` evaluates and differentiates the standard network on a CPU. All
other networks use autograd here; the tests compare `packed_mlp` with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sweeper.trainables.torch_backend.architecture import Architecture, initialise, list_parameters
from sweeper.trainables.torch_backend.packed_image_network import PackedImageNetwork
from sweeper.trainables.torch_backend.packed_images import can_pack_images
from sweeper.trainables.torch_backend.packed_mlp import PackedMlp, can_pack

__all__ = ["NetworkOutputs", "ReplicaNetworks"]

Array = NDArray[np.float32]

_ROWS_AT_ONCE = 512  # a whole train batch of images would need gigabytes
_LAYERNORM_EPSILON = 1e-3  # RLlib's (core/models/torch/primitives.py); torch's differs


class NetworkOutputs(NamedTuple):
    """The networks' outputs for a batch.

    Attributes:
        distribution: inputs of the action distribution, ``float32[replicas, rows, inputs]``.
        values: ``float32[replicas, rows]``.
    """

    distribution: Tensor
    values: Tensor


class ReplicaNetworks:
    """The networks of all replicas; ``parameters`` and ``gradients`` are ``[replicas, size]``.

    Attributes:
        packed: the standard network, or one of images, on a CPU; its backward pass overwrites
            ``gradients``. None for any other.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        replicas: int,
        device: torch.device,
        is_packed: bool = True,
    ) -> None:
        self.architecture = architecture
        self.replicas = replicas
        self.device = device
        self._shapes = list_parameters(architecture)
        self._sizes = [shape.size for shape in self._shapes]
        shape = replicas, sum(self._sizes)
        # The dtype is said everywhere: a user's module may set another default.
        self.parameters = torch.zeros(shape, dtype=torch.float32, device=device, requires_grad=True)
        self.gradients = torch.zeros_like(self.parameters)
        self.parameters.grad = self.gradients
        self.packed: PackedMlp | PackedImageNetwork | None = None
        if is_packed and device.type == "cpu":
            tensors = self.named_parameters(), self.named_gradients()
            if can_pack(architecture):
                self.packed = PackedMlp(architecture, *tensors)
            elif can_pack_images(architecture):
                self.packed = PackedImageNetwork(architecture, *tensors)

    def initialise(self, generators: Sequence[torch.Generator]) -> None:
        """Draw every replica's parameters from its own generator."""
        for shape, tensor in zip(self._shapes, self.named_parameters().values(), strict=True):
            for replica, generator in enumerate(generators):
                # On the CPU first: a replica starts equal on every device.
                values = torch.empty(shape.shape, dtype=torch.float32)
                initialise(shape, values, generator)
                tensor[replica].copy_(values)

    def named_parameters(self) -> dict[str, Tensor]:
        """Detached views ``float32[replicas, *shape]`` of the parameters."""
        return self._split(self.parameters.detach())

    def named_gradients(self) -> dict[str, Tensor]:
        """Views of the gradients, as `named_parameters`."""
        return self._split(self.gradients)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Overwrite all parameters with tensors as from `named_parameters`."""
        for name, view in self.named_parameters().items():
            view.copy_(tensors[name])

    def forward(self, observations: Tensor) -> NetworkOutputs:
        """Differentiable outputs for ``float32[replicas, rows, *observation]``.

        The backward pass adds to ``gradients``: zero them before it.
        """
        tensors = self._split(self.parameters)
        encoders = self.architecture.encoders
        encoded = [self._encode(tensors, encoder, observations) for encoder in encoders]
        raw = self._head(tensors, "policy", encoded[0])
        values = self._head(tensors, "value", encoded[-1]).squeeze(-1)
        return NetworkOutputs(self._to_distribution(raw, tensors.get("log_std")), values)

    def policy(self, observations: Array) -> Array:
        """Inputs of the action distribution for ``float32[replicas, rows, *observation]``."""
        if self.packed is not None:
            return self.packed.policy(observations)
        with torch.no_grad():
            tensors = self.named_parameters()
            batch = torch.from_numpy(observations).to(self.device)
            encoder = self.architecture.encoders[0]
            outputs = self._head(tensors, "policy", self._encode(tensors, encoder, batch))
            return self._to_distribution(outputs, tensors.get("log_std")).cpu().numpy()

    def act(self, observations: Array) -> tuple[Array, Array | None]:
        """What `policy` returns, and the values if they come with it: of a shared image encoder."""
        if isinstance(self.packed, PackedImageNetwork) and self.packed.is_shared:
            return self.packed.policy_and_values(observations)
        return self.policy(observations), None

    def values(self, observations: Array) -> Array:
        """``float32[replicas, rows]`` for ``float32[replicas, rows, *observation]``."""
        if self.packed is not None:
            return self.packed.values(observations)
        tensors = self.named_parameters()
        encoder = self.architecture.encoders[-1]
        parts = []
        with torch.no_grad():
            for part in torch.split(torch.from_numpy(observations), _ROWS_AT_ONCE, dim=1):
                encoded = self._encode(tensors, encoder, part.to(self.device))
                parts.append(self._head(tensors, "value", encoded).squeeze(-1))
        return torch.cat(parts, dim=1).cpu().numpy()

    def _split(self, matrix: Tensor) -> dict[str, Tensor]:
        columns = torch.split(matrix, self._sizes, dim=1)
        return {
            shape.name: column.view(self.replicas, *shape.shape)
            for shape, column in zip(self._shapes, columns, strict=True)
        }

    def _encode(self, tensors: Mapping[str, Tensor], encoder: str, batch: Tensor) -> Tensor:
        architecture = self.architecture
        if architecture.convolutions:
            return self._convolve(tensors, encoder, batch)
        hidden = batch
        for layer in range(len(architecture.hiddens)):
            hidden = _dense(tensors, f"encoder.{encoder}.{layer}", hidden)
            hidden = _activate(hidden, architecture.activation)
        return hidden

    def _head(self, tensors: Mapping[str, Tensor], head: str, encoded: Tensor) -> Tensor:
        hidden = encoded
        for layer in range(len(self.architecture.head_hiddens)):
            hidden = _dense(tensors, f"head.{head}.{layer}", hidden)
            hidden = _activate(hidden, self.architecture.head_activation)
        return _dense(tensors, f"head.{head}.out", hidden)

    def _convolve(self, tensors: Mapping[str, Tensor], encoder: str, batch: Tensor) -> Tensor:
        """Convolutions, replica by replica, with channels last in memory.

        As one grouped convolution they took four times as long on a CPU, see `packed_images`.
        """
        encoded = []
        for replica, rows in enumerate(batch):
            hidden = rows.float().permute(0, 3, 1, 2)
            if self.architecture.input_scale != 1:
                hidden = hidden * self.architecture.input_scale
            for i, layer in enumerate(self.architecture.convolutions):
                weight = tensors[f"encoder.{encoder}.{i}.weight"][replica]
                bias = tensors[f"encoder.{encoder}.{i}.bias"][replica]
                hidden = functional.pad(hidden, layer.padding)
                hidden = functional.conv2d(hidden, weight, bias, layer.stride)
                hidden = _activate(hidden, self.architecture.activation)
            # RLlib flattens with the channels last.
            encoded.append(hidden.permute(0, 2, 3, 1).flatten(1))
        return torch.stack(encoded)

    def _to_distribution(self, raw: Tensor, log_std: Tensor | None) -> Tensor:
        architecture = self.architecture
        if not architecture.log_deviations:
            return raw
        if log_std is None:
            mean, deviations = raw.chunk(2, dim=-1)
        else:
            mean, deviations = raw, log_std.unsqueeze(1).expand(-1, raw.shape[1], -1)
        clip = architecture.log_std_clip
        return torch.cat([mean, deviations.clamp(-clip, clip)], dim=-1)


def _dense(tensors: Mapping[str, Tensor], name: str, batch: Tensor) -> Tensor:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    output = torch.baddbmm(bias.unsqueeze(1), batch, weight.transpose(1, 2))
    if f"{name}.norm.weight" not in tensors:
        return output
    output = functional.layer_norm(output, output.shape[-1:], eps=_LAYERNORM_EPSILON)
    scale, shift = tensors[f"{name}.norm.weight"], tensors[f"{name}.norm.bias"]
    return output * scale.unsqueeze(1) + shift.unsqueeze(1)


def _activate(hidden: Tensor, activation: str) -> Tensor:
    functions: dict[str, Any] = {
        "tanh": torch.tanh,
        "relu": torch.relu,
        "silu": functional.silu,
        "elu": functional.elu,
    }
    return hidden if activation == "linear" else functions[activation](hidden)
