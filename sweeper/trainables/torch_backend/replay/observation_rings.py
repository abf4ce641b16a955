"""The observations in the rings of a replay memory; of stacked ones each frame once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.trainables.contract import EnvironmentFailedError
from sweeper.trainables.torch_backend.replay.observation_store import ObservationStore

__all__ = ["ObservationRings"]

Array = NDArray[Any]
Indices = NDArray[np.int64]


class ObservationRings:
    """What the slots of all lanes hold: packed observations, or the newest frame of each.

    Of stacks of the last frames (`FrameStackObservation`) the first observation of an episode
    takes a slot for each of its frames, so that every stack can be read from its slots.

    Attributes:
        frames: of an observation; 1: not stacked.
        array: ``[lanes * ring, *shape]``.
    """

    def __init__(self, store: ObservationStore, frames: int, *, lanes: int, ring: int) -> None:
        self._store = store
        self.frames = frames
        self._ring = ring
        # From a slot to those of its stack, the oldest frame first.
        self._stack = np.arange(1 - frames, 1)
        shape = store.shape if frames == 1 else store.shape[1:]
        self.array: Array = np.zeros((lanes * ring, *shape), dtype=store.dtype)

    def later(self, slots: Indices, steps: Indices | int) -> Indices:
        """The slots so many steps later in the same rings."""
        position = slots % self._ring
        return slots - position + (position + steps) % self._ring

    def read(self, slots: Indices) -> Array:
        """The observations at some slots, packed, ``[*slots, *shape]``."""
        if self.frames == 1:
            return self.array[slots]
        return self.array[self.later(slots[..., None], self._stack)]

    def sample(self, slots: Indices) -> Array:
        """The same, as the networks take them."""
        return self._store.unpack(self.read(slots))

    def split(self, observations: Array) -> Array:
        """What the first observations of episodes put into their slots, one after the other."""
        return observations[None] if self.frames == 1 else observations.swapaxes(0, 1)

    def take_newest(self, slots: Indices, observations: Array) -> Array:
        """What observations put into the slots after these.

        Raises:
            EnvironmentFailedError: they are not the former stacks with one more frame.
        """
        if self.frames == 1:
            return observations
        if not np.array_equal(self.read(slots)[:, 1:], observations[:, :-1]):
            raise EnvironmentFailedError(
                "an observation is not the former one with a new last frame, which is what "
                "FrameStackObservation makes; another wrapper after it may make what it likes"
            )
        newest: Array = observations[:, -1]
        return newest
