"""Layers over images, in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["ACTIVATIONS", "read_convolutions", "read_traced_convolutions"]

Array: TypeAlias = np.ndarray[Any, Any]
Layer: TypeAlias = Callable[[Tensor], Tensor]

ACTIVATIONS: Mapping[str, Layer] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "silu": functional.silu,
    "elu": functional.elu,
    "linear": lambda hidden: hidden,
}


def read_convolutions(
    network: Mapping[str, Any], tensors: Mapping[str, Array], name: str
) -> Callable[[Array], Array]:
    """An encoder from ``float32[batch, height, width, channels]`` to ``float32[batch, size]``.

    Args:
        network: as ``agent.json`` has it.
        tensors: by name.
        name: of the encoder.

    Raises:
        KeyError: a tensor is missing.
    """
    copies = {
        one: torch.from_numpy(np.ascontiguousarray(array))
        for one, array in tensors.items()
        if one.startswith(f"encoder.{name}.")
    }
    convolve = read_traced_convolutions(network, copies, name)

    def run(batch: Array) -> Array:
        with torch.no_grad():
            return np.asarray(convolve(torch.from_numpy(batch)))

    return run


def read_traced_convolutions(
    network: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str
) -> Layer:
    """The same of torch's tensors, for `torch.export`."""
    layers = [
        _read_layer(tensors, f"encoder.{name}.{index}", layer, ACTIVATIONS[network["activation"]])
        for index, layer in enumerate(network["convolutions"])
    ]

    # Agents of earlier versions have none.
    scale = float(network.get("input_scale", 1.0))

    def run(batch: Tensor) -> Tensor:
        hidden = batch.permute(0, 3, 1, 2)
        if scale != 1:
            hidden = hidden * scale
        for layer in layers:
            hidden = layer(hidden)
        return hidden.permute(0, 2, 3, 1).flatten(1)

    return run


def _read_layer(
    tensors: Mapping[str, Tensor], name: str, layer: Mapping[str, Any], activate: Layer
) -> Layer:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    padding, stride = tuple(layer["padding"]), tuple(layer["stride"])

    def run(batch: Tensor) -> Tensor:
        padded = functional.pad(batch, padding)
        return activate(functional.conv2d(padded, weight, bias, stride))

    return run
