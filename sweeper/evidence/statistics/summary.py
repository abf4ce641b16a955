"""Statistics of a sample of returns: mean, interquartile mean, confidence interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["Summary", "interquartile_mean", "summarise_sample"]


@dataclass(frozen=True)
class Summary:
    """Statistics of a sample.

    Attributes:
        mean: of all values.
        iqm: the interquartile mean, which is robust against outliers.
        interval: 95 % confidence interval of the mean (Student's t); None if there is none.
        interval_reason: why there is none.
    """

    mean: float
    iqm: float
    interval: tuple[float, float] | None
    interval_reason: str | None

    def to_json(self) -> dict[str, Any]:
        """The statistics in JSON types."""
        interval = None if self.interval is None else list(self.interval)
        return {**asdict(self), "interval": interval}


def interquartile_mean(values: Sequence[float]) -> float:
    """The mean of the middle half; the quarters cut off are rounded down, as in rliable.

    Args:
        values: at least one.
    """
    return float(stats.trim_mean(np.asarray(values, dtype=np.float64), 0.25))


def summarise_sample(values: Sequence[float]) -> Summary:
    """Summarise independent values.

    Args:
        values: at least one, all finite.
    """
    array = np.asarray(values, dtype=np.float64)
    mean, iqm = float(array.mean()), interquartile_mean(values)
    if len(array) < 2:
        return Summary(mean, iqm, None, "one value has no spread")
    deviation = float(array.std(ddof=1))
    # The mean of equal values may have a rounding error.
    if deviation <= 1e-12 * max(1.0, abs(mean)):
        return Summary(mean, iqm, None, f"all {len(array)} values are equal")
    half = float(stats.t.ppf(0.975, len(array) - 1)) * deviation
    half /= math.sqrt(len(array))
    return Summary(mean, iqm, (mean - half, mean + half), None)
