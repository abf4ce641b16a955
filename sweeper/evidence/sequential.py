"""A group-sequential test: which samples differ, and which need another group of seeds.

Runs are added in groups, and after each group one looks. Testing at the full level each time would
be wrong far more often than the level says. So the level is spent over the planned looks in
proportion to the runs (Lan and DeMets 1983; linear as in AdaStop, Mathieu et al., TMLR 2024, arXiv
2306.10882). The levels of the single looks come from the joint normal distribution of the
statistics (Armitage, McPherson and Rowe 1969), and are applied to Welch's t test (the "significance
level approach" of Jennison and Turnbull, Group Sequential Methods, 2000, section 4.4). Over several
comparisons Holm's procedure shares the level (group-sequential: Ye et al. 2013).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from sweeper.evidence.statistics import special, welch_p_value

__all__ = ["Pair", "compare_pairs", "look_levels", "reaches_a_decision"]

Pair = tuple[str, str]
_GRID = 601


@lru_cache(maxsize=256)
def look_levels(alpha: float, looks: tuple[int, ...]) -> tuple[float, ...]:
    """The two-sided level of each look, so that all looks together err in ``alpha`` at most.

    Args:
        alpha: probability of an error over all looks.
        looks: how many runs there are at each planned look, increasing.
    """
    if not looks or any(b <= a for a, b in zip((0, *looks), looks, strict=False)):
        raise ValueError(f"the looks must increase: {looks}")
    times = [size / looks[-1] for size in looks]
    levels = [alpha * times[0]]
    bound = _z(levels[0]) * math.sqrt(times[0])
    grid = np.linspace(-bound, bound, _GRID)
    density = _normal_density(grid, math.sqrt(times[0]))
    for before, now in itertools.pairwise(times):
        step = math.sqrt(now - before)
        bound = _bound(grid, density, step, alpha * (now - before), math.sqrt(now))
        levels.append(2 * float(special.ndtr(-bound / math.sqrt(now))))
        fresh = np.linspace(-bound, bound, _GRID)
        weights = density * _simpson(grid)
        density = _normal_density(fresh[:, None] - grid[None, :], step) @ weights
        grid = fresh
    return tuple(levels)


def compare_pairs(
    samples: Mapping[str, Sequence[float | None]],
    pairs: Sequence[Pair],
    looks: Sequence[int],
    alpha: float,
) -> dict[Pair, int]:
    """Which of several pairs differ, after the looks that were reached.

    A look was reached by a pair if one of its samples has as many runs; the other one may have
    stopped at an earlier look. What one look has told apart stays so, unless all runs together say
    the opposite: a pair whose means have changed places is not told apart.

    Args:
        samples: by name, the values of its runs in the order of training; None is a failed run.
        pairs: one family of comparisons, over which the level is shared.
        looks: how many runs (failed ones included) a sample has at each planned look.
        alpha: probability that any pair without a difference is told apart.

    Returns:
        For each pair 1 if its first mean is higher, -1 if lower, 0 if they can't be told apart.
    """
    decided = dict.fromkeys(pairs, 0)
    for index, size in enumerate(looks):
        p_values: dict[Pair, float] = {}
        for pair in pairs:
            if decided[pair] == 0 and max(len(samples[name]) for name in pair) >= size:
                first, second = (_finite(samples[name][:size]) for name in pair)
                p_values[pair] = welch_p_value(first, second)
        while p_values:
            pair = min(p_values, key=lambda one: (p_values[one], one))
            remaining = sum(sign == 0 for sign in decided.values())
            if p_values.pop(pair) > look_levels(alpha / remaining, tuple(looks))[index]:
                break
            first, second = (_finite(samples[name][:size]) for name in pair)
            decided[pair] = _sign(first, second)
    for pair, sign in decided.items():
        first, second = (_finite(samples[name]) for name in pair)
        if sign and _sign(first, second) != sign:
            decided[pair] = 0
    return decided


def reaches_a_decision(
    first: Sequence[float | None],
    second: Sequence[float | None],
    looks: Sequence[int],
    alpha: float,
    *,
    min_power: float,
) -> bool:
    """Whether going on to the last look is likely enough to tell two samples apart.

    To stop where it isn't costs some power, and never breaks the level.

    Args:
        first: values of runs so far; None is a failed one.
        second: the same.
        looks: how many runs there are at each planned look.
        alpha: of all looks of this comparison.
        min_power: the least conditional power under the trend so far (Jennison and Turnbull 2000,
            section 10.2): the probability that the last look tells them apart if the true
            difference is the observed one.

    Returns:
        False too if the last look is reached.
    """
    time = max(len(first), len(second)) / looks[-1]
    if time >= 1:
        return False
    p_value = welch_p_value(_finite(first), _finite(second))
    trend = _z(p_value) / math.sqrt(time)
    bound = _z(look_levels(alpha, tuple(looks))[-1])
    return float(special.ndtr((trend - bound) / math.sqrt(1 - time))) >= min_power


def _sign(first: Sequence[float], second: Sequence[float]) -> int:
    return 1 if np.mean(first) > np.mean(second) else -1


def _finite(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _z(level: float) -> float:
    """The standard normal value that is exceeded on either side with probability ``level``."""
    return -float(special.ndtri(level / 2))


def _normal_density(values: np.ndarray, deviation: float) -> np.ndarray:
    density = np.exp(-0.5 * np.square(values / deviation))
    density /= deviation * math.sqrt(2 * math.pi)
    return density


def _simpson(grid: np.ndarray) -> np.ndarray:
    """Weights of Simpson's rule, float64[len(grid)], for an odd number of points."""
    weights = np.full(len(grid), 2.0)
    weights[1::2] = 4.0
    weights[0] = weights[-1] = 1.0
    weights *= (grid[1] - grid[0]) / 3
    return weights


def _bound(
    grid: np.ndarray, density: np.ndarray, step: float, spent: float, deviation: float
) -> float:
    from scipy import optimize  # takes a third of a second

    weights = density * _simpson(grid)

    def excess(bound: float) -> float:
        outside = special.ndtr((grid - bound) / step) + special.ndtr((-bound - grid) / step)
        return float(outside @ weights) - spent

    return float(optimize.brentq(excess, 1e-9, 12 * deviation))
