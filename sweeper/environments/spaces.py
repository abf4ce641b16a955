"""Encode observations of gymnasium's spaces for the torch backend, and write spaces as JSON."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sweeper.errors import ConfigurationRefusedError

__all__ = [
    "ObservationEncoder",
    "build_observation_encoder",
    "explain_shape",
    "has_channels_first",
    "space_from_json",
    "space_to_json",
]

Space: TypeAlias = spaces.Space[Any]

_MAX_NUMBERS = 2**28  # of one recorded observation, which may be damaged or made up


def has_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an image's first axis holds its channels: it is smaller than both others."""
    return len(shape) == 3 and shape[0] < min(shape[1:])


@dataclass(frozen=True)
class ObservationEncoder:
    """Encodes a vector environment's observations as the network's input.

    Attributes:
        space: observation space of one sub-environment.
        shape: shape of one encoded observation: ``(size,)``, or ``(height, width, channels)``
            wherever the environment's images have their channels.
    """

    space: Space
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float32, or uint8 for images of bytes."""
        is_bytes = len(self.shape) == 3 and self.space.dtype == np.uint8
        return np.dtype(np.uint8 if is_bytes else np.float32)

    def encode(self, observations: Any) -> NDArray[Any]:
        """Encode the batched observations of a vector environment as ``dtype[envs, *shape]``.

        Images whose channels come first are a view, not a copy.
        """
        if isinstance(self.space, spaces.Box):
            array = np.asarray(observations, dtype=self.dtype)
            if has_channels_first(self.space.shape):
                return array.reshape(-1, *self.space.shape).transpose(0, 2, 3, 1)
            return array.reshape(-1, *self.shape)
        return np.concatenate(_encode_parts(self.space, observations), axis=1, dtype=np.float32)


def build_observation_encoder(space: Space) -> ObservationEncoder:
    """Build a space's encoder: images have channels last, integers are one-hot, all else is flat.

    Raises:
        ConfigurationRefusedError: the backend has no network for this space.
    """
    if isinstance(space, spaces.Box) and len(space.shape) == 3:
        first, *others = space.shape
        is_moved = has_channels_first(space.shape)
        return ObservationEncoder(space, (*others, first) if is_moved else space.shape)
    if isinstance(space, spaces.Box) and len(space.shape) > 1:
        raise ConfigurationRefusedError(explain_shape(space))
    size = _flat_size(space)
    if not size:
        raise ConfigurationRefusedError(f"observations of {space} are empty")
    return ObservationEncoder(space, (size,))


def explain_shape(space: spaces.Box) -> str:
    """Say which wrapper makes a vector or an image of observations that are neither."""
    found = f"observations have the shape {list(space.shape)}; must be a vector or an image"
    vector = "wrappers: [FlattenObservation] makes a vector of it"
    if len(space.shape) == 2 and space.dtype == np.uint8:
        image = f"wrappers: [{{ReshapeObservation: {{shape: {[*space.shape, 1]}}}}}]"
        return f"{found} with its channels: {image} adds them"
    if len(space.shape) == 4 and space.shape[-1] == 3 and space.dtype == np.uint8:
        return f"{found}: GrayscaleObservation before FrameStackObservation makes one; {vector}"
    return f"{found} (height, width, channels): {vector}"


def _flat_size(space: Space) -> int:
    match space:
        case spaces.Box():
            return int(np.prod(space.shape))
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete() if len(space.shape) == 1:
            return int(space.nvec.sum())
        case spaces.Dict():
            return sum(_flat_size(part) for part in space.spaces.values())
        case spaces.Tuple():
            return sum(_flat_size(part) for part in space.spaces)
    raise ConfigurationRefusedError(
        f"observation space {space}: backend torch takes Box, Discrete, MultiDiscrete, and Dict "
        "and Tuple of these; try backend: rllib"
    )


def _encode_parts(space: Space, batch: Any) -> list[NDArray[Any]]:
    match space:
        case spaces.Discrete():
            return [_one_hot(np.asarray(batch) - int(space.start), int(space.n))]
        case spaces.MultiDiscrete():
            columns = np.asarray(batch) - space.start
            return [_one_hot(columns[:, i], int(n)) for i, n in enumerate(space.nvec)]
        case spaces.Dict():
            pairs = [(below, batch[key]) for key, below in space.spaces.items()]
        case spaces.Tuple():
            pairs = list(zip(space.spaces, batch, strict=True))
        case _:
            array = np.asarray(batch)
            return [array.reshape(len(array), -1)]
    return [part for below, values in pairs for part in _encode_parts(below, values)]


def _one_hot(values: NDArray[Any], size: int) -> NDArray[np.float32]:
    return np.eye(size, dtype=np.float32)[values.astype(np.int64)]


def space_to_json(space: Space) -> dict[str, Any]:
    """Return a space as JSON types; infinite bounds are strings, integers without dtype are int64.

    Raises:
        ConfigurationRefusedError: it is not a Box, Discrete, MultiDiscrete, Dict or Tuple.
    """
    match space:
        case spaces.Box():
            return {
                "type": "Box",
                "shape": list(space.shape),
                "dtype": str(space.dtype),
                "low": _bounds_to_json(space.low),
                "high": _bounds_to_json(space.high),
            }
        case spaces.Discrete():
            document = {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
            return document | _dtype_to_json(space)
        case spaces.MultiDiscrete():
            counts, start = space.nvec.tolist(), space.start.tolist()
            return {"type": "MultiDiscrete", "nvec": counts, "start": start} | _dtype_to_json(space)
        case spaces.Dict():
            if not all(isinstance(key, str) for key in space.spaces):
                raise ConfigurationRefusedError(f"space {space} can't be recorded")
            parts = {key: space_to_json(part) for key, part in space.spaces.items()}
            return {"type": "Dict", "spaces": parts}
        case spaces.Tuple():
            return {"type": "Tuple", "spaces": [space_to_json(part) for part in space.spaces]}
    raise ConfigurationRefusedError(f"space {space} can't be recorded")


def space_from_json(document: Mapping[str, Any]) -> Space:
    """Read what `space_to_json` returned."""
    match document["type"]:
        case "Box":
            shape = tuple(document["shape"])
            if math.prod(shape) > _MAX_NUMBERS:
                raise ConfigurationRefusedError(f"a space of shape {shape} is no environment's")
            dtype = np.dtype(document["dtype"])
            low = _bounds_from_json(document["low"], shape, dtype)
            high = _bounds_from_json(document["high"], shape, dtype)
            return spaces.Box(low, high, dtype=dtype.type)
        case "Discrete":
            dtype = document.get("dtype", "int64")
            return spaces.Discrete(document["n"], start=document["start"], dtype=dtype)
        case "MultiDiscrete":
            dtype = document.get("dtype", "int64")
            return spaces.MultiDiscrete(document["nvec"], start=document["start"], dtype=dtype)
        case "Dict":
            named = document["spaces"].items()
            # gymnasium sorts the keys of a dict, but not those of an OrderedDict.
            return spaces.Dict(OrderedDict((key, space_from_json(part)) for key, part in named))
        case "Tuple":
            return spaces.Tuple([space_from_json(part) for part in document["spaces"]])
    raise ConfigurationRefusedError(f"unknown space {document['type']!r}")


def _dtype_to_json(space: Space) -> dict[str, str]:
    return {} if space.dtype == np.int64 else {"dtype": str(space.dtype)}


def _bounds_to_json(bounds: NDArray[Any]) -> Any:
    # An image has the same bound everywhere; listing it per pixel would take megabytes.
    if bounds.size and (bounds == bounds.flat[0]).all():
        return _number_to_json(bounds.flat[0].item())
    return [_number_to_json(value) for value in bounds.ravel().tolist()]


def _bounds_from_json(bounds: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if not isinstance(bounds, list):
        return np.full(shape, float(bounds)).astype(dtype)
    return np.array([float(value) for value in bounds]).reshape(shape).astype(dtype)


def _number_to_json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
