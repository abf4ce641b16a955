"""Success or stuck: runs that fall into two groups, for which Student's t promises too much.

Some tasks are learned or not: most runs end near one return, the others far below it, and none
between. Five runs may then all succeed by luck, look alike, and make a narrow interval that says
nothing of the runs that get stuck. So the two groups are looked for in all samples of a comparison,
and once one of them shows the gap, every sample is judged by shares of runs: Clopper-Pearson for
the mean, order statistics for one more run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.evidence.statistics.intervals import Interval, clopper_pearson, mean_interval

__all__ = ["TwoGroups", "find_two_groups", "two_group_interval"]

# The widest gap between neighbours as a share of the range, for samples of this size: normal
# samples exceed it in 1 % (by simulation of 100,000 samples each).
_GAPS = {4: 0.931, 5: 0.843, 6: 0.767, 8: 0.652, 10: 0.578, 15: 0.478, 20: 0.430, 30: 0.373}
_GAPS |= {50: 0.323}
_NOTABLE = 0.1  # of the range of all samples: 499.8 beside 500 is no group where others reach 200
_ROUNDING = 1e-9


@dataclass(frozen=True)
class TwoGroups:
    """Two groups of runs.

    Attributes:
        split: between them.
        low: the mean of the runs below, over all samples.
        high: the mean of those above.
    """

    split: float
    low: float
    high: float


def find_two_groups(samples: Sequence[Sequence[float]]) -> TwoGroups | None:
    """Look for runs that succeed or get stuck; None if no sample shows it.

    A sample of at least 4 runs shows it if its widest gap between neighbours takes a larger share
    of its range than in 99 % of normal samples of its size, and at least a tenth of the range of
    all samples. Of several such samples the one with the widest gap says where the groups part.

    Args:
        samples: of runs in one environment, each of finite values.
    """
    gaps = [gap for sample in samples if (gap := _widest_gap(sample)) is not None]
    if not gaps:
        return None
    width, split = max(gaps)
    everything = np.concatenate([np.asarray(sample, dtype=np.float64) for sample in samples])
    if width < max(_NOTABLE * np.ptp(everything), _ROUNDING * np.abs(everything).max()):
        return None
    low, high = everything[everything < split], everything[everything >= split]
    return TwoGroups(split, float(low.mean()), float(high.mean()))


def two_group_interval(
    values: Sequence[float], groups: TwoGroups, level: float = 0.95
) -> Interval | None:
    """Where the mean of endlessly many runs lies if runs succeed or get stuck.

    The share of runs above the gap has its Clopper-Pearson interval, and the mean lies between
    what its two ends give with the groups' means. It is joined with Student's interval, which
    knows the spread within the groups. A sample that has runs in one group only takes the other
    group's mean from the other samples.

    Args:
        values: of independent runs, finite, at least one.
        groups: from `find_two_groups` of this and the other samples.
        level: of this interval alone.
    """
    array = np.asarray(values, dtype=np.float64)
    above, below = array[array >= groups.split], array[array < groups.split]
    high = float(above.mean()) if len(above) else groups.high
    low = float(below.mean()) if len(below) else groups.low
    share = clopper_pearson(len(above), len(array), level)
    ends = [low + share.low * (high - low), low + share.high * (high - low)]
    student = mean_interval(values, level)
    if student is not None:
        ends += [student.low, student.high]
    if not min(ends) < max(ends):
        return None
    return Interval(min(ends), max(ends), level, "shares of two groups")


def _widest_gap(values: Sequence[float]) -> tuple[float, float] | None:
    """The gap and its middle, if it parts two groups."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if len(ordered) < min(_GAPS):
        return None
    gaps = np.diff(ordered)
    place = int(gaps.argmax())
    limit = float(
        np.interp(math.log(len(ordered)), [math.log(n) for n in _GAPS], [*_GAPS.values()])
    )
    if gaps[place] <= limit * (ordered[-1] - ordered[0]):
        return None
    middle = float((ordered[place] + ordered[place + 1]) / 2)
    if not ordered[place] < middle:  # neighbouring floats
        return None
    return float(gaps[place]), middle
