"""The form in which a replay memory keeps observations."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sweeper.environments.spaces import ObservationEncoder

__all__ = ["ObservationStore"]

Array = NDArray[Any]


class ObservationStore:
    """Observations as the environment gives them: images as bytes, choices as numbers.

    Only Dict and Tuple spaces, which are no single array, are kept as the network takes them.

    Attributes:
        shape: of one stored observation.
        dtype: of it.
    """

    def __init__(self, encoder: ObservationEncoder) -> None:
        self._encoder = encoder
        space = encoder.space
        self.is_encoded = not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete)
        self.shape: tuple[int, ...]
        self.dtype: np.dtype[Any]
        if self.is_encoded:
            self.shape, self.dtype = encoder.shape, np.dtype(np.float32)
        else:
            self.shape, self.dtype = space.shape or (), np.dtype(space.dtype)
            if self.dtype == np.float64:  # the networks take no more than this
                self.dtype = np.dtype(np.float32)

    def pack(self, observations: Any) -> Array:
        """``dtype[envs, *shape]`` from a vector environment's observations."""
        if self.is_encoded:
            return self._encoder.encode(observations)
        return np.asarray(observations)

    def unpack(self, stored: Array) -> NDArray[np.float32]:
        """``float32[..., *encoded]`` from ``dtype[..., *shape]``."""
        leading = stored.shape[: stored.ndim - len(self.shape)]
        if not self.is_encoded:
            stored = self._encoder.encode(stored.reshape(-1, *self.shape))
        unpacked = stored.reshape(*leading, *self._encoder.shape)
        return unpacked.astype(np.float32, copy=False)
