"""Whether a torch agent's tensors are those of the network that its description names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from sweeper.formatting import count_noun

__all__ = ["check_tensors"]

Array = np.ndarray[Any, Any]
_Shape = tuple[int, ...]


def check_tensors(
    description: Mapping[str, Any], tensors: Mapping[str, Array], action_space: spaces.Space[Any]
) -> None:
    """Check the names, the shapes and the numbers of one replica's tensors.

    Args:
        description: the contents of ``agent.json``.
        tensors: by name, without the axis of replicas.
        action_space: the environment's.

    Raises:
        ValueError: one is missing, foreign, of another shape, or holds what is no number.
    """
    expected = dict(_list_shapes(description, action_space))
    for name in ("observations", "rewards"):  # the description names them, but need not
        if any(one.startswith(f"normalisation.{name}.") for one in tensors):
            expected.update(_list_moments(description, name))
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    optional = _list_optional(description)
    for name, array in tensors.items():
        if name not in expected and name not in optional:
            raise ValueError(f"{name} belongs to no part of the network")
        wanted = expected.get(name, tuple(array.shape))
        if tuple(array.shape) != wanted:
            raise ValueError(f"{name} has the shape {tuple(array.shape)}, not {wanted}")
        if array.dtype.kind != "f":
            raise ValueError(f"{name} holds {array.dtype}, no floating-point numbers")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or an infinity")
        if name.endswith(".variance") and (array < 0).any():
            raise ValueError(f"{name} is negative")


def _list_optional(description: Mapping[str, Any]) -> set[str]:
    """Names that may be there: DQN's network has a head for values even where it is not used."""
    head = len(description["network"]["head_hiddens"])
    layers = [*map(str, range(head)), "out"]
    parts = ("weight", "bias", "norm.weight", "norm.bias")
    return {f"head.value.{layer}.{part}" for layer in layers for part in parts}


def _list_shapes(
    description: Mapping[str, Any], action_space: spaces.Space[Any]
) -> Iterator[tuple[str, _Shape]]:
    network = description["network"]
    is_dqn = "num_atoms" in description
    has_value = description["dueling"] if is_dqn else description.get("has_value", True)
    observed = tuple(network["observation_shape"])
    encoders = ("shared",) if network["is_shared"] else ("policy", "value")
    if not has_value:
        encoders = encoders[:1]
    size = 0
    for encoder in encoders:
        size = observed[-1]
        for index, layer in enumerate(network["convolutions"]):
            name = f"encoder.{encoder}.{index}"
            yield f"{name}.weight", (layer["channels"], size, *layer["kernel"])
            yield f"{name}.bias", (layer["channels"],)
            size = layer["channels"]
        for index, hidden in enumerate(network["hiddens"]):
            name = f"encoder.{encoder}.{index}"
            yield from _dense(name, hidden, size, network["use_layernorm"])
            size = hidden
        if network["convolutions"]:
            size *= math.prod(_convolve(observed[:2], network["convolutions"]))
    actions = _count_outputs(action_space, description)
    outputs = network["policy_outputs"]
    if outputs != actions:
        raise ValueError(
            f"the network has {count_noun(outputs, 'output')} for actions that need {actions}"
        )
    heads = [("policy", outputs)] + ([("value", 1)] if has_value else [])
    for head, last in heads:
        inputs = size
        for index, hidden in enumerate(network["head_hiddens"]):
            yield from _dense(f"head.{head}.{index}", hidden, inputs, network["head_use_layernorm"])
            inputs = hidden
        yield from _dense(f"head.{head}.out", last, inputs, False)
    if network["free_log_std"]:
        yield "log_std", (outputs,)
    for name in description.get("normalisation", ()):
        yield from _list_moments(description, name)


def _list_moments(description: Mapping[str, Any], name: str) -> Iterator[tuple[str, _Shape]]:
    shape = tuple(description["network"]["observation_shape"]) if name == "observations" else ()
    yield f"normalisation.{name}.mean", shape
    yield f"normalisation.{name}.variance", shape
    yield f"normalisation.{name}.count", ()


def _dense(name: str, outputs: int, inputs: int, has_norm: bool) -> Iterator[tuple[str, _Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)
    if has_norm:
        yield f"{name}.norm.weight", (outputs,)
        yield f"{name}.norm.bias", (outputs,)


def _convolve(image: tuple[int, ...], layers: Any) -> tuple[int, int]:
    height, width = image
    for layer in layers:
        left, right, top, bottom = layer["padding"]
        height = (height + top + bottom - layer["kernel"][0]) // layer["stride"][0] + 1
        width = (width + left + right - layer["kernel"][1]) // layer["stride"][1] + 1
    return height, width


def _count_outputs(space: spaces.Space[Any], description: Mapping[str, Any]) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n) * int(description.get("num_atoms", 1))
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    size = math.prod(space.shape or ())
    return size if description["network"]["free_log_std"] else 2 * size
