"""Comparisons of two samples of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sweeper.evidence.statistics import special
from sweeper.evidence.statistics.intervals import Interval

__all__ = [
    "Moments",
    "more_runs_to_tell",
    "probability_interval",
    "probability_of_improvement",
    "welch_p_value",
    "welch_p_values",
]

_NOTHING = 1e-12  # of a value: smaller differences are rounding errors


@dataclass(frozen=True)
class Moments:
    """What Welch's test needs to know of samples of runs.

    Attributes:
        means: float64[samples].
        variances: float64[samples], with n - 1; any number where there are less than two values.
        numbers: float64[samples], how many values each has.
    """

    means: NDArray[np.float64]
    variances: NDArray[np.float64]
    numbers: NDArray[np.float64]

    @classmethod
    def of(cls, values: Sequence[float]) -> Moments:
        """Of one sample, with finite values; the arrays have one element."""
        array = np.asarray(values, dtype=np.float64)
        mean = array.mean() if len(array) else math.nan
        variance = array.var(ddof=1) if len(array) > 1 else 0.0
        return cls(*(np.array([one], np.float64) for one in (mean, variance, len(array))))


def welch_p_value(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p-value of equal means, spreads free; see `welch_p_values`.

    Args:
        first: values of independent runs, finite.
        second: the same.
    """
    return float(welch_p_values(Moments.of(first), Moments.of(second))[0])


def welch_p_values(first: Moments, second: Moments) -> NDArray[np.float64]:
    """Two-sided p-values of equal means, spreads free (Welch 1947), pair by pair.

    Two samples without any spread carry no measure of chance for Student's t; they are compared
    by permutation, which gives 2 / C(n + m, n) if they differ. 1 if a sample has less than two
    values.

    Args:
        first: of samples of independent runs.
        second: of as many others, or of one.

    Returns:
        float64[samples].
    """
    n, m = first.numbers, second.numbers
    with np.errstate(all="ignore"):
        distance = np.abs(first.means - second.means)
        rounding = _NOTHING * np.maximum(1.0, np.maximum(abs(first.means), abs(second.means)))
        parts = first.variances / n, second.variances / m
        together = parts[0] + parts[1]
        freedom = together**2 / (parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1))
        by_student = 2 * special.stdtr(freedom, -distance / np.sqrt(together))
        by_permutation = np.minimum(1.0, 2 / special.comb(n + m, n))
        is_still = np.maximum(first.variances, second.variances) <= rounding**2
    p_values = np.where(is_still, by_permutation, by_student)
    is_equal = (distance <= rounding) | (n < 2) | (m < 2)
    return np.asarray(np.where(is_equal, 1.0, p_values), dtype=np.float64)


def probability_of_improvement(
    first: Sequence[float], second: Sequence[float], *, mode: str = "max"
) -> float:
    """How often a run of the first sample beats one of the second; ties count half.

    Args:
        first: float[runs], finite, at least one.
        second: float[other runs], the same.
        mode: whether ``max`` or ``min`` is better.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    above = float(np.mean(one[:, None] > two[None, :]))
    equal = float(np.mean(one[:, None] == two[None, :]))
    return above + equal / 2 if mode == "max" else 1 - above - equal / 2


def probability_interval(
    probability: float, first: int, second: int, level: float = 0.95
) -> Interval:
    """Where the probability of improvement lies (Newcombe 2006, method 5).

    It has a width at 0 and 1 too, where a bootstrap has none.

    Args:
        probability: from `probability_of_improvement`.
        first: how many runs the first sample has.
        second: how many the second has.
        level: e.g. 0.95.
    """
    from scipy import optimize  # takes a third of a second

    z = float(special.ndtri((1 + level) / 2))
    extra = (first + second) / 2 - 1

    def excess(truth: float) -> float:
        spread = 1 + extra * (1 - truth) / (2 - truth) + extra * truth / (1 + truth)
        spread *= truth * (1 - truth) / (first * second)
        return (truth - probability) ** 2 - z * z * spread

    # At 0 and 1 the probability itself is a root, but not the one that is wanted.
    step = 1e-9
    low = 0.0 if probability < step else float(optimize.brentq(excess, 0.0, probability - step))
    high = 1.0
    if probability <= 1 - step:
        high = float(optimize.brentq(excess, probability + step, 1.0))
    return Interval(low, high, level, "Newcombe's method 5")


def more_runs_to_tell(
    first: Sequence[float], second: Sequence[float], *, alpha: float = 0.05, power: float = 0.8
) -> int | None:
    """About how many more runs a side would tell two means apart, if they differ as observed.

    Args:
        first: float[runs], finite.
        second: float[other runs], finite.
        alpha: the level of the two-sided test to come.
        power: how often the test then finds a difference of the observed size.

    Returns:
        0 if there are enough already; None if the means or all values are equal, or a sample has
        less than two values.
    """
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if min(len(one), len(two)) < 2:
        return None
    difference = abs(float(one.mean() - two.mean()))
    variance = float(one.var(ddof=1) + two.var(ddof=1))
    if difference <= 1e-12 * max(1.0, abs(float(one.mean()))) or variance == 0:
        return None
    z = float(special.ndtri(1 - alpha / 2) + special.ndtri(power))
    # Student's t needs about z²/4 runs more than the normal approximation.
    needed = z * z * variance / difference**2 + z * z / 4
    return max(0, math.ceil(needed) - min(len(one), len(two)))
