"""The standard network of all replicas on a CPU, with a hand-derived backward pass.

Every intermediate lives in a reused buffer. A minibatch has its rows side by side,
``[replicas, encoders, units, rows]``: the first layer of both encoders is one product, and no later
array has a handful of outputs as its innermost axis. Products are numpy's, on the tensors' own
memory: its BLAS writes into strided views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.architecture import Architecture
from sweeper.trainables.torch_backend.log_deviations import LogDeviations

__all__ = ["PackedMlp", "activate", "backward_activation", "can_pack"]

Array = NDArray[np.float32]

_MANY = 4096
_VECTORS = 64  # numbers that torch's loops take at once, with AVX-512; with AVX2 half as many


def can_pack(architecture: Architecture) -> bool:
    """Whether this is the standard network: dense layers without normalisation or head layers."""
    return (
        not architecture.convolutions
        and not architecture.head_hiddens
        and not architecture.use_layernorm
        and architecture.activation in ("tanh", "relu", "linear")
    )


class PackedMlp:
    """Evaluates networks through views of their parameters and gradients."""

    def __init__(
        self,
        architecture: Architecture,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> None:
        self._activation = architecture.activation
        self._layers = [
            _Dense.view(
                [f"encoder.{encoder}.{i}" for encoder in architecture.encoders],
                parameters,
                gradients,
            )
            for i in range(len(architecture.hiddens))
        ]
        self._policy_head, self._value_head = (
            _Dense.view([f"head.{head}.out"], parameters, gradients, is_head=True)
            for head in ("policy", "value")
        )
        self._deviations = LogDeviations(architecture, parameters, gradients)
        self._buffers: _Buffers | None = None

    def policy(self, observations: Array) -> Array:
        """Inputs of the action distribution, ``float32[replicas, rows, inputs]``.

        Args:
            observations: ``float32[replicas, rows, size]``.
        """
        raw = self._policy_head.apply(self._encode(observations, encoder=0))
        return self._deviations.act(raw)

    def values(self, observations: Array) -> Array:
        """``float32[replicas, rows]`` for ``float32[replicas, rows, size]``."""
        return self._value_head.apply(self._encode(observations, encoder=-1))[..., 0]

    def forward(self, observations: Array) -> tuple[Array, Array]:
        """Both heads' outputs; keeps what `backward` needs in the buffers until the next call.

        Args:
            observations: ``float32[replicas, rows, size]``, fastest if stored column by column.

        Returns:
            Inputs of the action distribution, ``float32[replicas, inputs, rows]``, and values,
            ``float32[replicas, 1, rows]``.
        """
        observations = observations.swapaxes(1, 2)
        buffers = self._allocate(len(observations), observations.shape[-1])
        buffers.observations = observations
        for i, layer in enumerate(self._layers):
            hidden = buffers.hidden[i]
            if i:
                np.matmul(layer.weight, buffers.hidden[i - 1], out=hidden)
            else:  # the same observations for every encoder
                np.matmul(layer.flat_weight, observations, out=buffers.flat_hidden)
            buffers.hidden_tensors[i].add_(layer.bias_column)
            activate(hidden, self._activation)
        last = buffers.hidden[-1]
        raw: Array = np.matmul(self._policy_head.weight, last[:, 0])
        values: Array = np.matmul(self._value_head.weight, last[:, -1])
        raw += self._policy_head.bias[..., None]
        values += self._value_head.bias[..., None]
        return self._deviations.forward(raw), values

    def backward(self, gradient: Array, value_gradient: Array) -> None:
        """Write the gradients of all parameters.

        Args:
            gradient: of the distribution's inputs, shaped as by `forward`; it is overwritten.
            value_gradient: of the values, ``float32[replicas, 1, rows]``.
        """
        buffers = self._buffers
        if buffers is None:
            raise AssertionError("backward comes after forward")
        self._backward_heads(self._deviations.backward(gradient), value_gradient, buffers)
        for i in range(len(self._layers) - 1, -1, -1):
            layer, above = self._layers[i], buffers.gradients[i]
            above_tensor = buffers.gradient_tensors[i]
            backward_activation(above_tensor, buffers.hidden_tensors[i], self._activation)
            torch.sum(above_tensor, dim=-1, keepdim=True, out=layer.bias_gradient_column)
            if i:
                below = buffers.hidden[i - 1].swapaxes(-1, -2)
                np.matmul(above, below, out=layer.weight_gradient)
                np.matmul(layer.weight.swapaxes(-1, -2), above, out=buffers.gradients[i - 1])
            else:
                below = buffers.observations.swapaxes(-1, -2)
                np.matmul(buffers.flat_gradient, below, out=layer.flat_weight_gradient)

    def _encode(self, observations: Array, encoder: int) -> Array:
        hidden = observations
        for layer in self._layers:
            hidden = np.matmul(hidden, layer.weight[:, encoder].swapaxes(-1, -2))
            hidden += layer.bias[:, None, encoder]
            activate(hidden, self._activation)
        return hidden

    def _backward_heads(self, raw: Array, values: Array, buffers: _Buffers) -> None:
        last, gradient = buffers.hidden[-1], buffers.gradients[-1]
        policy, value = self._policy_head, self._value_head
        np.matmul(raw, last[:, 0].swapaxes(-1, -2), out=policy.weight_gradient)
        np.matmul(values, last[:, -1].swapaxes(-1, -2), out=value.weight_gradient)
        np.sum(raw, axis=-1, out=policy.bias_gradient)
        np.sum(values, axis=-1, out=value.bias_gradient)
        np.matmul(policy.weight.swapaxes(-1, -2), raw, out=gradient[:, 0])
        # With one output it is an outer product; numpy has no BLAS call for that.
        column = value.weight.swapaxes(-1, -2)
        if gradient.shape[1] == 1:  # one encoder for both heads: their gradients add up
            gradient[:, 0] += column * values
        else:
            np.multiply(column, values, out=gradient[:, 1])

    def _allocate(self, replicas: int, rows: int) -> _Buffers:
        if self._buffers is None or self._buffers.hidden[0].shape[-1] != rows:
            self._buffers = _Buffers(
                [(replicas, *layer.weight.shape[1:3], rows) for layer in self._layers]
            )
        return self._buffers


class _Dense:
    """Views of one layer's parameters and gradients.

    Attributes:
        weight: ``[replicas, (encoders,) outputs, inputs]``.
        bias: ``[replicas, (encoders,) outputs]``.
        flat_weight: ``[replicas, encoders x outputs, inputs]``.
        bias_column: ``[replicas, (encoders,) outputs, 1]``.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, weight_gradient: Tensor, bias_gradient: Tensor
    ) -> None:
        self.weight: Array = weight.numpy()
        self.bias: Array = bias.numpy()
        self.weight_gradient: Array = weight_gradient.numpy()
        self.bias_gradient: Array = bias_gradient.numpy()
        self.flat_weight = _flatten(self.weight)
        self.flat_weight_gradient = _flatten(self.weight_gradient)
        self.bias_column = bias.unsqueeze(-1)
        self.bias_gradient_column = bias_gradient.unsqueeze(-1)

    @classmethod
    def view(
        cls,
        names: list[str],
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        *,
        is_head: bool = False,
    ) -> _Dense:
        """The layer of these names in all encoders, or a head's, without the encoders' axis."""
        views = [
            [tensors[f"{name}.{kind}"] for name in names]
            for tensors in (parameters, gradients)
            for kind in ("weight", "bias")
        ]
        return cls(*(same[0] if is_head else _side_by_side(same) for same in views))

    def apply(self, rows: Array) -> Array:
        """``[replicas, rows, outputs]`` from ``[replicas, rows, inputs]``."""
        output: Array = np.matmul(rows, self.weight.swapaxes(-1, -2))
        output += self.bias[:, None]
        return output


class _Buffers:
    """What a forward pass keeps for the backward pass, for one number of rows.

    Attributes:
        hidden: activations of each layer, ``[replicas, encoders, units, rows]``.
        gradients: their gradients.
        flat_hidden: the first layer's activations, ``[replicas, encoders x units, rows]``.
        flat_gradient: their gradients.
    """

    observations: Array

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self.hidden_tensors = [torch.empty(shape, dtype=torch.float32) for shape in shapes]
        self.gradient_tensors = [torch.empty(shape, dtype=torch.float32) for shape in shapes]
        self.hidden: list[Array] = [tensor.numpy() for tensor in self.hidden_tensors]
        self.gradients: list[Array] = [tensor.numpy() for tensor in self.gradient_tensors]
        self.flat_hidden = _flatten(self.hidden[0])
        self.flat_gradient = _flatten(self.gradients[0])


def activate(array: Array, activation: str) -> None:
    """Apply tanh, relu or nothing in place.

    Of many numbers tanh is computed as ``2 sigmoid(2x) - 1``, to within 2e-7. With AVX2, 80,000
    of them took 100 us so, 208 by numpy's tanh and 267 by torch's.

    Args:
        array: ``[replicas, ...]``, without gaps in memory.
        activation: ``tanh``, ``relu`` or ``linear``.
    """
    if activation == "tanh" and _are_many(array):
        torch.from_numpy(array).mul_(2).sigmoid_().mul_(2).sub_(1)
    elif activation == "tanh":
        np.tanh(array, out=array)
    elif activation == "relu":
        np.maximum(array, 0, out=array)


def _are_many(array: Array) -> bool:
    """Whether each replica has many numbers, and full vectors of them.

    The other replicas must not decide which function a replica's numbers go through, nor may its
    place among them: torch computes what fills no whole vector by another function.
    """
    size = array.size // len(array)
    return size >= _MANY and size % _VECTORS == 0


def backward_activation(gradient: Tensor, hidden: Tensor, activation: str) -> None:
    """Turn the gradient of an activation's outputs into that of its inputs, in place."""
    if activation == "tanh":
        torch.ops.aten.tanh_backward.grad_input(gradient, hidden, grad_input=gradient)
    elif activation == "relu":
        torch.ops.aten.threshold_backward.grad_input(gradient, hidden, 0, grad_input=gradient)


def _flatten(array: Array) -> Array:
    """A view with the encoders' axis, if there is one, merged into the next axis."""
    if array.ndim < 4:
        return array
    replicas, encoders, outputs, columns = array.shape
    flat: Array = array.reshape(replicas, encoders * outputs, columns)
    if not np.shares_memory(flat, array):
        raise AssertionError("the encoders' units do not lie side by side")
    return flat


def _side_by_side(views: list[Tensor]) -> Tensor:
    """One view ``[replicas, encoders, *shape]`` of parameters that lie side by side."""
    first = views[0]
    size = first[0].numel()
    distance = size * first.element_size()
    if any(view.data_ptr() != first.data_ptr() + i * distance for i, view in enumerate(views)):
        raise AssertionError("the encoders' parameters do not lie side by side")
    replicas, *shape = first.shape
    stride, *inner = first.stride()
    return first.as_strided((replicas, len(views), *shape), (stride, size, *inner))
