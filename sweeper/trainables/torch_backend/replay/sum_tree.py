"""Draw slots in proportion to their weights, for all replicas at once.

A sum tree (Schaul et al. 2016, "Prioritized Experience Replay", appendix B.2.1) in which each node
has 16 children instead of two. It is two or three levels high, so the draws of all replicas take
numpy a few operations; a binary tree takes a few per level. Sums are always recomputed from the
children, never corrected by a difference, so they do not drift.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SumTree"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_CHILDREN = 16
_MAX_TOP = 512  # nodes of the top level, which is searched by its cumulative sums


class SumTree:
    """Weights of the slots of all replicas. A slot without weight is never drawn.

    Slot ``p`` of replica ``r`` has the number ``r * stride + p``.

    Attributes:
        stride: slots of a replica, padded to whole nodes.
        weights: ``float64[replicas, stride]``; read only, use `update`.
    """

    def __init__(self, replicas: int, slots: int) -> None:
        levels = 1
        while math.ceil(slots / _CHILDREN**levels) > _MAX_TOP:
            levels += 1
        top = math.ceil(slots / _CHILDREN**levels)
        sizes = [top * _CHILDREN**level for level in range(levels, -1, -1)]
        self.stride = sizes[0]
        self._sums: list[Array] = [np.zeros((replicas, size)) for size in sizes]
        # The smallest weight above 0 under each node; leaves have none stored.
        self._minima: list[Array] = [np.full((replicas, size), np.inf) for size in sizes[1:]]
        self.weights = self._sums[0]
        self._replica = np.arange(replicas)[:, None]

    @staticmethod
    def bytes_needed(replicas: int, slots: int) -> int:
        """Return an upper bound of a tree's memory without building it."""
        inner = 2 / (_CHILDREN - 1)
        return math.ceil(replicas * (slots + _CHILDREN**3) * 8 * (1 + inner))

    def update(self, slots: Indices, weights: Array | float) -> None:
        """Set weights; for a slot given several times the last one counts."""
        self._sums[0].reshape(-1)[slots] = weights
        nodes = slots
        for level in range(1, len(self._sums)):
            nodes = nodes // _CHILDREN
            children = self._sums[level - 1].reshape(-1, _CHILDREN)[nodes]
            self._sums[level].reshape(-1)[nodes] = children.sum(axis=1)
            if level == 1:
                minima = np.where(children > 0, children, np.inf)
            else:
                minima = self._minima[level - 2].reshape(-1, _CHILDREN)[nodes]
            self._minima[level - 1].reshape(-1)[nodes] = minima.min(axis=1)

    def find(self, points: Array) -> Indices:
        """Find the slots at shares of each replica's total weight.

        Args:
            points: ``float64[replicas, draws]`` in [0, 1); uniform points draw slots in
                proportion to their weights.

        Returns:
            ``int64[replicas, draws]``. Rounding hits a slot without weight about once in 1e15.
            The slots of a replica without any weight are meaningless.
        """
        top = self._sums[-1]
        cumulative = top.cumsum(axis=1)
        total = cumulative[:, -1:]
        # One sorted row for all replicas: replica r's shares lie in [r, r + 1].
        shares = cumulative / np.where(total > 0, total, 1.0) + self._replica
        found = np.searchsorted(shares.reshape(-1), (points + self._replica).reshape(-1), "right")
        first = self._replica * top.shape[1]
        nodes = found.reshape(points.shape).clip(first, first + top.shape[1] - 1).reshape(-1)
        rest = (points * total).reshape(-1)
        rest -= (cumulative - top).reshape(-1)[nodes]
        for sums in reversed(self._sums[:-1]):
            children = sums.reshape(-1, _CHILDREN)[nodes]
            cumulative = children.cumsum(axis=1)
            child = (cumulative[:, :-1] <= rest[:, None]).sum(axis=1)
            rest -= np.where(child > 0, cumulative[np.arange(len(child)), child - 1], 0.0)
            nodes = nodes * _CHILDREN + child
        return nodes.reshape(points.shape)

    def minimum(self) -> Array:
        """Return each replica's smallest weight above 0, else infinity: ``float64[replicas]``."""
        minima: Array = self._minima[-1].min(axis=1)
        return minima

    def restore(self, weights: NDArray[Any]) -> None:
        """Load weights ``float64[replicas, slots]``."""
        self._sums[0][:] = 0.0
        self._sums[0][:, : weights.shape[1]] = weights
        self.update(
            np.arange(0, self.weights.size, _CHILDREN), self.weights.reshape(-1)[::_CHILDREN]
        )
