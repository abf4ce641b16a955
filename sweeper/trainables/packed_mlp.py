"""The standard network of all replicas, forward and backward by hand, on a CPU.

Why by hand: with autograd's operators five replicas of two [64, 64] networks spend most of an
update in allocation, copies and a slow tanh. Here the policy's and the value's network are
packed beside the replicas, ``[replicas, encoders, rows, units]``; every intermediate lives in
a buffer that is reused; products and tanh are numpy's, on the tensors' own memory (its BLAS
writes into strided views, and its tanh is an order of magnitude faster than torch's); and the
gradient of every parameter is written where the optimiser reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.architectures import Architecture

__all__ = ["PackedMlp", "can_pack"]

Array = NDArray[np.float32]


def can_pack(architecture: Architecture) -> bool:
    """Whether this is the standard network."""
    return (
        not architecture.convolutions
        and not architecture.head_hiddens
        and not architecture.use_layernorm
        and architecture.activation in ("tanh", "relu", "linear")
    )


@dataclass(frozen=True)
class _Dense:
    """One layer's weights ``[replicas, (encoders,) outputs, inputs]``, biases, and gradients."""

    weight: Array
    bias: Tensor
    weight_gradient: Array
    bias_gradient: Tensor
    transposed: Array = field(init=False)
    bias_array: Array = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "transposed", self.weight.swapaxes(-1, -2))
        object.__setattr__(self, "bias_array", self.bias.numpy())


@dataclass(frozen=True)
class _Buffers:
    """Hidden activations and their gradients, one pair a layer, for one number of rows."""

    hidden: list[Tensor]
    gradients: list[Tensor]
    hidden_arrays: list[Array]
    gradient_arrays: list[Array]

    @classmethod
    def allocate(cls, shapes: Sequence[tuple[int, ...]]) -> _Buffers:
        hidden, gradients = ([torch.empty(shape) for shape in shapes] for _ in range(2))
        return cls(hidden, gradients, [h.numpy() for h in hidden], [g.numpy() for g in gradients])


class PackedMlp:
    """Evaluates the networks whose parameters and gradients it was given as views."""

    def __init__(
        self,
        architecture: Architecture,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> None:
        self.activation = architecture.activation
        self._units = architecture.hiddens
        encoders = architecture.encoders
        self.layers = [
            _view_encoders(
                [f"encoder.{encoder}.{i}" for encoder in encoders], parameters, gradients
            )
            for i in range(len(architecture.hiddens))
        ]
        self.policy_head = _view_head("head.policy.out", parameters, gradients)
        self.value_head = _view_head("head.value.out", parameters, gradients)
        self._encoders = len(encoders)
        self._buffers: dict[int, _Buffers] = {}

    def forward(self, parameters: Tensor, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Differentiable outputs ``[replicas, rows, outputs]`` and values ``[replicas, rows]``.

        Only one forward pass can be waiting for its backward: both use the same buffers.
        """
        outputs: tuple[Tensor, Tensor] = _PackedFunction.apply(  # type: ignore[no-untyped-call]
            parameters, observations, self
        )
        return outputs

    def policy(self, observations: Array) -> Array:
        """The policy head's output, ``float32[replicas, rows, outputs]``."""
        return _apply_head(self.policy_head, self._encode(observations, encoder=0))

    def values(self, observations: Array) -> Array:
        """``float32[replicas, rows]``."""
        encoded = self._encode(observations, encoder=self._encoders - 1)
        return _apply_head(self.value_head, encoded)[..., 0]

    def _encode(self, observations: Array, encoder: int) -> Array:
        hidden = observations
        for layer in self.layers:
            hidden = np.matmul(hidden, layer.transposed[:, encoder])
            hidden += layer.bias_array[:, encoder]
            _activate(hidden, self.activation)
        return hidden

    def buffers(self, replicas: int, rows: int) -> _Buffers:
        """The buffers for batches of this many rows."""
        if rows not in self._buffers:
            self._buffers.clear()  # a trial's minibatches all have one size
            shapes = [(replicas, self._encoders, rows, units) for units in self._units]
            self._buffers[rows] = _Buffers.allocate(shapes)
        return self._buffers[rows]


class _PackedFunction(torch.autograd.Function):
    """Both heads' outputs; backward writes the parameters' gradients into their views."""

    @staticmethod
    def forward(
        ctx: Any,
        parameters: Tensor,  # noqa: ARG004  what autograd sees; its memory is the layers' views
        observations: Tensor,
        mlp: PackedMlp,
    ) -> tuple[Tensor, Tensor]:
        buffers = mlp.buffers(*observations.shape[:2])
        ctx.observations = below = observations.numpy()[:, None]  # the same for every encoder
        for layer, hidden, array in zip(
            mlp.layers, buffers.hidden, buffers.hidden_arrays, strict=True
        ):
            np.matmul(below, layer.transposed, out=array)
            hidden.add_(layer.bias)
            _activate(array, mlp.activation)
            below = array
        ctx.mlp, ctx.buffers = mlp, buffers
        raw = _apply_head(mlp.policy_head, below[:, 0])
        values = _apply_head(mlp.value_head, below[:, -1])[..., 0]
        return torch.from_numpy(raw), torch.from_numpy(values)

    @staticmethod
    def backward(ctx: Any, raw_gradient: Tensor, value_gradient: Tensor) -> tuple[None, None, None]:
        mlp: PackedMlp = ctx.mlp
        buffers: _Buffers = ctx.buffers
        _backward_heads(mlp, buffers, raw_gradient, value_gradient.unsqueeze(-1))
        for i in range(len(mlp.layers) - 1, -1, -1):
            layer, gradient, array = mlp.layers[i], buffers.gradients[i], buffers.gradient_arrays[i]
            _backward_activation(gradient, buffers.hidden[i], mlp.activation)
            below = buffers.hidden_arrays[i - 1] if i else ctx.observations
            np.matmul(array.swapaxes(-1, -2), below, out=layer.weight_gradient)
            torch.sum(gradient, dim=2, keepdim=True, out=layer.bias_gradient)
            if i:
                np.matmul(array, layer.weight, out=buffers.gradient_arrays[i - 1])
        return None, None, None


def _backward_heads(
    mlp: PackedMlp, buffers: _Buffers, raw_gradient: Tensor, value_gradient: Tensor
) -> None:
    hidden, gradient = buffers.hidden_arrays[-1], buffers.gradients[-1]
    raw, value = raw_gradient.contiguous().numpy(), value_gradient.contiguous().numpy()
    policy_head, value_head = mlp.policy_head, mlp.value_head
    np.matmul(raw.swapaxes(-1, -2), hidden[:, 0], out=policy_head.weight_gradient)
    np.matmul(value.swapaxes(-1, -2), hidden[:, -1], out=value_head.weight_gradient)
    torch.sum(raw_gradient, dim=1, keepdim=True, out=policy_head.bias_gradient)
    torch.sum(value_gradient, dim=1, keepdim=True, out=value_head.bias_gradient)
    # With one output it is an outer product, for which numpy has no BLAS.
    policy_weight, value_weight = map(torch.from_numpy, (policy_head.weight, value_head.weight))
    if raw.shape[-1] == 1:
        torch.mul(raw_gradient, policy_weight, out=gradient[:, 0])
    else:
        np.matmul(raw, policy_head.weight, out=buffers.gradient_arrays[-1][:, 0])
    if gradient.shape[1] == 1:  # one encoder for both heads: their gradients add up
        gradient[:, 0].addcmul_(value_gradient, value_weight)
    else:
        torch.mul(value_gradient, value_weight, out=gradient[:, 1])


def _apply_head(head: _Dense, encoded: Array) -> Array:
    output: Array = np.matmul(encoded, head.transposed)
    output += head.bias_array
    return output


def _activate(array: Array, activation: str) -> None:
    if activation == "tanh":
        np.tanh(array, out=array)
    elif activation == "relu":
        np.maximum(array, 0, out=array)


def _backward_activation(gradient: Tensor, hidden: Tensor, activation: str) -> None:
    if activation == "tanh":
        torch.ops.aten.tanh_backward.grad_input(gradient, hidden, grad_input=gradient)
    elif activation == "relu":
        torch.ops.aten.threshold_backward.grad_input(gradient, hidden, 0, grad_input=gradient)


def _view_encoders(
    names: list[str], parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
) -> _Dense:
    """One layer of all encoders."""

    def view(tensors: Mapping[str, Tensor], kind: str) -> Tensor:
        return _side_by_side([tensors[f"{name}.{kind}"] for name in names])

    return _Dense(
        weight=view(parameters, "weight").numpy(),
        bias=view(parameters, "bias").unsqueeze(-2),
        weight_gradient=view(gradients, "weight").numpy(),
        bias_gradient=view(gradients, "bias").unsqueeze(-2),
    )


def _view_head(
    name: str, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
) -> _Dense:
    return _Dense(
        weight=parameters[f"{name}.weight"].numpy(),
        bias=parameters[f"{name}.bias"].unsqueeze(-2),
        weight_gradient=gradients[f"{name}.weight"].numpy(),
        bias_gradient=gradients[f"{name}.bias"].unsqueeze(-2),
    )


def _side_by_side(views: list[Tensor]) -> Tensor:
    """One view ``[replicas, encoders, *shape]`` over parameters that lie side by side."""
    first = views[0]
    size = first[0].numel()
    distance = size * first.element_size()
    if any(view.data_ptr() != first.data_ptr() + i * distance for i, view in enumerate(views)):
        raise AssertionError("the encoders' parameters do not lie side by side")
    replicas, *shape = first.shape
    stride, *inner = first.stride()
    return first.as_strided((replicas, len(views), *shape), (stride, size, *inner))
