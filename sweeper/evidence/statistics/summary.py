"""Statistics of a sample of returns: mean, interquartile mean, confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.evidence.statistics.intervals import explain_no_interval, mean_interval
from sweeper.evidence.statistics.limits import find_limits

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
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    cut = len(ordered) // 4
    return _mean(ordered[cut : len(ordered) - cut])


def summarise_sample(values: Sequence[float]) -> Summary:
    """Summarise independent values.

    Args:
        values: at least one.
    """
    mean = _mean(np.asarray(values, dtype=np.float64))
    interval = find_limits([values]).cut(mean_interval(values))
    ends = None if interval is None else (interval.low, interval.high)
    return Summary(mean, interquartile_mean(values), ends, explain_no_interval(values))


def _mean(values: NDArray[np.float64]) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(values.mean())
