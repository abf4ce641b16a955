"""What a sample of returns says: mean, interquartile mean, an interval for the mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["Summary", "interquartile_mean", "summarise_sample"]


@dataclass(frozen=True)
class Summary:
    """A sample's summary.

    Attributes:
        mean: of all values.
        iqm: the mean of the middle half, which no single outlier moves.
        interval: 95 %, Student's t; None where there can't be one.
        interval_reason: why there is none.
        size: how many values.
    """

    mean: float
    iqm: float
    interval: tuple[float, float] | None
    interval_reason: str | None
    size: int

    def to_json(self) -> dict[str, Any]:
        """JSON's types."""
        return {
            "mean": self.mean,
            "iqm": self.iqm,
            "interval": None if self.interval is None else list(self.interval),
            "interval_reason": self.interval_reason,
        }


def interquartile_mean(values: Sequence[float]) -> float:
    """The mean of what is left when a quarter is cut off at each end.

    Args:
        values: at least one. A quarter is rounded down, as in rliable.
    """
    return float(stats.trim_mean(np.asarray(values, dtype=np.float64), 0.25))


def summarise_sample(values: Sequence[float], *, confidence: float = 0.95) -> Summary:
    """Mean, IQM and interval of independent values.

    Args:
        values: at least one, finite.
        confidence: of the interval.
    """
    array = np.asarray(values, dtype=np.float64)
    mean, iqm = float(array.mean()), interquartile_mean(values)
    if len(array) < 2:
        return Summary(mean, iqm, None, "one value has no spread", len(array))
    deviation = float(array.std(ddof=1))
    # Equal values may differ from their mean by a rounding error.
    if deviation <= 1e-12 * max(1.0, abs(mean)):
        return Summary(mean, iqm, None, f"all {len(array)} values are equal", len(array))
    half = float(stats.t.ppf(0.5 + confidence / 2, len(array) - 1)) * deviation
    half /= math.sqrt(len(array))
    return Summary(mean, iqm, (mean - half, mean + half), None, len(array))
