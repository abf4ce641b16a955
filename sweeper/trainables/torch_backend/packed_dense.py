"""Dense layers of all replicas, rows first, with a hand-derived backward pass.

Products are numpy's, on the tensors' own memory: its BLAS writes into strided views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.packed_mlp import activate, backward_activation

__all__ = ["DenseStack", "PackedDense", "read_head"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class PackedDense:
    """One layer: weights ``[replicas, outputs, inputs]``, biases ``[replicas, 1, outputs]``."""

    weight: Array
    bias: Array
    weight_gradient: Array
    bias_gradient: Array
    activation: str

    @classmethod
    def view(
        cls,
        name: str,
        activation: str,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> PackedDense:
        """The layer of this name; a convolution's, if its kernel covers the whole image."""
        weight, bias = f"{name}.weight", f"{name}.bias"
        return cls(
            parameters[weight].flatten(2).numpy(),
            parameters[bias].unsqueeze(1).numpy(),
            gradients[weight].flatten(2).numpy(),
            gradients[bias].unsqueeze(1).numpy(),
            activation,
        )

    def apply(self, below: Array, out: Array) -> Array:
        """``[replicas, rows, outputs]`` of ``[replicas, rows, inputs]``."""
        np.matmul(below, self.weight.swapaxes(1, 2), out=out)
        out += self.bias
        activate(out, self.activation)
        return out

    def differentiate(self, gradient: Array, outputs: Array, below: Array) -> None:
        """Write the parameters' gradients; ``gradient`` becomes that before the activation."""
        backward_activation(torch.from_numpy(gradient), torch.from_numpy(outputs), self.activation)
        np.matmul(gradient.swapaxes(1, 2), below, out=self.weight_gradient)
        np.sum(gradient, axis=1, keepdims=True, out=self.bias_gradient)

    def propagate(self, gradient: Array, out: Array) -> Array:
        """The inputs' gradient of that before the activation."""
        if self.weight.shape[1] == 1:  # an outer product, for which numpy has no BLAS call
            return np.multiply(gradient, self.weight, out=out)
        return np.matmul(gradient, self.weight, out=out)


class DenseStack:
    """Layers one after the other. `backward` follows `forward`, in buffers that are reused.

    Args:
        layers: from the inputs up.
        inputs: their number.

    Attributes:
        units: outputs of the last layer; of none, the inputs.
    """

    def __init__(self, layers: Sequence[PackedDense], inputs: int) -> None:
        self._layers = list(layers)
        self._sizes = [layer.weight.shape[1] for layer in layers]
        self.units = self._sizes[-1] if layers else inputs
        self._inputs = inputs
        self._buffers: dict[tuple[str, tuple[int, ...]], list[Array]] = {}
        self._below: Array | None = None
        self._hidden: list[Array] = []

    def forward(self, below: Array, kept: int | None = None) -> Array:  # noqa: ARG002
        """``float32[replicas, rows, units]``, valid until the next call for as many rows.

        Args:
            below: ``float32[replicas, rows, inputs]``.
            kept: of how many of the first rows `backward` will be asked; here it may be any.
        """
        self._below = hidden = below
        self._hidden = self._allocate("hidden", below.shape[:2], self._sizes)
        for layer, out in zip(self._layers, self._hidden, strict=True):
            hidden = layer.apply(hidden, out)
        return hidden

    def backward(self, gradient: Array, *, needs_below: bool = False) -> Array:
        """Write the parameters' gradients of the first rows of the last `forward`.

        Args:
            gradient: of the outputs, ``float32[replicas, rows, units]``; it is overwritten.
            needs_below: whether the inputs' gradient is wanted.

        Returns:
            The inputs' gradient, in a buffer; empty if it is not wanted.

        Raises:
            AssertionError: nothing went forward.
        """
        if self._below is None:
            raise AssertionError("backward comes after forward")
        rows = gradient.shape[1]
        sizes = [self._inputs if needs_below else 0, *self._sizes[:-1]]
        buffers = self._allocate("gradient", gradient.shape[:2], sizes)
        inputs = [self._below, *self._hidden]
        for i in range(len(self._layers) - 1, -1, -1):
            layer = self._layers[i]
            layer.differentiate(gradient, self._hidden[i][:, :rows], inputs[i][:, :rows])
            if i or needs_below:
                gradient = layer.propagate(gradient, buffers[i])
        return gradient if needs_below else buffers[0]

    def _allocate(self, kind: str, shape: tuple[int, ...], sizes: Sequence[int]) -> list[Array]:
        key = kind, shape
        if key not in self._buffers:
            self._buffers[key] = [np.empty((*shape, size), dtype=np.float32) for size in sizes]
        return self._buffers[key]


def read_head(
    name: str,
    hiddens: int,
    activation: str,
    parameters: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
) -> DenseStack:
    """A head: its hidden layers, and the linear one that gives its outputs."""
    named = [(f"head.{name}.{i}", activation) for i in range(hiddens)]
    layers = [
        PackedDense.view(*layer, parameters, gradients)
        for layer in (*named, (f"head.{name}.out", "linear"))
    ]
    return DenseStack(layers, layers[0].weight.shape[2])
