"""Dense layers, in numpy: importing torch takes seconds, and a small network needs none of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = ["LAYERNORM_EPSILON", "read_dense"]

Array: TypeAlias = np.ndarray[Any, Any]

LAYERNORM_EPSILON = 1e-3


def read_dense(
    tensors: Mapping[str, Array], name: str, activation: str | None
) -> Callable[[Array], Array]:
    """A layer from ``float32[batch, inputs]`` to ``float32[batch, outputs]``.

    Args:
        tensors: by name; a layer that is normalised has ``NAME.norm.weight``, too.
        name: of the layer.
        activation: by RLlib's name; None for the last layer of a head.

    Raises:
        KeyError: a tensor is missing, or there is no such activation.
    """
    weight = np.ascontiguousarray(tensors[f"{name}.weight"].T)
    bias = tensors[f"{name}.bias"]
    scale, shift = tensors.get(f"{name}.norm.weight"), tensors.get(f"{name}.norm.bias")
    activate = _ACTIVATIONS[activation or "linear"]

    def run(batch: Array) -> Array:
        with np.errstate(all="ignore"):
            output: Array = batch @ weight
            output += bias
            if scale is not None:
                output = _normalise(output) * scale + shift
            return activate(output)

    return run


def _normalise(batch: Array) -> Array:
    """Ba et al. (2016), with the epsilon of RLlib's networks."""
    centred = batch - batch.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    normalised: Array = centred / np.sqrt(variance + np.float32(LAYERNORM_EPSILON))
    return normalised


# Each may overwrite its argument.
def _tanh(hidden: Array) -> Array:
    return np.tanh(hidden, out=hidden)


def _relu(hidden: Array) -> Array:
    return np.maximum(hidden, 0, out=hidden)


def _silu(hidden: Array) -> Array:
    # x * sigmoid(x), whose exponential would overflow.
    return np.multiply(hidden, 0.5 + 0.5 * np.tanh(0.5 * hidden), out=hidden)


def _elu(hidden: Array) -> Array:
    return np.where(hidden > 0, hidden, np.expm1(np.minimum(hidden, 0)))


def _linear(hidden: Array) -> Array:
    return hidden


_ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "tanh": _tanh,
    "relu": _relu,
    "silu": _silu,
    "elu": _elu,
    "linear": _linear,
}
