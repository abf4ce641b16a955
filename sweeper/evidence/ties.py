"""Which trials of a search can't be told from its best one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sweeper.evidence.statistics import Moments, welch_p_values
from sweeper.metrics import Objective
from sweeper.results.ranking import rank_trial
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.results.scoring import LARGEST_COMPARED
from sweeper.results.spread import Spread, spread_of

__all__ = ["find_ties"]

_LEVEL = 0.05


def find_ties(trials: Sequence[TrialRecord], objective: Objective) -> frozenset[str]:
    """The ids of trials whose replicas differ from the best one's by no more than chance.

    By Welch's test of equal means at 5 %, each trial for itself: a trial that is left out is
    probably worse, one that is named may be. The best one is not among them. None can be told from
    a best one with a single replica, so then all others are; of replicas without any spread it
    takes four on either side.
    """
    scored = [one for one in trials if judge_trial(one, objective).value is not None]
    if len(scored) < 2:
        return frozenset()
    ranks = {one.trial_id: rank_trial(one, objective) for one in scored}
    best, *rest = sorted(scored, key=lambda one: ranks[one.trial_id])
    # One that was stopped early could not win before one that was not.
    others = [one for one in rest if ranks[one.trial_id][0] == ranks[best.trial_id][0]]
    if not others:
        return frozenset()
    spreads = [spread_of(one, objective) for one in (best, *others)]
    means = np.array([judge_trial(one, objective).value for one in (best, *others)], float)
    deviations = np.array([(one and one.deviation) or 0.0 for one in spreads])
    # Welch's test is the same on any scale, and squares of large values are no floats.
    scale = max(1.0, float(np.abs((means, deviations)).max()) / LARGEST_COMPARED)
    moments = Moments(
        means=means / scale,
        variances=(deviations / scale) ** 2,
        numbers=np.array([_number(one) for one in spreads], float),
    )
    chances = welch_p_values(_part(moments, slice(1, None)), _part(moments, slice(0, 1)))
    return frozenset(
        one.trial_id for one, chance in zip(others, chances, strict=True) if chance >= _LEVEL
    )


def _part(moments: Moments, part: slice) -> Moments:
    return Moments(moments.means[part], moments.variances[part], moments.numbers[part])


def _number(spread: Spread | None) -> int:
    return 0 if spread is None else len(spread.values)
