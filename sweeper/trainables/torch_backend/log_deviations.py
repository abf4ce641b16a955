"""A Gaussian policy's log deviations: outputs of its head, or parameters; clipped both ways."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.architecture import Architecture

__all__ = ["LogDeviations"]

Array = NDArray[np.float32]


class LogDeviations:
    """Of all replicas; other policies have none, and pass through unchanged."""

    def __init__(
        self,
        architecture: Architecture,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> None:
        self._count, self._clip = architecture.log_deviations, architecture.log_std_clip
        self._free = self._free_gradient = None
        if architecture.free_log_std:
            self._free = parameters["log_std"].numpy()
            self._free_gradient = gradients["log_std"].numpy()
        self._within = np.empty(0, dtype=np.bool_)  # which were not clipped

    def act(self, raw: Array) -> Array:
        """Inputs of the distribution, ``[replicas, rows, inputs]``, of a head's outputs."""
        if not self._count:
            return raw
        if self._free is None:
            deviations = raw[..., self._count :]
            np.clip(deviations, -self._clip, self._clip, out=deviations)
            return raw
        clipped = np.clip(self._free, -self._clip, self._clip)[:, None]
        return np.concatenate([raw, np.broadcast_to(clipped, raw.shape)], axis=-1)

    def forward(self, raw: Array) -> Array:
        """The same with the rows last, ``[replicas, inputs, rows]``; `backward` follows."""
        if not self._count:
            return raw
        if self._free is None:
            deviations = raw[:, self._count :]
            self._within = np.abs(deviations) <= self._clip
            np.clip(deviations, -self._clip, self._clip, out=deviations)
            return raw
        column = self._free[..., None]
        self._within = np.abs(column) <= self._clip
        clipped = np.clip(column, -self._clip, self._clip)
        return np.concatenate([raw, np.broadcast_to(clipped, raw.shape)], axis=1)

    def backward(self, gradient: Array) -> Array:
        """The gradient of the head's outputs; clipped deviations have none.

        Args:
            gradient: of the inputs of the distribution, rows last; it is overwritten.
        """
        if not self._count:
            return gradient
        means, deviations = np.split(gradient, [gradient.shape[1] - self._count], axis=1)
        deviations *= self._within
        if self._free_gradient is None:
            return gradient
        np.sum(deviations, axis=-1, out=self._free_gradient)
        return means
