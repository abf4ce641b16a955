"""A report as MLflow's metrics: what decides first, the replicas beside it, and no clutter.

MLflow's pages make a section of all metrics with the same text before their last slash, and sort
sections by name, capitals first and names without a slash last. So what decides is in a section
``Decision``, which comes first, also where letters are sorted without regard to their case. The
replicas' curves are in one section.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper.metrics import (
    ENV_STEPS,
    EXAMINED,
    IS_NEW_EVALUATION,
    ITERATION,
    Objective,
    is_of_evaluation,
)
from sweeper.results.scoring import as_float, env_steps_of, metric_value
from sweeper.tracking.naming import metric_name, scalar_metrics

__all__ = ["SCORE", "Row", "RowReader", "final_metrics", "is_decisive", "name_replicas"]

SCORE = "Decision/score"
"""What ranks a trial; its last value is the score."""

_SECTION = "Decision/"
_RETURN = "episode_return_mean"
_REPLICA = "replica/"
# Against env steps these are straight lines, so only their last values are written.
_COUNTS = (ENV_STEPS, ITERATION, "time_total_s", "num_episodes")
# What the configuration sets: no curve, unless it changes.
_SETTING = re.compile(r"learner/(curr_\w+|\w*learning_rate\w*)")


def is_decisive(name: str) -> bool:
    """Whether a metric by MLflow's name is one of those that decide."""
    return name.startswith(_SECTION)


@dataclass(frozen=True)
class Row:
    """A report's metrics by MLflow's names.

    Attributes:
        training: what every report has anew.
        evaluation: what the last evaluation came to, made now or carried forward.
        is_new: whether it was made now, as far as the report tells.
        shown: the part of ``evaluation`` that tells two evaluations apart.
    """

    training: Mapping[str, float]
    evaluation: Mapping[str, float]
    is_new: bool
    shown: Mapping[str, float]


@dataclass
class RowReader:
    """Turns the reports of one trial into metrics, in their order.

    Attributes:
        objective: what ranks the trial; None: nothing does, as in the confirmation.
        seeds: one a replica.
    """

    objective: Objective | None = None
    seeds: Sequence[int] = ()
    _best: float | None = None
    _area: float = 0.0
    _first: float | None = None
    _last: tuple[float, float] | None = None
    _settings: dict[str, float] = field(default_factory=dict)

    def read(self, metrics: Mapping[str, Any]) -> Row:
        """The metrics of a report; does not count it yet (`take`)."""
        plain = {
            name: value
            for name, value in scalar_metrics(metrics).items()
            if name not in _COUNTS and not name.startswith(EXAMINED)
        }
        evaluation = {name: value for name, value in plain.items() if is_of_evaluation(name)}
        training = {name: value for name, value in plain.items() if name not in evaluation}
        shown = dict(evaluation)
        curves = {_RETURN, *([self.objective.metric] if self.objective else [])}
        for name in sorted(curves):
            part = evaluation if is_of_evaluation(name) else training
            part |= self._replica_curves(metrics, name)
        return Row(training, evaluation, bool(metrics.get(IS_NEW_EVALUATION, True)), shown)

    def take(self, metrics: Mapping[str, Any]) -> dict[str, float]:
        """Count a report as a point of the curve; returns the score so far, with its band."""
        objective = self.objective
        if objective is None or metric_value(metrics, objective.metric) is None:
            return {}
        value = metric_value(metrics, objective.metric)
        if value is None or not math.isfinite(value):
            return {SCORE: math.nan}  # MLflow would go on to show the last finite one
        scores = {SCORE: self._score(objective, value, env_steps_of(metrics))}
        replicas = _numbers(metrics.get(f"{_REPLICA}{objective.metric}"))
        if len(replicas) > 1:
            scores |= {f"{SCORE}_min": min(replicas), f"{SCORE}_max": max(replicas)}
        return scores

    def _score(self, objective: Objective, value: float, steps: float | None) -> float:
        if objective.score == "best":
            if self._best is None or objective.merit(value) > objective.merit(self._best):
                self._best = value
            return self._best
        if objective.score == "auc" and steps is not None:
            if self._last is None:
                self._first = steps
            else:
                before, height = self._last
                self._area += max(0.0, steps - before) * (0.5 * height + 0.5 * value)
            self._last = steps, value
            span = steps - (self._first or 0.0)
            return self._area / span if span > 0 else value
        return value

    def without_settings(self, values: Mapping[str, float]) -> dict[str, float]:
        """The metrics of a report without those that only repeat what the configuration sets."""
        kept = {}
        for name, value in values.items():
            if _SETTING.fullmatch(name) and self._settings.setdefault(name, value) == value:
                continue
            if name in self._settings:
                self._settings[name] = math.nan  # it changes: from now on it is a curve
            kept[name] = value
        return kept

    def _replica_curves(self, metrics: Mapping[str, Any], name: str) -> dict[str, float]:
        values = metrics.get(f"{_REPLICA}{name}")
        if not isinstance(values, list | tuple) or len(values) < 2:
            return {}
        curves = name_replicas(name, values, self.seeds)
        if finite := _numbers(values):
            stem = f"{_REPLICA}{name.replace('/', '.')}"
            curves |= {f"{stem}.min": min(finite), f"{stem}.max": max(finite)}
        return curves


def name_replicas(name: str, values: Sequence[Any], seeds: Sequence[int]) -> dict[str, float]:
    """The replicas' finite values of a metric, as ``replica/<metric>.seed_<seed>``."""
    labels = seeds if len(seeds) == len(values) else range(len(values))
    stem = f"{_REPLICA}{name.replace('/', '.')}"
    return {
        metric_name(f"{stem}.seed_{label}"): number
        for label, value in zip(labels, values, strict=True)
        if (number := as_float(value)) is not None and math.isfinite(number)
    }


def final_metrics(metrics: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, float]:
    """Of a trial's last report what is one number and no curve.

    What it cost, and what the episodes of a confirmation came to, also of each replica.
    """
    scalars = scalar_metrics(metrics)
    finals = {
        name: value
        for name, value in scalars.items()
        if name in _COUNTS or name.startswith(EXAMINED)
    }
    examined = f"{_REPLICA}{EXAMINED}{_RETURN}"
    values = metrics.get(examined)
    if isinstance(values, list | tuple):
        finals |= name_replicas(examined.removeprefix(_REPLICA), values, seeds)
    return finals


def _numbers(values: Any) -> list[float]:
    if not isinstance(values, list | tuple):
        return []
    found = (as_float(value) for value in values)
    return [number for number in found if number is not None and math.isfinite(number)]
