"""Observations as a network takes them, and numbers as an environment takes them.

Spaces are JSON here, as ``agent.json`` has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

__all__ = ["BoxActions", "encode_parts", "plain_shape"]

Array: TypeAlias = np.ndarray[Any, Any]


def plain_shape(space: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of one observation as an array; structures are flattened."""
    match space["type"]:
        case "Box":
            return tuple(space["shape"])
        case "Discrete":
            return ()
        case "MultiDiscrete":
            return (len(space["nvec"]),)
    return (_flat_size(space),)


def _flat_size(space: Mapping[str, Any]) -> int:
    match space["type"]:
        case "Box":
            return int(np.prod(space["shape"]))
        case "Discrete":
            return int(space["n"])
        case "MultiDiscrete":
            return int(sum(space["nvec"]))
    inner = space["spaces"]
    return sum(_flat_size(part) for part in (inner.values() if isinstance(inner, dict) else inner))


def encode_parts(space: Mapping[str, Any], batch: Any) -> list[Array]:
    """Encode a batch in the space's own structure as flat columns, integers as one-hot."""
    match space["type"]:
        case "Discrete":
            return [_one_hot(np.asarray(batch) - space["start"], space["n"])]
        case "MultiDiscrete":
            columns = np.asarray(batch) - np.asarray(space["start"])
            return [_one_hot(columns[:, i], n) for i, n in enumerate(space["nvec"])]
        case "Dict":
            return [
                part
                for key, below in space["spaces"].items()
                for part in encode_parts(below, batch[key])
            ]
        case "Tuple":
            return [
                part
                for below, values in zip(space["spaces"], batch, strict=True)
                for part in encode_parts(below, values)
            ]
    array = np.asarray(batch, dtype=np.float32)
    return [array.reshape(len(array), -1)]


def _one_hot(values: Array, size: int) -> Array:
    rows = np.zeros((len(values), size), np.float32)
    rows[np.arange(len(values)), values.astype(np.int64)] = 1
    return rows


class BoxActions:
    """Turns a policy's numbers into actions of a float Box, as the trainer does.

    Agents of older versions don't act ``by_dimension``: one infinite bound left all dimensions as
    the policy gave them, and actions were clipped only if asked for.

    Args:
        space: as ``agent.json`` has it.
        size: how many numbers an action has.

    Attributes:
        shape: of one action.
        dtype: of the space.
        is_unsquashed: ``bool[size]``, where -1 and 1 stand for the bounds.
        is_clipped: whether the bounds hold for every action.
        low: ``[size]``.
        high: ``[size]``.
        origin: ``[size]``; a number that is unsquashed becomes ``origin + (number + offset) *
            half``.
        offset: ``[size]``.
        half: ``[size]``.
    """

    def __init__(
        self,
        space: Mapping[str, Any],
        size: int,
        *,
        normalize_actions: bool,
        clip_actions: bool,
        by_dimension: bool,
    ) -> None:
        self.size = size
        self.shape, self.dtype = tuple(space["shape"]), np.dtype(space["dtype"])
        precision = np.result_type(self.dtype, np.float32)
        low, high = (_bounds(space[name], size).astype(precision) for name in ("low", "high"))
        is_bounded = np.isfinite(low) & np.isfinite(high)
        self.is_clipped = True
        if not by_dimension:
            is_bounded &= is_bounded.all()
            self.is_clipped = bool(is_bounded.all()) if normalize_actions else clip_actions
        with np.errstate(all="ignore"):
            # From the middle if the distance of the bounds is no number of this precision.
            is_huge = ~np.isfinite(high - low)
            self.origin = np.where(is_huge, low / 2 + high / 2, low)
            self.half = high / 2 - low / 2
            self.is_unsquashed = is_bounded & (self.half > 0) & normalize_actions
        self.offset = np.where(is_huge, 0, 1).astype(precision)
        limits = np.finfo(self.dtype)
        self.low = np.maximum(low, limits.min.astype(precision))
        self.high = np.minimum(high, limits.max.astype(precision))

    def fit(self, numbers: Array) -> Array:
        """Actions ``[batch, *shape]`` for a policy's ``[batch, size]``."""
        with np.errstate(all="ignore"):
            distance = (numbers + self.offset) * self.half
            actions = np.where(self.is_unsquashed, self.origin + distance, numbers)
            if self.is_clipped:
                actions = np.clip(actions, self.low, self.high)
            shaped: Array = actions.reshape(len(actions), *self.shape).astype(self.dtype)
        return shaped

    def unfit(self, actions: Array) -> Array:
        """The inverse of `fit`, but for what that clips: a policy's ``float64[batch, size]``."""
        given = np.asarray(actions, np.float64).reshape(len(actions), self.size)
        with np.errstate(all="ignore"):
            squashed = (given - self.origin) / self.half - self.offset
        return np.where(self.is_unsquashed, squashed, given)


def _bounds(bounds: Any, size: int) -> Array:
    numbers = bounds if isinstance(bounds, list) else [bounds] * size
    return np.array([float(number) for number in numbers])
