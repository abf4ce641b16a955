"""Fewer points that look the same: extremes are kept."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["join_lines", "keep_extremes"]

Array = NDArray[np.float64]


def keep_extremes(y: Sequence[float] | Array, most: int) -> NDArray[np.intp]:
    """Which points of a curve to keep: its ends, and of each stretch the lowest and the highest.

    Args:
        y: float[points]; NaN is never an extreme.
        most: about how many to keep, at least 4.

    Returns:
        int[kept], ascending; all of them if there are no more than ``most``.
    """
    values = np.asarray(y, dtype=np.float64)
    number = len(values)
    if number <= most:
        return np.arange(number)
    stretches = max(1, (most - 2) // 2)
    edges = np.linspace(0, number, stretches + 1).astype(int)
    kept = {0, number - 1}
    for begin, end in itertools.pairwise(edges):
        part = values[begin:end]
        if len(part) and not np.isnan(part).all():
            kept |= {begin + int(np.nanargmin(part)), begin + int(np.nanargmax(part))}
    return np.array(sorted(kept), dtype=np.intp)


def join_lines(lines: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Many curves as one, with a gap (NaN) between them: one trace instead of hundreds."""
    gap = np.array([np.nan])
    x = [piece for line in lines for piece in (line[0], gap)]
    y = [piece for line in lines for piece in (line[1], gap)]
    if not x:
        return np.empty(0), np.empty(0)
    return np.concatenate(x[:-1]), np.concatenate(y[:-1])
