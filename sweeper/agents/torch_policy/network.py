"""A network's layers, from its description and its tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .dense import read_dense

__all__ = ["Network", "read_network"]

Layer: TypeAlias = Callable[[Any], Any]
ReadDense: TypeAlias = Callable[[Mapping[str, Any], str, str | None], Layer]
ReadConvolutions: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Any], str], Layer]


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


def _read_convolutions(
    network: Mapping[str, Any], tensors: Mapping[str, np.ndarray[Any, Any]], name: str
) -> Layer:
    from .convolutions import read_convolutions  # needs torch, whose import takes seconds

    return read_convolutions(network, tensors, name)


def read_network(
    network: Mapping[str, Any],
    tensors: Mapping[str, Any],
    *,
    has_value: bool = True,
    dense: ReadDense = read_dense,
    convolutions: ReadConvolutions = _read_convolutions,
) -> Network:
    """The layers of one replica.

    Args:
        network: as ``agent.json`` has it.
        tensors: by name.
        has_value: whether there is a value's head.
        dense: reads a dense layer of the tensors; the default's are numpy's arrays.
        convolutions: reads an encoder of images; the same.

    Raises:
        KeyError: a tensor is missing.
    """
    names = ("shared", "shared") if network["is_shared"] else ("policy", "value")

    def read_encoder(name: str) -> Layer:
        if network["convolutions"]:
            return convolutions(network, tensors, name)
        layers = [f"encoder.{name}.{index}" for index in range(len(network["hiddens"]))]
        return _chain([dense(tensors, layer, network["activation"]) for layer in layers])

    def read_head(name: str) -> Layer:
        layers = [f"head.{name}.{index}" for index in range(len(network["head_hiddens"]))]
        hidden = [dense(tensors, layer, network["head_activation"]) for layer in layers]
        return _chain([*hidden, dense(tensors, f"head.{name}.out", None)])

    used = dict.fromkeys(names if has_value else names[:1])
    encoders = {name: read_encoder(name) for name in used}
    policy = encoders[names[0]]
    return Network(
        policy,
        encoders.get(names[1], policy),
        read_head("policy"),
        read_head("value") if has_value else None,
    )


def _chain(layers: Sequence[Layer]) -> Layer:
    def run(batch: Any) -> Any:
        for layer in layers:
            batch = layer(batch)
        return batch

    return run
