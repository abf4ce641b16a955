"""Count a diverged replica with the worst value that any replica of the run has reported.

That holds for every metric of episodes; a loss is the mean of the others. A trial knows only its
own replicas and counts a diverged one with their worst value. The driver sees all trials and puts
in the run's worst before the report is recorded. What has been reported counts for good, even if
the trial goes on from an earlier checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sweeper.episode_metrics import combine_replicas, is_of_episodes, pick_worst
from sweeper.journal import TrialReported, read_journal
from sweeper.metrics import Objective
from sweeper.paths import RunPaths

__all__ = ["DivergenceCorrection"]

_PREFIX = "replica/"
_DIVERGED = "replica/diverged"


class DivergenceCorrection:
    """Corrects a run's reports, in their order; the objective says which value is worst."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._worst: dict[str, float] = {}

    def replay(self, paths: RunPaths) -> None:
        """Learn from all reports that earlier launches of a run recorded."""
        for event in read_journal(paths.journal):
            if isinstance(event, TrialReported):
                self.apply(event.metrics)

    def apply(self, metrics: Mapping[str, Any]) -> Mapping[str, Any]:
        """Learn from a report, and return it with the run's worst for diverged replicas.

        Args:
            metrics: a flat row with ``replica/<metric>`` lists and, once a replica has diverged,
                ``replica/diverged``.
        """
        diverged = metrics.get(_DIVERGED)
        corrected = dict(metrics)
        for name, values in metrics.items():
            metric = name.removeprefix(_PREFIX)
            if metric == name or metric not in metrics or not isinstance(values, list):
                continue
            if not is_of_episodes(metric):
                continue
            pick = pick_worst(metric, self._objective)
            flags = diverged or [False] * len(values)
            if len(flags) != len(values):  # a report of another program
                continue
            for value, is_diverged in zip(values, flags, strict=True):
                if not is_diverged and _is_finite(value):
                    self._worst[metric] = pick(value, self._worst.get(metric, value))
            if any(flags) and metric in self._worst:
                counted = [
                    self._worst[metric] if is_diverged else value
                    for value, is_diverged in zip(values, flags, strict=True)
                ]
                corrected[name] = counted
                if None not in counted:
                    corrected[metric] = combine_replicas(metric, counted)
        return corrected


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
