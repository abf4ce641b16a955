"""How fast the champion's runs learned: the area under their curves, and when they got there."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.evidence.confirmation import ran_to_its_end
from sweeper.evidence.statistics import Curve, area_under_curve, steps_to_threshold
from sweeper.metrics import Objective
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.results.scoring import env_steps_of, is_comparable, is_point

__all__ = ["Learning", "find_learning", "replica_curves"]

_TRAINING = "episode_return_mean"


@dataclass(frozen=True)
class Learning:
    """The learning curves of one configuration's runs.

    Attributes:
        metric: of the curves.
        stage: whose runs they are: ``confirmation``, or ``search``.
        areas: of each run, the mean of its curve over env steps, in the metric's unit.
        threshold: what was to be reached.
        steps: of each run, the env steps of its first report there; None if it never was.
    """

    metric: str
    stage: str
    areas: tuple[float, ...]
    threshold: float
    steps: tuple[float | None, ...]

    @property
    def reached(self) -> tuple[float, ...]:
        """The env steps of the runs that got there, ascending."""
        return tuple(sorted(step for step in self.steps if step is not None))

    @property
    def median_steps(self) -> float | None:
        """Of all runs, one that never got there counting as the slowest; None if half did not."""
        ordered = sorted(math.inf if step is None else step for step in self.steps)
        median = statistics.median(ordered) if ordered else math.inf
        return median if math.isfinite(median) else None

    def to_json(self) -> dict[str, Any]:
        """As ``best --json`` prints it."""
        return {
            "metric": self.metric,
            "stage": self.stage,
            "runs": len(self.areas),
            "area": statistics.fmean(self.areas),
            "area_deviation": statistics.stdev(self.areas) if len(self.areas) > 1 else None,
            "areas": list(self.areas),
            "threshold": self.threshold,
            "reached": len(self.reached),
            "median_env_steps": self.median_steps,
            "env_steps": list(self.steps),
        }


def find_learning(
    results: SweepResults,
    trial_id: str,
    objective: Objective,
    threshold: float,
    *,
    is_confirmed: bool,
) -> Learning | None:
    """The learning curves of a configuration's runs.

    Those of its confirmation, if it has one: the search's runs are why it won. Their curves are
    evaluations where there are some, else the returns while training.

    Args:
        results: of the run.
        trial_id: of the search's trial.
        objective: whose metric the curves are of, if it has curves.
        threshold: to be reached, in that metric.
        is_confirmed: whether the confirmation is complete.

    Returns:
        None if no run has a curve.
    """
    stages: list[tuple[str, Sequence[TrialRecord]]] = [("search", [results.trial(trial_id)])]
    if is_confirmed:
        again = [
            one
            for one in results.retrained
            if one.of == trial_id and not one.is_outdated and ran_to_its_end(one)
        ]
        stages.insert(0, ("confirmation", again))
    is_return = objective.metric.rpartition("/")[2] == _TRAINING
    metrics = dict.fromkeys((objective.metric, *([_TRAINING] if is_return else ())))
    for stage, records in stages:
        for metric in metrics:
            curves = [
                curve for record in records for curve in replica_curves(record.reports, metric)
            ]
            if curves:
                return Learning(
                    metric=metric,
                    stage=stage,
                    areas=tuple(area_under_curve(one) for one in curves),
                    threshold=threshold,
                    steps=tuple(
                        steps_to_threshold(one, threshold, mode=objective.mode) for one in curves
                    ),
                )
    return None


def replica_curves(reports: Sequence[Mapping[str, Any]], metric: str) -> list[Curve]:
    """One curve per replica, without the points at which it had no value."""
    name = f"replica/{metric}"
    points: dict[float, Sequence[float | None]] = {}
    for report in reports:
        steps, values = env_steps_of(report), report.get(name)
        if steps is not None and isinstance(values, list) and is_point(report, metric):
            points[steps] = values  # of several reports at the same env steps the last one
    number = min((len(values) for values in points.values()), default=0)
    curves = []
    for replica in range(number):
        found = {
            step: float(value)
            for step, values in sorted(points.items())
            if (value := values[replica]) is not None and is_comparable(value)
        }
        if len(found) > 1:
            curves.append(Curve(env_steps=[*found], values=[*found.values()]))
    return curves
