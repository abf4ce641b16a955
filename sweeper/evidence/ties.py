"""Which trials of a search can't be told from its best one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sweeper.evidence.statistics import Moments, welch_p_values
from sweeper.metrics import Objective
from sweeper.results.ranking import Rank, rank_trial
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.results.scoring import LARGEST_COMPARED
from sweeper.results.spread import spread_of

__all__ = ["Ties", "find_ties"]

_LEVEL = 0.05


def find_ties(trials: Sequence[TrialRecord], objective: Objective) -> frozenset[str]:
    """The ids of trials whose replicas differ from the best one's by no more than chance.

    By Welch's test of equal means at 5 %, each trial for itself: a trial that is left out is
    probably worse, one that is named may be. The best one is not among them. None can be told from
    a best one with a single replica, so then all others are; of replicas without any spread it
    takes four on either side.
    """
    ties = Ties(objective)
    for one in trials:
        ties.update(one)
    return ties.find()


class _Scored(NamedTuple):
    """What is compared of a trial."""

    rank: Rank
    score: float
    deviation: float
    replicas: int


class Ties:
    """Finds them again and again while trials report; see `find_ties`.

    An update costs no more with thousands of trials than with ten.

    Args:
        objective: by which they are judged.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._scored: dict[str, _Scored] = {}
        self._found: frozenset[str] | None = None

    def update(self, record: TrialRecord) -> None:
        """Take note of what a trial has come to by now."""
        self._found = None
        score = judge_trial(record, self._objective).value
        if score is None:
            self._scored.pop(record.trial_id, None)
            return
        spread = spread_of(record, self._objective)
        self._scored[record.trial_id] = _Scored(
            rank=rank_trial(record, self._objective),
            score=score,
            deviation=(spread and spread.deviation) or 0.0,
            replicas=0 if spread is None else len(spread.values),
        )

    def find(self) -> frozenset[str]:
        """The ids of the trials that can't be told from the best one now."""
        if self._found is None:
            self._found = self._compare()
        return self._found

    def _compare(self) -> frozenset[str]:
        if not self._scored:
            return frozenset()
        first = min(self._scored, key=lambda name: self._scored[name].rank)
        best = self._scored[first]
        # One that was stopped early could not win before one that was not.
        others = {
            name: one
            for name, one in self._scored.items()
            if name != first and one.rank[0] == best.rank[0]
        }
        if not others:
            return frozenset()
        table = np.array([one[1:] for one in (best, *others.values())], float)
        means, deviations, numbers = table.T
        # Welch's test is the same on any scale, and squares of large values are no floats.
        scale = max(1.0, float(np.abs(table[:, :2]).max()) / LARGEST_COMPARED)
        moments = Moments(means / scale, (deviations / scale) ** 2, numbers)
        chances = welch_p_values(_part(moments, slice(1, None)), _part(moments, slice(0, 1)))
        return frozenset(
            name for name, chance in zip(others, chances, strict=True) if chance >= _LEVEL
        )


def _part(moments: Moments, part: slice) -> Moments:
    return Moments(moments.means[part], moments.variances[part], moments.numbers[part])
