"""A network's layers, from its description and its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Network", "read_network"]

Layer: TypeAlias = Callable[[Tensor], Tensor]

_LAYERNORM_EPSILON = 1e-3
_ACTIVATIONS: Mapping[str, Layer] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "silu": functional.silu,
    "elu": functional.elu,
    "linear": lambda hidden: hidden,
}


class Network(NamedTuple):
    """A network in two halves, which share their encoder or not.

    Attributes:
        policy_encoder: from ``float32[batch, *observation]``, an image's channels last.
        value_encoder: the same; the very same one if it is shared.
        policy_head: from what the encoder gives to the policy's outputs.
        value_head: to the value; None if there is none.
    """

    policy_encoder: Layer
    value_encoder: Layer
    policy_head: Layer
    value_head: Layer | None


def read_network(
    network: Mapping[str, Any], tensors: Mapping[str, Tensor], *, has_value: bool = True
) -> Network:
    """The layers of one replica.

    Args:
        network: as ``agent.json`` has it.
        tensors: by name.
        has_value: whether there is a value's head.

    Raises:
        KeyError: a tensor is missing.
    """
    names = ("shared", "shared") if network["is_shared"] else ("policy", "value")
    used = dict.fromkeys(names if has_value else names[:1])
    encoders = {name: _read_encoder(network, tensors, name) for name in used}
    policy = encoders[names[0]]
    return Network(
        policy,
        encoders.get(names[1], policy),
        _read_head(network, tensors, "policy"),
        _read_head(network, tensors, "value") if has_value else None,
    )


def _read_encoder(network: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> Layer:
    activate = _ACTIVATIONS[network["activation"]]
    if not network["convolutions"]:
        layers = [f"encoder.{name}.{index}" for index in range(len(network["hiddens"]))]
        return _chain([_read_dense(tensors, layer, activate) for layer in layers])
    convolve = _chain(
        [
            _read_convolution(tensors, f"encoder.{name}.{index}", layer, activate)
            for index, layer in enumerate(network["convolutions"])
        ]
    )
    return lambda batch: convolve(batch.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).flatten(1)


def _read_head(network: Mapping[str, Any], tensors: Mapping[str, Tensor], head: str) -> Layer:
    activate = _ACTIVATIONS[network["head_activation"]]
    names = [f"head.{head}.{index}" for index in range(len(network["head_hiddens"]))]
    hidden = [_read_dense(tensors, name, activate) for name in names]
    return _chain([*hidden, _read_dense(tensors, f"head.{head}.out", None)])


def _read_convolution(
    tensors: Mapping[str, Tensor], name: str, layer: Mapping[str, Any], activate: Layer
) -> Layer:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    padding, stride = tuple(layer["padding"]), tuple(layer["stride"])

    def convolve(batch: Tensor) -> Tensor:
        padded = functional.pad(batch, padding)
        return activate(functional.conv2d(padded, weight, bias, stride))

    return convolve


def _read_dense(tensors: Mapping[str, Tensor], name: str, activate: Layer | None) -> Layer:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    scale = tensors.get(f"{name}.norm.weight")
    shift = tensors.get(f"{name}.norm.bias")

    def run(batch: Tensor) -> Tensor:
        output = functional.linear(batch, weight, bias)
        if scale is not None:
            output = functional.layer_norm(output, scale.shape, scale, shift, _LAYERNORM_EPSILON)
        return output if activate is None else activate(output)

    return run


def _chain(layers: Sequence[Layer]) -> Layer:
    def run(batch: Tensor) -> Tensor:
        for layer in layers:
            batch = layer(batch)
        return batch

    return run
