"""The learning curve of a champion: the mean over its training runs, against env steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.evidence.comparing.entry import Entry
from sweeper.evidence.confirmation import ran_to_its_end
from sweeper.evidence.learning import replica_curves
from sweeper.evidence.statistics import Curve
from sweeper.results.records import TrialRecord
from sweeper.states import Stage

__all__ = ["MeanCurve", "mean_curve", "read_curves"]

_RETURN = "episode_return_mean"


@dataclass(frozen=True)
class MeanCurve:
    """The mean learning curve of a configuration's training runs.

    Attributes:
        metric: of its values.
        stage: whose runs they are: ``confirmation``, or ``search``.
        runs: how many the mean is over.
        env_steps: float[points], ascending, at least one.
        values: float[points].
    """

    metric: str
    stage: str
    runs: int
    env_steps: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, env_steps: float) -> float | None:
        """The value at some env steps; None before its first point and after its last one."""
        if not self.env_steps[0] <= env_steps <= self.env_steps[-1]:
            return None
        return float(np.interp(env_steps, self.env_steps, self.values))

    def to_json(self) -> dict[str, Any]:
        """The curve in JSON types."""
        return {
            "metric": self.metric,
            "stage": self.stage,
            "runs": self.runs,
            "env_steps": list(self.env_steps),
            "values": list(self.values),
        }


def read_curves(entries: Sequence[Entry]) -> tuple[MeanCurve | None, ...]:
    """The curve of each run's champion: of its confirmation if it has one, else of the search.

    All are of one metric where that is possible: the one that the runs are compared by, or the
    returns while training, which runs of a confirmation always have.

    Returns:
        None in the place of a run without a curve.
    """
    metric = entries[0].objective.metric
    is_return = metric.rpartition("/")[2] == _RETURN
    metrics = dict.fromkeys((metric, *([_RETURN] if is_return else ())))
    found = [
        [_read(entry, metric, stage or entry.champions_stage) for entry in entries]
        for stage in (None, Stage.SEARCH)
        for metric in metrics
    ]
    whole = next((curves for curves in found if None not in curves), None)
    if whole is not None:
        return tuple(whole)
    return tuple(
        next((one for one in column if one is not None), None)
        for column in zip(*found, strict=True)
    )


def mean_curve(curves: Sequence[Curve], *, metric: str, stage: str) -> MeanCurve | None:
    """The mean of several runs' curves.

    It begins where each of them has a value. One that ends before the others keeps its last value,
    for that is what its training came to.

    Args:
        curves: each piecewise linear.
        metric: of their values.
        stage: of the runs.
    """
    if not curves:
        return None
    begin = max(curve.env_steps[0] for curve in curves)
    steps = np.unique(np.concatenate([curve.env_steps for curve in curves]))
    steps = steps[steps >= begin]
    values = np.mean([np.interp(steps, one.env_steps, one.values) for one in curves], axis=0)
    return MeanCurve(
        metric=metric,
        stage=stage,
        runs=len(curves),
        env_steps=tuple(map(float, steps)),
        values=tuple(map(float, values)),
    )


def _read(entry: Entry, metric: str, stage: Stage) -> MeanCurve | None:
    curves = [
        curve
        for record in _records(entry, stage)
        for curve in replica_curves(record.reports, metric)
    ]
    return mean_curve(curves, metric=metric, stage=stage)


def _records(entry: Entry, stage: Stage) -> list[TrialRecord]:
    results, champion = entry.results, entry.selection.trial_id
    if stage is Stage.SEARCH:
        return [results.trial(champion)]
    return [
        one
        for one in results.retrained
        if one.of == champion and not one.is_outdated and ran_to_its_end(one)
    ]
