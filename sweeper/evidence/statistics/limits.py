"""Limits of a return that runs show by piling up at them.

No environment says which returns it can give: gymnasium knows no range of rewards. But where
several runs come to exactly the same best (or worst) value while all others differ, as at
CartPole's 500, that value is a limit, and an interval beyond it promises what can't be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweeper.evidence.statistics.intervals import Interval

__all__ = ["Limits", "find_limits"]

_PILE = 3  # runs of exactly the same value
_TIMES = 3  # as often as any other value comes, so that a coarse scale is not taken for a limit


@dataclass(frozen=True)
class Limits:
    """What a run can come to at least and at most; None where that is not known."""

    low: float | None = None
    high: float | None = None

    def cut(self, interval: Interval | None) -> Interval | None:
        """The interval without what no run can come to; its method says so."""
        if interval is None:
            return None
        low, high, method = interval.low, interval.high, interval.method
        if self.high is not None and high > self.high > low:
            high, method = self.high, f"{method}, cut at {self.high:g}"
        if self.low is not None and low < self.low < high:
            low, method = self.low, f"{method}, cut at {self.low:g}"
        return replace(interval, low=low, high=high, method=method)


def find_limits(samples: Sequence[Sequence[float]], *, substituted: int = 0) -> Limits:
    """The limits that runs in one environment pile up at.

    Args:
        samples: of runs, each of finite values.
        substituted: how many of them diverged and stand there with another run's worst value.

    Returns:
        No limit where none shows; a run that never came near one can't show it.
    """
    counts = Counter(value for sample in samples for value in sample)
    if not counts:
        return Limits()
    low, high = min(counts), max(counts)
    # Which end is the worst one is the mode's business; at either, substitutes are no pile.
    return Limits(
        low if _is_pile(counts, low, substituted) else None,
        high if _is_pile(counts, high, substituted) else None,
    )


def _is_pile(counts: Counter[float], end: float, substituted: int) -> bool:
    others = {min(counts), max(counts), end}
    most = max((number for value, number in counts.items() if value not in others), default=0)
    number = counts[end] - substituted
    return number >= _PILE and number >= _TIMES * most and len(counts) > 1
