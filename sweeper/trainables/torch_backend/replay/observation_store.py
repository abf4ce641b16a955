"""Convert observations to the form in which a replay memory stores them, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sweeper.environments.spaces import ObservationEncoder

__all__ = ["ObservationStore"]

Array = NDArray[Any]


class ObservationStore:
    """Stores observations in the environment's own dtype: images as bytes, choices as integers.

    Observations of Dict and Tuple spaces are not one array, so they are stored encoded.

    Attributes:
        shape: shape of one stored observation.
        dtype: its dtype.
    """

    def __init__(self, encoder: ObservationEncoder) -> None:
        self._encoder = encoder
        space = encoder.space
        self._is_encoded = not isinstance(
            space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete
        )
        self.shape: tuple[int, ...]
        self.dtype: np.dtype[Any]
        if self._is_encoded:
            self.shape, self.dtype = encoder.shape, np.dtype(np.float32)
        else:
            self.shape, self.dtype = space.shape or (), np.dtype(space.dtype)
            if self.dtype == np.float64:  # the networks compute in it
                self.dtype = np.dtype(np.float32)

    def pack(self, observations: Any) -> Array:
        """Convert a vector environment's observations to ``dtype[envs, *shape]``."""
        if self._is_encoded:
            return self._encoder.encode(observations)
        return np.asarray(observations)

    def unpack(self, stored: Array) -> Array:
        """Encode stored ``dtype[..., *shape]`` as ``[..., *encoded]`` in the encoder's dtype."""
        leading = stored.shape[: stored.ndim - len(self.shape)]
        if not self._is_encoded:
            stored = self._encoder.encode(stored.reshape(-1, *self.shape))
        unpacked = stored.reshape(*leading, *self._encoder.shape)
        return unpacked.astype(self._encoder.dtype, copy=False)
