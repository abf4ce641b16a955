"""The order of trials, ties included, and of a trial's checkpoints; used everywhere.

`Candidate.rank` breaks ties between trials, `best_checkpoint` between checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.metrics import Objective
from sweeper.results.records import TrialCheckpoint, TrialRecord, judge_trial
from sweeper.results.scoring import env_steps_of, iteration_of, metric_value
from sweeper.states import TrialState

__all__ = ["Candidate", "Rank", "best_checkpoint", "best_replica", "id_key", "rank_trial"]

Rank = tuple[bool, float, float, tuple[int, str]]


@dataclass(frozen=True)
class Candidate:
    """A trial with a score; ``report`` is the index of the report that earned it."""

    trial: TrialRecord
    score: float
    report: int

    @property
    def row(self) -> Mapping[str, Any]:
        """The report that earned the score."""
        return self.trial.reports[self.report]

    @property
    def is_pruned(self) -> bool:
        """Whether a scheduler stopped the trial, for others were better at as many env steps."""
        return self.trial.state is TrialState.PRUNED

    @property
    def ran_to_end(self) -> bool:
        """Whether it met a stop criterion of its own: it was not pruned or paused, nor runs."""
        return self.trial.state is TrialState.TERMINATED

    @property
    def env_steps(self) -> float:
        """The env steps of that report; infinite if not reported."""
        steps = env_steps_of(self.row)
        return math.inf if steps is None or not math.isfinite(steps) else steps

    def rank(self, objective: Objective) -> Rank:
        """A key that sorts the best first: by score, then fewer env steps, then lower id.

        Those that a scheduler stopped come after all others: a score at a tenth of the
        env steps says little of the one at the end.
        """
        score = -objective.merit(self.score)
        return self.is_pruned, score, self.env_steps, id_key(self.trial.trial_id)


def rank_trial(trial: TrialRecord, objective: Objective) -> Rank:
    """A key that sorts trials, the best first and those without a score last."""
    verdict = judge_trial(trial, objective)
    if verdict.value is None or verdict.report is None:
        return True, math.inf, math.inf, id_key(trial.trial_id)
    return Candidate(trial, verdict.value, verdict.report).rank(objective)


def best_checkpoint(
    checkpoints: Sequence[TrialCheckpoint], objective: Objective, *, earned_at: float | None
) -> TrialCheckpoint:
    """The checkpoint that goes with a trial's best score.

    That is the last one made after the report that earned the score. Without one, it is the one
    with the best recorded metric; of equals the nearest to that report.

    Args:
        checkpoints: at least one, in the order they were made.
        objective: the metric and its mode.
        earned_at: the iteration of the report that earned the score, if known.
    """
    for checkpoint in checkpoints[::-1]:
        if earned_at is not None and iteration_of(checkpoint.metrics) == earned_at:
            return checkpoint

    def merit(checkpoint: TrialCheckpoint) -> tuple[float, float]:
        made_at = iteration_of(checkpoint.metrics)
        return (
            objective.merit(metric_value(checkpoint.metrics, objective.metric)),
            -math.inf if made_at is None or earned_at is None else -abs(made_at - earned_at),
        )

    return max(checkpoints, key=merit)


def best_replica(row: Mapping[str, Any], objective: Objective) -> int:
    """The index of the replica that did best by a report; of equals the first.

    A diverged replica is recorded with a substitute value; it is chosen only if all diverged.
    """
    values = row.get(f"replica/{objective.metric}")
    if not isinstance(values, Sequence) or isinstance(values, str):
        return 0
    diverged = row.get("replica/diverged") or ()
    merits = [
        (
            not (index < len(diverged) and diverged[index]),
            objective.merit(value if isinstance(value, int | float) else None),
        )
        for index, value in enumerate(values)
    ]
    return merits.index(max(merits)) if merits else 0


def id_key(trial_id: str) -> tuple[int, str]:
    """Sorts ``t9999`` before ``t10000``."""
    return len(trial_id), trial_id
