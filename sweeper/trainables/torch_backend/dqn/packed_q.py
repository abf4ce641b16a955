"""The standard Q network, or one of images, of all replicas on a CPU, differentiated by hand.

DQN's batch holds the observations at both ends of its transitions, and only those at the start
have a gradient. Autograd would go backward through all rows, or forward twice. Here one forward
pass over ``[replicas, 2 x rows]`` is followed by a backward pass over the first half.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.architecture import Architecture
from sweeper.trainables.torch_backend.networks import NetworkOutputs
from sweeper.trainables.torch_backend.packed_dense import DenseStack, PackedDense, read_head
from sweeper.trainables.torch_backend.packed_images import PackedImages

__all__ = ["PackedQNetwork", "network_outputs"]

Array = NDArray[np.float32]


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
        tensors = parameters, gradients
        self._encoder: DenseStack | PackedImages
        if architecture.convolutions:
            self._encoder = PackedImages(architecture, "shared", *tensors)
        else:
            layers = [
                PackedDense.view(f"encoder.shared.{i}", architecture.activation, *tensors)
                for i in range(len(architecture.hiddens))
            ]
            self._encoder = DenseStack(layers, architecture.observation_shape[0])
        hiddens, activation = len(architecture.head_hiddens), architecture.head_activation
        self._advantage_head = read_head("policy", hiddens, activation, *tensors)
        self._value_head = None
        if is_dueling:
            self._value_head = read_head("value", hiddens, activation, *tensors)

    def forward(self, observations: Array, kept: int = 0) -> tuple[Array, Array | None]:
        """Compute advantages ``[replicas, rows, outputs]`` and values ``[replicas, rows, 1]``.

        The values are None without a value head. Both are valid until the next call.

        Args:
            observations: ``[replicas, rows, *shape]``; images may be bytes.
            kept: of how many of the first rows `backward` will be asked.
        """
        encoded = self._encoder.forward(observations, kept)
        values = None if self._value_head is None else self._value_head.forward(encoded)
        return self._advantage_head.forward(encoded), values

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

    def backward(self, advantage_gradient: Array, value_gradient: Array | None) -> None:
        """Write the parameters' gradients, of the first rows of the last `forward`.

        Args:
            advantage_gradient: ``float32[replicas, rows, outputs]``; it is overwritten.
            value_gradient: ``float32[replicas, rows, 1]``, or None; it is overwritten.
        """
        gradient = self._advantage_head.backward(advantage_gradient, needs_below=True)
        if self._value_head is not None and value_gradient is not None:
            gradient += self._value_head.backward(value_gradient, needs_below=True)
        self._encoder.backward(gradient)


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
        ctx.network = network
        both = network_outputs(*network.forward(observations, kept=rows))
        others = [output[:, rows:] for output in both]
        ctx.mark_non_differentiable(*others)
        return (*(output[:, :rows] for output in both), *others)

    @staticmethod
    def backward(
        ctx: Any, advantage_gradient: Tensor, value_gradient: Tensor, *_: Tensor
    ) -> tuple[None, None, None, None]:
        # They may be others' too, and are overwritten.
        ctx.network.backward(
            advantage_gradient.numpy().copy(), value_gradient.unsqueeze(-1).numpy().copy()
        )
        return None, None, None, None
