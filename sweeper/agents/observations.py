"""Take one observation or a batch of them, and say what is wrong with anything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from sweeper.errors import UserError

__all__ = ["ObservationError", "Observations"]

_MAX_SHOWN = 60


class ObservationError(UserError, ValueError):
    """An observation that the agent can't take; the message says what is wanted."""


class Observations:
    """Puts observations of a space into batches.

    Args:
        space: of one observation.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        self._shape = space.shape if isinstance(space, spaces.Box) else None
        self._is_structured = isinstance(space, spaces.Dict | spaces.Tuple)
        self._flat_size = spaces.flatdim(space) if self._is_structured else None

    def batch(self, observation: Any) -> tuple[Any, bool]:
        """The observation with a batch axis, and whether it had none before.

        Args:
            observation: an element of the space, or a batch of them: with one more axis in front,
                for a Dict or Tuple in front of every part. A Dict or Tuple may also be given as
                ``gymnasium.spaces.flatten`` returns it.

        Raises:
            ObservationError: it has another structure, shape or type, holds NaN, or a number that
                a discrete space does not have.
        """
        if isinstance(self.space, spaces.Dict) and _is_list_of_mappings(observation):
            return self._join([self.batch(one)[0] for one in observation]), False
        if self._is_structured and self._is_structure(observation):
            parts: list[bool] = []
            batch = self._batch_structure(self.space, observation, "", parts)
            if len(set(parts)) > 1:
                raise ObservationError(
                    f"some parts of the observation are batches and others are not; {self._wanted}"
                )
            lengths = {len(leaf) for leaf in _leaves(batch)}
            if len(lengths) > 1:
                raise ObservationError(
                    f"the parts of the observation are batches of {_list(lengths)}; they must be "
                    "equally long"
                )
            return batch, parts[0]
        shape = (self._flat_size,) if self._flat_size is not None else self.space.shape
        if shape is None:  # of a kind that has none, as a Graph
            return [observation], True
        return self._batch_array(self.space, observation, shape, "")

    def _join(self, batches: list[Any]) -> Any:
        """Batches of structures as one."""
        first = batches[0]
        if isinstance(first, dict):
            return {key: self._join([one[key] for one in batches]) for key in first}
        if isinstance(first, tuple):
            return tuple(self._join(list(parts)) for parts in zip(*batches, strict=True))
        return np.concatenate(batches)

    def _is_structure(self, observation: Any) -> bool:
        if isinstance(self.space, spaces.Dict):
            return isinstance(observation, Mapping)
        is_list = isinstance(observation, list | tuple)
        return is_list and (
            isinstance(observation, tuple) or len(observation) == len(self.space.spaces)
        )

    def _batch_structure(
        self, space: spaces.Space[Any], observation: Any, name: str, singles: list[bool]
    ) -> Any:
        if isinstance(space, spaces.Dict):
            if not isinstance(observation, Mapping):
                raise self._refuse(name, "no mapping")
            missing = [key for key in space.spaces if key not in observation]
            unknown = [key for key in observation if key not in space.spaces]
            if missing or unknown:
                words = [f"{_list(missing)} is missing"] if missing else []
                words += [f"{_list(unknown)} is unknown"] if unknown else []
                raise ObservationError(f"{_named(name)}: {' and '.join(words)}; {self._wanted}")
            return {
                key: self._batch_structure(part, observation[key], f"{name}[{key!r}]", singles)
                for key, part in space.spaces.items()
            }
        if isinstance(space, spaces.Tuple):
            if not isinstance(observation, list | tuple) or len(observation) != len(space.spaces):
                raise self._refuse(name, f"no tuple of {len(space.spaces)}")
            return tuple(
                self._batch_structure(part, one, f"{name}[{position}]", singles)
                for position, (part, one) in enumerate(zip(space.spaces, observation, strict=True))
            )
        batch, is_single = self._batch_array(space, observation, space.shape or (), name)
        singles.append(is_single)
        return batch

    def _batch_array(
        self, space: spaces.Space[Any], observation: Any, shape: tuple[int, ...], name: str
    ) -> tuple[Any, bool]:
        try:
            array = np.asarray(observation)
        except ValueError:  # of lists of unequal lengths
            raise self._refuse(name, "no array") from None
        if array.dtype.kind not in "biuf":
            raise self._refuse(name, f"of type {_type_of(observation, array)}")
        if array.shape == shape:
            array, is_single = array[None], True
        elif array.shape[1:] == shape and array.ndim == len(shape) + 1:
            is_single = False
            if not len(array):
                raise ObservationError(f"{_named(name)} is an empty batch; {self._wanted}")
        else:
            raise self._refuse(name, f"of shape {array.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            found = array[~np.isfinite(array)].flat[0]
            word = "NaN" if np.isnan(found) else f"{found:g}"
            raise ObservationError(f"{_named(name)} holds {word}; {self._wanted}")
        if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            self._check_numbers(space, array, name)
        elif (
            isinstance(space, spaces.Box)
            and space.dtype.kind in "iu"
            and array.dtype != space.dtype
        ):
            self._check_integers(space, array, name)
        return array, is_single

    def _check_numbers(self, space: Any, array: np.ndarray[Any, Any], name: str) -> None:
        count = space.n if isinstance(space, spaces.Discrete) else space.nvec
        is_known = (array >= space.start) & (array < space.start + count) & (array % 1 == 0)
        if not is_known.all():
            found = array[~is_known].flat[0]
            raise ObservationError(f"{_named(name)} holds {found:g}; {self._wanted}")

    def _check_integers(self, space: spaces.Box, array: np.ndarray[Any, Any], name: str) -> None:
        limits = np.iinfo(space.dtype)
        is_known = (array >= limits.min) & (array <= limits.max) & (array % 1 == 0)
        if not is_known.all():
            found = array[~is_known].flat[0]
            raise ObservationError(f"{_named(name)} holds {found:g}; {self._wanted}")

    def _refuse(self, name: str, found: str) -> ObservationError:
        return ObservationError(f"{_named(name)} is {found}; {self._wanted}")

    @property
    def _wanted(self) -> str:
        text = " ".join(str(self.space).split())
        short = text if len(text) <= _MAX_SHOWN * 3 else f"{text[: _MAX_SHOWN * 3]}…"
        return f"the agent takes one element of {short}, or a batch of them"


def _is_list_of_mappings(observation: Any) -> bool:
    is_list = isinstance(observation, list | tuple) and len(observation) > 0
    return is_list and all(isinstance(one, Mapping) for one in observation)


def _named(name: str) -> str:
    return f"observation{name}" if name else "the observation"


def _type_of(observation: Any, array: np.ndarray[Any, Any]) -> str:
    return type(observation).__name__ if array.dtype.kind in "OUS" else str(array.dtype)


def _list(items: Any) -> str:
    return ", ".join(map(str, items))


def _leaves(batch: Any) -> list[Any]:
    if isinstance(batch, dict):
        return [leaf for part in batch.values() for leaf in _leaves(part)]
    if isinstance(batch, tuple):
        return [leaf for part in batch for leaf in _leaves(part)]
    return [batch]
