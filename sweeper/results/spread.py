"""How far the replicas of a trial lie apart: the spread that stands beside its score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.metrics import Objective
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.results.scoring import as_float, score_reports

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
        """Their standard deviation, with n - 1; None below two replicas, and if it is no float."""
        number = len(self.values)
        if number < 2:
            return None
        # Scaled by a power of two, which rounds nothing: squares of large values are no floats.
        scale = 2.0 ** (math.frexp(max(map(abs, self.values)))[1] - 1)
        scaled = [value / scale for value in self.values]
        mean = math.fsum(scaled) / number
        # Of a large mean a small spread would be lost in the squares.
        variance = math.fsum((value - mean) ** 2 for value in scaled) / (number - 1)
        deviation = math.sqrt(variance) * scale
        return deviation if math.isfinite(deviation) else None


def spread_of(record: TrialRecord, objective: Objective) -> Spread | None:
    """The spread behind a trial's score; None where a replica has no value of its own.

    A replica's score is of the same kind as the trial's. For ``best`` it is its value in the row
    that earned the trial's score, or the replicas' mean would not be the score.
    """
    judged = judge_trial(record, objective)
    if judged.report is None:
        return None
    name = f"replica/{objective.metric}"
    found: Sequence[Any]
    if objective.score == "auc":
        rows = [row for row in record.reports if isinstance(row.get(name), list)]
        if not rows:
            return None
        number = min(len(row[name]) for row in rows)
        curves = [
            [{**row, objective.metric: row[name][index]} for row in rows] for index in range(number)
        ]
        found = [score_reports(curve, objective).value for curve in curves]
    else:
        row = record.reports[judged.report]
        found = row[name] if isinstance(row.get(name), list) else []
    values = tuple(value for one in found if (value := as_float(one)) is not None)
    is_whole = len(values) == len(found) > 0 and all(map(math.isfinite, values))
    return Spread(values) if is_whole else None
