"""The standard Q network of all replicas on a CPU, with a hand-derived backward pass.

DQN's batch holds the observations at both ends of its transitions, and only those at the start
have a gradient. Autograd would go backward through all rows, or forward twice. Here one forward
pass over ``[replicas, 2 x rows]`` is followed by a backward pass over the first half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.architecture import Architecture
from sweeper.trainables.torch_backend.networks import NetworkOutputs
from sweeper.trainables.torch_backend.packed_mlp import activate, backward_activation

__all__ = ["PackedQNetwork", "network_outputs"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class _Dense:
    """One layer of all replicas: ``[replicas, outputs, inputs]``, biases ``[replicas, 1, …]``."""

    weight: Array
    bias: Array
    weight_gradient: Array
    bias_gradient: Array

    def apply(self, below: Array, out: Array | None = None) -> Array:
        result: Array = np.matmul(below, self.weight.swapaxes(1, 2), out=out)
        result += self.bias
        return result

    def write_gradients(self, gradient: Array, below: Array) -> None:
        np.matmul(gradient.swapaxes(1, 2), below, out=self.weight_gradient)
        np.sum(gradient, axis=1, keepdims=True, out=self.bias_gradient)


class PackedQNetwork:
    """Evaluates networks on views of their parameters and writes views of their gradients."""

    def __init__(
        self,
        architecture: Architecture,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        *,
        is_dueling: bool,
    ) -> None:
        def layer(name: str) -> _Dense:
            weight, bias = f"{name}.weight", f"{name}.bias"
            return _Dense(
                parameters[weight].numpy(),
                parameters[bias].unsqueeze(1).numpy(),
                gradients[weight].numpy(),
                gradients[bias].unsqueeze(1).numpy(),
            )

        self.activation = architecture.activation
        self.layers = [layer(f"encoder.shared.{i}") for i in range(len(architecture.hiddens))]
        self.advantage_head = layer("head.policy.out")
        self.value_head = layer("head.value.out") if is_dueling else None
        self._buffers: dict[tuple[str, tuple[int, ...]], list[Array]] = {}

    def forward(self, observations: Array) -> tuple[Array, Array | None]:
        """Compute advantages ``[replicas, rows, outputs]`` and values ``[replicas, rows, 1]``.

        The values are None without a value head.
        """
        return self.keep_hidden(observations)[1:]

    def differentiable(
        self, parameters: Tensor, observations: Array, rows: int
    ) -> tuple[NetworkOutputs, NetworkOutputs]:
        """Compute the outputs of the first ``rows``, with a gradient, and of the other rows.

        Call backward before the next pass: both use the same buffers.
        """
        outputs: tuple[Tensor, ...] = _PackedFunction.apply(  # type: ignore[no-untyped-call]
            parameters, observations, rows, self
        )
        return NetworkOutputs(*outputs[:2]), NetworkOutputs(*outputs[2:])

    def keep_hidden(self, observations: Array) -> tuple[list[Array], Array, Array | None]:
        """Do as `forward`, and return the layers' outputs too, in reused buffers."""
        kept = self._allocate("hidden", observations.shape[:2])
        hidden = observations
        for layer, out in zip(self.layers, kept, strict=True):
            hidden = layer.apply(hidden, out)
            activate(hidden, self.activation)
        return kept, *self._apply_heads(hidden)

    def backward(
        self,
        observations: Array,
        hidden: list[Array],
        advantage_gradient: Array,
        value_gradient: Array | None,
    ) -> None:
        """Write the parameters' gradients, given those of the heads' outputs.

        Args:
            observations: ``float32[replicas, rows, inputs]``.
            hidden: the layers' outputs, ``float32[replicas, rows, units]`` each.
            advantage_gradient: ``float32[replicas, rows, outputs]``.
            value_gradient: ``float32[replicas, rows, 1]``, or None.
        """
        gradients = self._allocate("gradient", observations.shape[:2])
        gradient = gradients[-1]
        self.advantage_head.write_gradients(advantage_gradient, hidden[-1])
        np.matmul(advantage_gradient, self.advantage_head.weight, out=gradient)
        if self.value_head is not None and value_gradient is not None:
            self.value_head.write_gradients(value_gradient, hidden[-1])
            gradient += value_gradient * self.value_head.weight
        for i in range(len(self.layers) - 1, -1, -1):
            into, outputs = torch.from_numpy(gradients[i]), torch.from_numpy(hidden[i])
            backward_activation(into, outputs, self.activation)
            layer = self.layers[i]
            layer.write_gradients(gradients[i], hidden[i - 1] if i else observations)
            if i:
                np.matmul(gradients[i], layer.weight, out=gradients[i - 1])

    def _apply_heads(self, hidden: Array) -> tuple[Array, Array | None]:
        values = None if self.value_head is None else self.value_head.apply(hidden)
        return self.advantage_head.apply(hidden), values

    def _allocate(self, kind: str, shape: tuple[int, ...]) -> list[Array]:
        key = kind, shape
        if key not in self._buffers:
            self._buffers[key] = [
                np.empty((*shape, layer.weight.shape[1]), dtype=np.float32) for layer in self.layers
            ]
        return self._buffers[key]


def network_outputs(advantages: Array, values: Array | None) -> NetworkOutputs:
    """The outputs as tensors; zeros for the values of a network without them."""
    states = np.zeros(advantages.shape[:2], np.float32) if values is None else values[..., 0]
    return NetworkOutputs(torch.from_numpy(advantages), torch.from_numpy(states))


class _PackedFunction(torch.autograd.Function):
    """`PackedQNetwork.differentiable` for autograd."""

    @staticmethod
    def forward(
        ctx: Any,
        parameters: Tensor,  # noqa: ARG004  for autograd; the layers are views of it
        observations: Array,
        rows: int,
        network: PackedQNetwork,
    ) -> tuple[Tensor, ...]:
        hidden, advantages, values = network.keep_hidden(observations)
        ctx.network = network
        ctx.observations = observations[:, :rows]
        ctx.hidden = [layer[:, :rows] for layer in hidden]
        both = network_outputs(advantages, values)
        others = [output[:, rows:] for output in both]
        ctx.mark_non_differentiable(*others)
        return (*(output[:, :rows] for output in both), *others)

    @staticmethod
    def backward(
        ctx: Any, advantage_gradient: Tensor, value_gradient: Tensor, *_: Tensor
    ) -> tuple[None, None, None, None]:
        ctx.network.backward(
            ctx.observations,
            ctx.hidden,
            advantage_gradient.numpy(),
            value_gradient.unsqueeze(-1).numpy(),
        )
        return None, None, None, None
