"""Which trials of a search can't be told from its best one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from sweeper.metrics import Objective
from sweeper.results.ranking import rank_trial
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.results.spread import Spread, spread_of

__all__ = ["find_ties"]

_LEVEL = 0.05


def find_ties(trials: Sequence[TrialRecord], objective: Objective) -> frozenset[str]:
    """The ids of trials whose replicas differ from the best one's by no more than chance.

    By Welch's test of equal means at 5 %, each trial for itself: a trial that is left out is
    probably worse, one that is named may be. The best one is not among them. None can be told from
    a best one with a single replica, so then all others are.
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
    numbers = np.array([_number(one) for one in spreads], dtype=np.float64)
    means = np.array([judge_trial(one, objective).value for one in (best, *others)], float)
    errors = np.array([_variance(one) for one in spreads]) / np.maximum(numbers, 1)
    with np.errstate(all="ignore"):
        together = errors[0] + errors[1:]
        freedom = together**2 / (
            errors[0] ** 2 / (numbers[0] - 1) + errors[1:] ** 2 / (numbers[1:] - 1)
        )
        distance = np.abs(means[0] - means[1:]) / np.sqrt(together)
        chance = 2 * stats.t.sf(distance, freedom)
    is_single = (numbers[1:] < 2) | (numbers[0] < 2)
    is_still = together == 0  # no spread at all: equal, or different without doubt
    is_tied = np.where(is_still, means[0] == means[1:], chance >= _LEVEL) | is_single
    return frozenset(one.trial_id for one, tied in zip(others, is_tied, strict=True) if tied)


def _number(spread: Spread | None) -> int:
    return 0 if spread is None else len(spread.values)


def _variance(spread: Spread | None) -> float:
    deviation = None if spread is None else spread.deviation
    return 0.0 if deviation is None else deviation**2
