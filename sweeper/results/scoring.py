"""Score a trial's reports: ``last``, ``best`` or ``auc`` of a metric.

A report is one flat row of metrics. A missing value is ``None``; NaN and infinities are values,
but never a score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.metrics import (
    ENV_STEPS,
    IS_NEW_EVALUATION,
    ITERATION,
    Objective,
    canonical_metric,
    repeats_evaluation,
)

__all__ = [
    "LARGEST_COMPARED",
    "Score",
    "as_float",
    "env_steps_of",
    "finite_value",
    "is_comparable",
    "is_nan",
    "is_point",
    "iteration_of",
    "mean_over_steps",
    "metric_value",
    "score_reports",
]

Report = Mapping[str, Any]

LARGEST_COMPARED = 1e50
"""Of larger values what statistics compute need be no float; no task is meant to give such."""


@dataclass(frozen=True)
class Score:
    """A score and the report that earned it.

    Attributes:
        value: the score; None if there is none.
        report: index of that report; for ``auc`` that of the curve's last point.
        problem: why there is no score.
    """

    value: float | None
    report: int | None = None
    problem: str | None = None


def metric_value(report: Report, metric: str) -> float | None:
    """A report's value of a metric, under the given name or ours; None if it has none."""
    value = report.get(metric)
    if value is None:
        value = report.get(canonical_metric(metric))
    return as_float(value)


def as_float(value: Any) -> float | None:
    """A number as a float; None for anything else, also for a boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number beyond the largest float
        return math.inf if value > 0 else -math.inf


def is_comparable(value: Any) -> bool:
    """Whether statistics can be made of a value: a finite number of a sensible size."""
    number = as_float(value)
    return number is not None and abs(number) <= LARGEST_COMPARED


def finite_value(report: Report, metric: str) -> float | None:
    """The same as `metric_value`; None also for NaN and infinities."""
    value = metric_value(report, metric)
    return value if value is not None and math.isfinite(value) else None


def is_nan(value: Any) -> bool:
    """Whether a value is a float that is not a number."""
    return isinstance(value, float) and math.isnan(value)


def env_steps_of(report: Report) -> float | None:
    """The env steps of a report; None if it has no finite number of them."""
    return finite_value(report, ENV_STEPS)


def is_point(report: Report, metric: str) -> bool:
    """Whether a report is a point of a metric's curve, and does not repeat the one before.

    Reports of earlier versions, and those of other programs, don't tell whether they follow an
    evaluation: each is one.
    """
    is_evaluation = bool(report.get(IS_NEW_EVALUATION, True))
    return not repeats_evaluation(canonical_metric(metric), is_evaluation=is_evaluation)


def score_reports(reports: Sequence[Report], objective: Objective) -> Score:
    """The score that a trial's reports earn.

    - ``last``: the last value reported. There is no score if that is not finite.
    - ``best``: the best finite value, the earliest of equals. It is optimistic, because it picks
      the luckiest moment.
    - ``auc``: the mean over env steps: the area under the piecewise linear curve (trapezoids)
      divided by the steps from its first to its last point (`is_point`). Without env steps, over
      iterations. There is no score if any value is not finite.

    Args:
        reports: in the order of training.
        objective: the metric, its mode and the kind of score.
    """
    metric, score = objective.metric, objective.score
    if not reports:
        return Score(None, problem="no report")
    if score == "last":
        return _score_last(reports, metric)
    values = [
        (index, value)
        for index, report in enumerate(reports)
        if (value := metric_value(report, metric)) is not None
        and (score != "auc" or is_point(report, metric))
    ]
    if not values:
        return Score(None, problem=f"never reported {metric}")
    finite = [(index, value) for index, value in values if math.isfinite(value)]
    if not finite or (score == "auc" and len(finite) < len(values)):
        bad = next(value for _, value in reversed(values) if not math.isfinite(value))
        return Score(None, problem=f"{metric} is {_spell(bad)}")
    if score == "best":
        index, value = max(finite, key=lambda item: (objective.merit(item[1]), -item[0]))
        return Score(value, index)
    return Score(_mean_over_steps(reports, finite), finite[-1][0])


def _score_last(reports: Sequence[Report], metric: str) -> Score:
    # Backwards, because histories can be long.
    for index in range(len(reports) - 1, -1, -1):
        value = metric_value(reports[index], metric)
        if value is None:
            continue
        if math.isfinite(value):
            return Score(value, index)
        return Score(None, problem=f"last {metric} is {_spell(value)}")
    return Score(None, problem=f"never reported {metric}")


def _mean_over_steps(reports: Sequence[Report], values: list[tuple[int, float]]) -> float:
    positions = [env_steps_of(reports[index]) for index, _ in values]
    if any(position is None for position in positions):
        positions = [metric_value(reports[index], ITERATION) for index, _ in values]
    steps = [
        float(index) if position is None else position
        for position, (index, _) in zip(positions, values, strict=True)
    ]
    return mean_over_steps(steps, [value for _, value in values])


def mean_over_steps(steps: Sequence[float], heights: Sequence[float]) -> float:
    """The mean of a piecewise linear curve over its steps; its last height if it has no width.

    Args:
        steps: ascending, at least one.
        heights: as many.
    """
    span = steps[-1] - steps[0]
    if span <= 0:
        return heights[-1]
    # Weigh each height by its share of the span first: a sum of values near the largest float
    # would overflow.
    return sum(
        (right - left) / span * (0.5 * low + 0.5 * high)
        for left, right, low, high in zip(steps, steps[1:], heights, heights[1:], strict=False)
    )


def _spell(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "infinite" if value > 0 else "minus infinite"


def iteration_of(metrics: Mapping[str, Any]) -> float | None:
    """The training iteration of a report or a checkpoint's metrics."""
    return metric_value(metrics, ITERATION)
