"""A network as a printable table of its layers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweeper.markup import table
from sweeper.printable import printable

__all__ = ["Layer", "NetworkTable", "list_modules", "list_torch_layers"]

_HEADS = ("layer", "type", "shape", "activation", "parameters")
_ACTIVATIONS = {
    name.lower(): name.lower() for name in ("Tanh", "ReLU", "SiLU", "ELU", "GELU", "Sigmoid")
}


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: as its weights are called.
        kind: ``Linear``, ``Conv2d``, ….
        shape: what it maps to what, in words.
        activation: that follows it; ``-`` if none does.
        parameters: how many numbers it has.
    """

    name: str
    kind: str
    shape: str
    activation: str
    parameters: int


@dataclass(frozen=True)
class NetworkTable:
    """The layers of a network, in the order in which they are evaluated; printed it is a table."""

    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """How many numbers all layers have."""
        return sum(layer.parameters for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """For ``sweeper inspect --json``."""
        layers = [asdict(layer) for layer in self.layers]
        return {"layers": layers, "parameters": self.parameters}

    def rows(self) -> list[tuple[str, ...]]:
        """Texts for a table: the head, the layers, the sum."""
        body = [
            (one.name, one.kind, one.shape, one.activation, f"{one.parameters:,}")
            for one in self.layers
        ]
        return [_HEADS, *body, ("total", "", "", "", f"{self.parameters:,}")]

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
        lines = []
        for row in rows:
            *cells, last = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append("  ".join([*cells, last.strip().rjust(widths[-1])]))
        rule = "-" * max(map(len, lines))
        return printable("\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        head, *rows = self.rows()
        return table(head, rows).text


def list_torch_layers(
    network: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]
) -> tuple[Layer, ...]:
    """The layers of a torch agent.

    Args:
        network: as ``agent.json`` has it.
        shapes: of its weights, by name.
    """
    weights = [
        name.removesuffix(".weight")
        for name in shapes
        if name.endswith(".weight") and not name.endswith(".norm.weight")
    ]
    layers = []
    for name in sorted(weights, key=_reading_order):
        shape = shapes[f"{name}.weight"]
        own = [one for key, one in shapes.items() if key.startswith(f"{name}.")]
        is_head = name.startswith("head.")
        activation = network["head_activation"] if is_head else network["activation"]
        kind = "Conv2d" if len(shape) == 4 else "Linear"
        if f"{name}.norm.weight" in shapes:
            kind += " + LayerNorm"
        index = int(name.rpartition(".")[2]) if not name.endswith(".out") else 0
        layers.append(
            Layer(
                name,
                kind,
                _convolution_shape(shape, network["convolutions"][index]["stride"])
                if len(shape) == 4
                else f"{shape[1]} → {shape[0]}",
                "-" if name.endswith(".out") or activation == "linear" else activation,
                sum(map(math.prod, own)),
            )
        )
    if "log_std" in shapes:
        size = math.prod(shapes["log_std"])
        layers.append(Layer("log_std", "free log deviation", f"{size}", "-", size))
    return tuple(layers)


def _reading_order(name: str) -> tuple[bool, str, bool, int]:
    """Encoders before heads, the policy's before the value's, layers by their number."""
    part, owner, layer = name.split(".")
    is_last = layer == "out"
    return part == "head", owner, is_last, 0 if is_last else int(layer)


def _convolution_shape(shape: Sequence[int], stride: Sequence[int]) -> str:
    kernel = "x".join(map(str, shape[2:]))
    return f"{shape[1]} → {shape[0]}, {kernel} by {'x'.join(map(str, stride))}"


def list_modules(modules: Iterable[tuple[str, Any]]) -> tuple[Layer, ...]:
    """The layers of a ``torch.nn.Module``, as its ``named_modules`` yields them."""
    layers: list[Layer] = []
    for name, module in modules:
        own = [parameter for _, parameter in module.named_parameters(recurse=False)]
        kind = type(module).__name__
        if own:
            count = sum(parameter.numel() for parameter in own)
            layers.append(Layer(name, kind, _module_shape(module, own), "-", count))
        elif kind.lower() in _ACTIVATIONS and layers and layers[-1].activation == "-":
            last = layers[-1]
            if last.name.rpartition(".")[0] == name.rpartition(".")[0]:  # they follow each other
                layers[-1] = Layer(last.name, last.kind, last.shape, kind.lower(), last.parameters)
    return tuple(layers)


def _module_shape(module: Any, own: Sequence[Any]) -> str:
    for inputs, outputs in (("in_features", "out_features"), ("in_channels", "out_channels")):
        if hasattr(module, inputs) and hasattr(module, outputs):
            shape = f"{getattr(module, inputs)} → {getattr(module, outputs)}"
            if hasattr(module, "kernel_size"):
                kernel, stride = (
                    "x".join(map(str, one)) for one in (module.kernel_size, module.stride)
                )
                shape += f", {kernel} by {stride}"
            return shape
    return ", ".join("x".join(map(str, parameter.shape)) for parameter in own)
