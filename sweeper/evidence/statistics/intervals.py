"""Intervals: where a mean lies, where one more run would land, how often runs succeed.

An interval never has zero width. A function returns None where the sample bears none, and
`explain_no_interval` says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.evidence.statistics import special
from sweeper.results.scoring import LARGEST_COMPARED

__all__ = [
    "Interval",
    "clopper_pearson",
    "explain_no_interval",
    "is_far_from_normal",
    "mean_interval",
    "order_statistics_interval",
    "prediction_interval",
    "simultaneous_level",
]

_MIN_TO_TEST, _FAR = 8, 0.01


@dataclass(frozen=True)
class Interval:
    """An interval and what it promises.

    Attributes:
        low: its lower end; finite, below ``high``.
        high: its upper end; finite.
        level: how often such intervals cover what they are about, e.g. 0.95.
        method: how it was made, in words.
    """

    low: float
    high: float
    level: float
    method: str

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"no interval: {self.low} to {self.high}")
        if not 0 < self.level < 1:
            raise ValueError(f"no level: {self.level}")


def simultaneous_level(level: float, number: int) -> float:
    """The level of each of several intervals so that all of them cover together (Šidák).

    It holds for independent samples: whichever of them is chosen afterwards, its interval covers
    at least as often as ``level`` says.

    Args:
        level: of all together.
        number: how many there are; at least 1.
    """
    return float(level ** (1 / number))


def explain_no_interval(values: Sequence[float]) -> str | None:
    """Why a sample bears no interval of its mean; None if it does.

    Args:
        values: of independent runs.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return "one value has no spread" if len(array) else "there is no value"
    if not (np.abs(array) <= LARGEST_COMPARED).all():
        return f"values beyond {LARGEST_COMPARED:g} bear none"
    # The mean of equal values may have a rounding error.
    if np.ptp(array) <= 1e-12 * max(1.0, abs(float(array.mean()))):
        return f"all {len(array)} values are equal"
    return None


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Where the mean of endlessly many runs lies, by Student's t.

    Args:
        values: of independent runs, finite.
        level: of this interval alone.
    """
    if explain_no_interval(values) is not None:
        return None
    array = np.asarray(values, dtype=np.float64)
    half = _student(level, len(array)) * float(array.std(ddof=1)) / math.sqrt(len(array))
    return Interval(float(array.mean()) - half, float(array.mean()) + half, level, "Student's t")


def prediction_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Where one more run would land if runs are about normal, by Student's t.

    Args:
        values: of independent runs, finite.
        level: how often the next run lands inside.
    """
    if explain_no_interval(values) is not None:
        return None
    array = np.asarray(values, dtype=np.float64)
    half = _student(level, len(array)) * float(array.std(ddof=1))
    half *= math.sqrt(1 + 1 / len(array))
    mean = float(array.mean())
    return Interval(mean - half, mean + half, level, "Student's t prediction")


def is_far_from_normal(values: Sequence[float]) -> bool:
    """Whether Student's t says too little of where one more run would land.

    Shapiro and Wilk's test at 1 %, from 8 runs on: below, order statistics would promise less than
    Student's t still holds. A tail on one side, as of runs that get stuck at different heights,
    makes a prediction beyond what any run came near.

    Args:
        values: of independent runs, finite.
    """
    if len(values) < _MIN_TO_TEST or min(values) == max(values):
        return False
    from scipy import stats  # takes half a second

    return bool(stats.shapiro(np.asarray(values, dtype=np.float64)).pvalue < _FAR)


def order_statistics_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Where one more run would land, whatever the runs' distribution.

    The next of n + 1 exchangeable runs lies between the j-th smallest and the j-th largest of the
    others with probability (n + 1 - 2j) / (n + 1) at least. The narrowest such interval that
    reaches ``level`` is taken; where none does (below 39 runs at 95 %), it is the smallest and
    the largest run, with the lower level that this number of runs allows.

    Args:
        values: of independent runs, finite.
        level: to reach if the number of runs allows.
    """
    if explain_no_interval(values) is not None:
        return None
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    number = len(ordered)
    for cut in range(number // 2, 0, -1):
        reached = (number + 1 - 2 * cut) / (number + 1)
        low, high = float(ordered[cut - 1]), float(ordered[number - cut])
        if low < high and (reached >= level or cut == 1):
            return Interval(low, high, reached, "order statistics")
    return None


def clopper_pearson(successes: int, number: int, level: float = 0.95) -> Interval:
    """Where the share of successes lies (Clopper and Pearson 1934).

    Args:
        successes: 0 to ``number``.
        number: of independent runs, at least 1.
        level: at least this.
    """
    if not 0 <= successes <= number or number < 1:
        raise ValueError(f"{successes} of {number}")
    failures, tail = number - successes, (1 - level) / 2
    low = float(special.betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(special.betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return Interval(low, high, level, "Clopper-Pearson")


def _student(level: float, number: int) -> float:
    return float(special.stdtrit(number - 1, (1 + level) / 2))
