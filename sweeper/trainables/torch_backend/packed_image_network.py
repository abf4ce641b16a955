"""Policies and values of images, of all replicas on a CPU: PPO's form of `packed_images`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sweeper.trainables.torch_backend.architecture import Architecture
from sweeper.trainables.torch_backend.log_deviations import LogDeviations
from sweeper.trainables.torch_backend.packed_dense import read_head
from sweeper.trainables.torch_backend.packed_images import Images, PackedImages

__all__ = ["PackedImageNetwork"]

Array = NDArray[np.float32]


class PackedImageNetwork:
    """Evaluates networks through views of their parameters and gradients, as `PackedMlp`.

    Attributes:
        is_shared: whether one encoder serves policy and values.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
    ) -> None:
        self.is_shared = architecture.is_shared
        self._encoders = [
            PackedImages(architecture, name, parameters, gradients)
            for name in architecture.encoders
        ]
        hiddens, activation = len(architecture.head_hiddens), architecture.head_activation
        self._policy_head, self._value_head = (
            read_head(name, hiddens, activation, parameters, gradients)
            for name in ("policy", "value")
        )
        self._deviations = LogDeviations(architecture, parameters, gradients)

    def policy(self, observations: Images) -> Array:
        """Inputs of the action distribution, ``float32[replicas, rows, inputs]``.

        Args:
            observations: ``[replicas, rows, height, width, channels]``, bytes or floats.
        """
        return self._act(self._encoders[0].forward(observations))

    def values(self, observations: Images) -> Array:
        """``float32[replicas, rows]``, of the same."""
        return self._value(self._encoders[-1].forward(observations))

    def policy_and_values(self, observations: Images) -> tuple[Array, Array]:
        """What `policy` and `values` return; a shared encoder runs once."""
        if not self.is_shared:
            return self.policy(observations), self.values(observations)
        encoded = self._encoders[0].forward(observations)
        return self._act(encoded), self._value(encoded)

    def forward(self, observations: Images) -> tuple[Array, Array]:
        """Both heads' outputs, rows last; keeps what `backward` needs until the next call.

        Returns:
            Inputs of the action distribution, ``float32[replicas, inputs, rows]``, and values,
            ``float32[replicas, 1, rows]``.
        """
        rows = observations.shape[1]
        encoded = [encoder.forward(observations, kept=rows) for encoder in self._encoders]
        raw, values = (
            np.ascontiguousarray(head.forward(features).swapaxes(1, 2))
            for head, features in (
                (self._policy_head, encoded[0]),
                (self._value_head, encoded[-1]),
            )
        )
        return self._deviations.forward(raw), values

    def backward(self, gradient: Array, value_gradient: Array) -> None:
        """Write the gradients of all parameters.

        Args:
            gradient: of the distribution's inputs, shaped as by `forward`; it is overwritten.
            value_gradient: of the values, ``float32[replicas, 1, rows]``.
        """
        above = self._deviations.backward(gradient), value_gradient
        gradients = []
        for head, rows_last in zip((self._policy_head, self._value_head), above, strict=True):
            rows_first = np.array(rows_last.swapaxes(1, 2), order="C")
            gradients.append(head.backward(rows_first, needs_below=True))
        if self.is_shared:
            gradients[0] += gradients.pop()
        for encoder, below in zip(self._encoders, gradients, strict=True):
            encoder.backward(below)

    def _act(self, encoded: Array) -> Array:
        return self._deviations.act(self._policy_head.forward(encoded).copy())

    def _value(self, encoded: Array) -> Array:
        return self._value_head.forward(encoded)[..., 0].copy()
