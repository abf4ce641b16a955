"""The examination at the end of a confirmation's trial: what its replicas are judged by.

Every replica plays episodes of the stage ``evaluation``, which neither training nor the trial's
own evaluations have seen. Replicas of the same seed play the same ones, whatever they were
trained with, so that configurations are compared in pairs. The best replica then plays on seeds of
the stage ``agent evaluation``: it was chosen by the first episodes, so they flatter it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.metrics import EXAMINED, Objective, examined_metric
from sweeper.trainables.contract import (
    EvaluationResult,
    EvaluationSettings,
    Examination,
    ReplicaTrainer,
)

__all__ = ["AGENT_STAGE", "CONFIGURATION_STAGE", "Examined", "examine"]

CONFIGURATION_STAGE = "evaluation"
AGENT_STAGE = "agent evaluation"

_STATISTICS: Mapping[str, Callable[[EvaluationResult], float]] = {
    "episode_return_mean": lambda result: float(np.mean(result.episode_returns)),
    "episode_return_min": lambda result: min(result.episode_returns),
    "episode_return_max": lambda result: max(result.episode_returns),
    "episode_len_mean": lambda result: float(np.mean(result.episode_lengths)),
}


@dataclass(frozen=True)
class Examined:
    """What an examination came to.

    Attributes:
        row: columns for the trial's last row: ``confirmation/<statistic>`` over the replicas,
            ``replica/confirmation/<statistic>`` with None for a replica without a value
            (diverged), and ``agent/…`` for the best replica: its index, and the return of each of
            its episodes. Without any value only the lists.
        results: of each replica, None for one that did not play.
    """

    row: Mapping[str, Any]
    results: tuple[EvaluationResult | None, ...]


def examine(
    trainer: ReplicaTrainer, settings: EvaluationSettings, objective: Objective
) -> Examined:
    """Judge a trainer's replicas, and the best of them again.

    One that diverges in the second episodes is not the best one after all.

    Args:
        trainer: trained to its end.
        settings: how many episodes, and how they are played.
        objective: what decides which replica is the best.
    """
    results = trainer.evaluate(Examination(settings, CONFIGURATION_STAGE))
    while True:
        row = _describe(results)
        best = _find_best(row, objective)
        if best is None:
            return Examined(row, tuple(results))
        again = trainer.evaluate(Examination(settings, AGENT_STAGE, (best,)))[best]
        if again is None or not again.diverged:
            break
        results[best] = again
    row["agent/replica"] = best
    if again is not None:
        row["agent/episode_returns"] = list(again.episode_returns)
        row["agent/episode_lengths"] = list(again.episode_lengths)
    return Examined(row, tuple(results))


def _describe(results: Sequence[EvaluationResult | None]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, statistic in _STATISTICS.items():
        values = [
            None if result is None or result.diverged else statistic(result) for result in results
        ]
        row[f"replica/{EXAMINED}{name}"] = values
        present = [value for value in values if value is not None]
        if present:
            row[f"{EXAMINED}{name}"] = float(np.mean(present))
    return row


def _find_best(row: Mapping[str, Any], objective: Objective) -> int | None:
    """The replica with the best value; of equals the first."""
    metric = examined_metric(objective.metric)
    values: Sequence[float | None] = row.get(f"replica/{metric}", ())
    merits = [objective.merit(value) for value in values]
    best = max(merits, default=-math.inf)
    return merits.index(best) if math.isfinite(best) else None
