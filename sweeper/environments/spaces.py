"""Encode observations of gymnasium's spaces for the torch backend, and write spaces as JSON."""

from __future__ import annotations

import math
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
    "has_channels_first",
    "space_from_json",
    "space_to_json",
]

Space: TypeAlias = spaces.Space[Any]


def has_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an image's first axis holds its channels: it is smaller than both others."""
    return len(shape) == 3 and shape[0] < min(shape[1:])


@dataclass(frozen=True)
class ObservationEncoder:
    """Encodes a vector environment's observations as the network's input.

    Attributes:
        space: observation space of one sub-environment.
        shape: shape of one encoded observation: ``(size,)``, or ``(height, width, channels)``.
    """

    space: Space
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Float32, or uint8 for images of bytes."""
        is_bytes = len(self.shape) == 3 and self.space.dtype == np.uint8
        return np.dtype(np.uint8 if is_bytes else np.float32)

    def encode(self, observations: Any) -> NDArray[Any]:
        """Encode the batched observations of a vector environment as ``dtype[envs, *shape]``."""
        if isinstance(self.space, spaces.Box):
            array = np.asarray(observations, dtype=self.dtype)
            return array.reshape(-1, *self.shape)
        return np.concatenate(_encode_parts(self.space, observations), axis=1, dtype=np.float32)


def build_observation_encoder(space: Space) -> ObservationEncoder:
    """Build a space's encoder: images keep their shape, integers become one-hot, all else is flat.

    Raises:
        ConfigurationRefusedError: the backend has no network for this space.
    """
    if isinstance(space, spaces.Box) and len(space.shape) == 3:
        return ObservationEncoder(space, space.shape)
    if isinstance(space, spaces.Box) and len(space.shape) == 2:
        raise ConfigurationRefusedError(
            f"observations of rank 2 ({space}): flatten them with the wrapper FlattenObservation, "
            "or give an image its channels"
        )
    return ObservationEncoder(space, (_flat_size(space),))


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
    """Return a space as JSON types; infinite bounds are strings.

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
            return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
        case spaces.MultiDiscrete():
            counts, start = space.nvec.tolist(), space.start.tolist()
            return {"type": "MultiDiscrete", "nvec": counts, "start": start}
        case spaces.Dict():
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
            dtype = np.dtype(document["dtype"])
            low = _bounds_from_json(document["low"], shape, dtype)
            high = _bounds_from_json(document["high"], shape, dtype)
            return spaces.Box(low, high, dtype=dtype.type)
        case "Discrete":
            return spaces.Discrete(document["n"], start=document["start"])
        case "MultiDiscrete":
            return spaces.MultiDiscrete(document["nvec"], start=document["start"])
        case "Dict":
            named = document["spaces"].items()
            return spaces.Dict({key: space_from_json(part) for key, part in named})
        case "Tuple":
            return spaces.Tuple([space_from_json(part) for part in document["spaces"]])
    raise ConfigurationRefusedError(f"unknown space {document['type']!r}")


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
