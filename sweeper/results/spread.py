"""How far the replicas of a trial lie apart: the spread that stands beside its score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.metrics import Objective
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.results.scoring import score_reports

__all__ = ["Spread", "spread_of"]


@dataclass(frozen=True)
class Spread:
    """The replicas' own scores.

    Attributes:
        values: one per replica, in the order of the seeds.
    """

    values: tuple[float, ...]

    @property
    def deviation(self) -> float | None:
        """Their standard deviation, with n - 1; None below two replicas."""
        number = len(self.values)
        if number < 2:
            return None
        mean = math.fsum(self.values) / number
        # Of a large mean a small spread would be lost in the squares.
        return math.sqrt(math.fsum((value - mean) ** 2 for value in self.values) / (number - 1))


def spread_of(record: TrialRecord, objective: Objective) -> Spread | None:
    """The spread behind a trial's score; None where a replica has no value of its own.

    A replica's score is of the same kind as the trial's. For ``best`` it is its value in the row
    that earned the trial's score, or the replicas' mean would not be the score.
    """
    judged = judge_trial(record, objective)
    if judged.report is None:
        return None
    name = f"replica/{objective.metric}"
    values: Sequence[float | None]
    if objective.score == "auc":
        rows = [row for row in record.reports if isinstance(row.get(name), list)]
        if not rows:
            return None
        number = min(len(row[name]) for row in rows)
        curves = [
            [{**row, objective.metric: row[name][index]} for row in rows] for index in range(number)
        ]
        values = [score_reports(curve, objective).value for curve in curves]
    else:
        found = record.reports[judged.report].get(name)
        values = found if isinstance(found, list) else []
    if not values or any(value is None or not math.isfinite(value) for value in values):
        return None
    return Spread(tuple(float(value) for value in values if value is not None))
