"""Whether more seeds or more configurations are the better use of the next hour.

A configuration's score is the mean over its seeds: what the configuration is worth, plus luck. One
way analysis of variance parts the two. The best of N scores is worth, on average, the spread of
true values times the share of it that scores show (the root of the reliability) times how far the
best of N lies above their mean. More configurations raise the last factor, more seeds the second.
Which raises it more depends on the reliability alone: it is better to try more configurations
above a certain value, and to train more seeds below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.evidence.advice.finding import Finding
from sweeper.evidence.statistics import special

__all__ = ["Reliability", "advise_on_effort", "find_reliability", "turning_point"]

_MIN_CONFIGURATIONS = 5
_LEVEL = 0.9  # of the reliability's interval
_RESAMPLES = 999
_GROWTH = (1.25, 4.0)  # an hour is taken for so much of the work so far, at least and at most


@dataclass(frozen=True)
class Reliability:
    """Which share of the spread of scores is the configurations' own.

    Attributes:
        value: 0 to 1; the rest is the luck of the seeds.
        low: of the interval.
        high: of the interval.
        p_value: of no difference between configurations, by the F test.
    """

    value: float
    low: float
    high: float
    p_value: float


def find_reliability(runs: Sequence[Sequence[float]], *, seed: int = 0) -> Reliability | None:
    """The reliability of the means of several configurations with as many runs each.

    The interval holds both the one of the F distribution, which is exact for normal runs of equal
    spread, and the bootstrap's over configurations, which knows of no distribution.

    Args:
        runs: of each configuration, float[seeds]; at least two of both.
        seed: of the bootstrap.

    Returns:
        None if no run differs from another of its configuration.
    """
    table = np.asarray(runs, dtype=np.float64)
    number, seeds = table.shape
    means, variances = table.mean(axis=1), table.var(axis=1, ddof=1)
    if variances.mean() <= 1e-18 * max(1.0, float(np.abs(means).max()) ** 2):
        return None
    ratio = float(seeds * means.var(ddof=1) / variances.mean())
    freedom = number - 1, number * (seeds - 1)
    tail = (1 - _LEVEL) / 2
    ends = [ratio / float(special.fdtri(*freedom, share)) for share in (1 - tail, tail)]
    generator = np.random.default_rng(seed)
    drawn = generator.integers(number, size=(_RESAMPLES, number))
    # A resample without any spread within says that all of it is the configurations' own, or, if
    # its configurations are one, nothing.
    with np.errstate(divide="ignore", invalid="ignore"):
        again = seeds * means[drawn].var(axis=1, ddof=1) / variances[drawn].mean(axis=1)
    again = again[~np.isnan(again)]
    ends += [float(end) for end in np.quantile(again, [tail, 1 - tail], method="nearest")]
    return Reliability(
        _share(ratio), _share(min(ends)), _share(max(ends)), float(special.fdtrc(*freedom, ratio))
    )


def _share(ratio: float) -> float:
    return max(0.0, 1 - 1 / ratio) if ratio > 0 else 0.0


def turning_point(configurations: int, growth: float) -> float:
    """The reliability above which more configurations are better than more seeds.

    With ``growth`` times the work: that many times more configurations raise the best one's
    distance from the mean by a ratio r, and more seeds raise the root of the reliability by the
    root of growth / (1 + (growth - 1) * reliability).

    Args:
        configurations: so far, at least two.
        growth: above 1.

    Returns:
        0 to 1; 0 if more configurations are always better.
    """
    ratio = _expected_best(configurations * growth) / _expected_best(configurations)
    return min(1.0, max(0.0, (growth / ratio**2 - 1) / (growth - 1)))


def _expected_best(number: float) -> float:
    """How far the best of so many standard normal values lies above 0, on average."""
    grid = np.linspace(0.0, 10.0, 2001)
    above = 1 - np.exp(number * special.log_ndtr(grid))
    below = np.exp(number * special.log_ndtr(-grid))
    return float(np.trapezoid(above - below, grid))


def advise_on_effort(runs: Sequence[Sequence[float]], hourly: float | None) -> Finding:
    """Seeds or configurations.

    Args:
        runs: of each configuration that was trained to its end.
        hourly: how many of them an hour trains; None if it is not known.
    """
    about, number = "effort", len(runs)
    seeds = min(map(len, runs), default=0)
    if number < _MIN_CONFIGURATIONS:
        return Finding(
            about,
            False,
            f"Too few configurations were trained to their end, {number}, to weigh seeds against "
            "configurations.",
        )
    if seeds < 2:
        return Finding(
            about,
            False,
            "With one seed each nothing tells luck from merit; with at least two the next sweep "
            "can weigh seeds against configurations.",
        )
    found = find_reliability([one[:seeds] for one in runs])
    if found is None:
        return Finding(about, False, "All seeds of a configuration come to the same.")
    growth = 2.0 if hourly is None else 1 + hourly / number
    growth = min(max(growth, _GROWTH[0]), _GROWTH[1])
    limit = turning_point(number, growth)
    numbers = {
        "configurations": number,
        "seeds": seeds,
        "reliability": found.value,
        "interval": [found.low, found.high],
        "level": _LEVEL,
        "p_value": found.p_value,
        "turning_point": limit,
        "configurations_an_hour": hourly,
    }
    own = (
        f"{100 * found.value:.0f} % of the spread of scores ({100 * found.low:.0f} to "
        f"{100 * found.high:.0f}, {100 * _LEVEL:.0f} % interval) is the configurations' own, the "
        f"rest the luck of {seeds} seeds"
    )
    if round(100 * found.high) == 0:  # an interval from 0 to 0 would promise too much
        own = f"the spread of scores is no larger than the luck of {seeds} seeds makes it"
    if found.low > limit:
        many = "" if hourly is None else f" (about {max(1, round(hourly))} of {seeds} seeds each)"
        return Finding(
            about,
            True,
            f"More configurations are a better use of the next hour{many} than more seeds: {own}.",
            numbers,
        )
    if found.high < limit:
        more = "" if hourly is None else f" (about {max(1, round(hourly * seeds))} training runs)"
        return Finding(
            about,
            True,
            f"More seeds are a better use of the next hour{more} than more configurations: {own}.",
            numbers,
        )
    return Finding(
        about,
        False,
        f"Seeds or configurations: {own}; more configurations pay above {100 * limit:.0f} %, more "
        "seeds below.",
        numbers,
    )
