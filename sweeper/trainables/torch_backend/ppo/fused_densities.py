"""The densities of `distributions` with gradients derived by hand, for `fused_loss`.

They take minibatches with their rows side by side, ``float32[replicas, inputs, rows]``.
`test_ppo_update` compares both forms.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sweeper.trainables.torch_backend.distributions import ActionDistribution, Categorical

__all__ = ["evaluate_density"]

Array = NDArray[Any]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def evaluate_density(
    distribution: ActionDistribution, inputs: Array
) -> _Categorical | _DiagGaussian:
    """The densities of the distribution for its inputs ``float32[replicas, inputs, rows]``."""
    if isinstance(distribution, Categorical):
        return _Categorical(inputs, distribution.choices)
    return _DiagGaussian(inputs)


class _Categorical:
    """The densities of one minibatch's distributions.

    `gradient` differentiates with the arguments of the last `log_prob` and `kl`.

    Attributes:
        normalised: as by `ActionDistribution.normalise`, ``float32[replicas, inputs, rows]``.
    """

    def __init__(self, logits: Array, choices: tuple[int, ...]) -> None:
        ends = np.cumsum(choices).tolist()
        self._parts = [slice(end - size, end) for end, size in zip(ends, choices, strict=True)]
        self.normalised = np.empty_like(logits)
        self._probabilities = np.empty_like(logits)
        for part in self._parts:
            given, log_probs = logits[:, part], self.normalised[:, part]
            np.subtract(given, np.maximum.reduce(given, axis=1, keepdims=True), out=log_probs)
            exponentials = np.exp(log_probs, out=self._probabilities[:, part])
            total = _sum(exponentials)
            exponentials /= total
            log_probs -= np.log(total)

    def log_prob(self, actions: Array) -> Array:
        """Log probabilities ``[replicas, rows]`` of actions ``[replicas, columns, rows]``."""
        index = actions.astype(np.int64)
        if len(self._parts) > 1:
            index += np.array([[part.start] for part in self._parts])
        # Torch gathers in one operation; numpy needs an index array per axis.
        self._index = torch.from_numpy(index)
        chosen: Array = torch.from_numpy(self.normalised).gather(1, self._index).numpy()
        return chosen[:, 0] if len(self._parts) == 1 else _sum(chosen)[:, 0]

    def entropy(self) -> Array:
        """The entropy of each row, ``[replicas, rows]``."""
        self._weighted = self._probabilities * self.normalised
        return -_sum(self._weighted)[:, 0]

    def kl(self, old: Array) -> Array:
        """KL(old ‖ this), ``[replicas, rows]``; ``old`` is normalised."""
        self._old = np.exp(old)
        return _sum(self._old * (old - self.normalised))[:, 0]

    def gradient(self, log_prob: Array, entropy: float, kl: Array | None) -> Array:
        """The loss's gradient by the distribution's inputs, ``[replicas, inputs, rows]``.

        Args:
            log_prob: the loss's derivative by the log probabilities, ``[replicas, rows]``.
            entropy: its derivative by each row's entropy; other than 0 only after a call of
                `entropy`.
            kl: its derivative by each row's KL, ``[replicas, 1, 1]``; None without a KL term.
        """
        # d log softmax = one-hot - probabilities.
        gradient: Array = self._probabilities * -log_prob[:, None]
        columns = torch.from_numpy(log_prob)[:, None].expand_as(self._index)
        torch.from_numpy(gradient).scatter_add_(1, self._index, columns)
        if entropy != 0:
            for part in self._parts:
                weighted = self._weighted[:, part]
                slope = weighted - self._probabilities[:, part] * _sum(weighted)
                gradient[:, part] -= entropy * slope
        if kl is not None:
            gradient += kl * (self._probabilities - self._old)
        return gradient


class _DiagGaussian:
    """The same as `_Categorical` for normals."""

    def __init__(self, inputs: Array) -> None:
        self.normalised = inputs
        self._mean, self._log_std = _halve(inputs)
        self._precision = np.exp(-self._log_std)

    def log_prob(self, actions: Array) -> Array:
        self._z = (actions - self._mean) * self._precision
        self._squares = self._z * self._z
        return -_sum(0.5 * self._squares + self._log_std + _HALF_LOG_2PI)[:, 0]

    def entropy(self) -> Array:
        return _sum(self._log_std + (0.5 + _HALF_LOG_2PI))[:, 0]

    def kl(self, old: Array) -> Array:
        mean, log_std = _halve(old)
        self._shift = (mean - self._mean) * self._precision
        difference = log_std - self._log_std
        # Ratio of variances and squared shift: the log deviations' gradient is 1 - this.
        self._spread = np.exp(2 * difference) + self._shift * self._shift
        return _sum(0.5 * (self._spread - 1) - difference)[:, 0]

    def gradient(self, log_prob: Array, entropy: float, kl: Array | None) -> Array:
        gradient = np.empty_like(self.normalised)
        mean, log_std = _halve(gradient)
        weight = log_prob[:, None]
        np.multiply(weight, self._z, out=mean)
        np.multiply(weight, self._squares - 1, out=log_std)
        log_std += entropy
        if kl is not None:
            mean -= kl * self._shift
            log_std += kl * (1 - self._spread)
        mean *= self._precision
        return gradient


def _sum(columns: Array) -> Array:
    """The sum over columns, ``[replicas, 1, rows]``; `np.add.reduce` is faster than `np.sum`."""
    total: Array = np.add.reduce(columns, axis=1, keepdims=True)
    return total


def _halve(inputs: Array) -> tuple[Array, Array]:
    """Views of the means and the log deviations."""
    columns = inputs.shape[1] // 2
    return inputs[:, :columns], inputs[:, columns:]
