"""What stands beside the value of a run's champion: one agent is not its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.evidence.record import Selection
from sweeper.metrics import is_of_evaluation
from sweeper.spec import ExperimentSpec

__all__ = ["ChampionsRuns", "describe_champion", "does_explore"]


@dataclass(frozen=True)
class ChampionsRuns:
    """What stands beside the value of a run's champion: one agent is not its configuration.

    Attributes:
        trial_id: the winning trial.
        played: the trial that the agent is from: the same, or one of the confirmation.
        seed: that the agent was trained with.
        metric: that the run selects by.
        mean: of the confirmation's training runs, or else the search's score.
        runs: the value of each of these training runs; empty without a confirmation.
        deviation: their standard deviation; without a confirmation that of the search's replicas.
        replicas: how many of the search's replicas have a score.
        is_confirmed: whether the mean is the confirmation's.
        explore: whether the episodes behind the mean were played with sampled actions, as those
            while training are.
        diverged: how many of the runs behind the mean diverged and count as the worst.
    """

    trial_id: str
    played: str
    seed: int | None
    metric: str
    mean: float
    runs: tuple[float, ...]
    deviation: float | None
    replicas: int
    is_confirmed: bool
    explore: bool
    diverged: int = 0


def describe_champion(
    selection: Selection, spec: ExperimentSpec, description: Mapping[str, Any]
) -> ChampionsRuns:
    """What all training runs of the champion's configuration came to.

    Args:
        selection: of the run.
        spec: of the run.
        description: of the agent that played.
    """
    evidence = selection.evidence
    is_confirmed = selection.confirmed is not None and evidence is not None
    diverged = selection.diverged
    if is_confirmed and evidence is not None:
        diverged = evidence.diverged
    is_evaluated = is_confirmed or is_of_evaluation(selection.metric)
    return ChampionsRuns(
        trial_id=selection.trial_id,
        played=str(description.get("retrained_as") or selection.trial_id),
        seed=description.get("seed"),
        metric=selection.metric,
        mean=selection.confirmed if selection.confirmed is not None else selection.score,
        runs=evidence.finished if is_confirmed and evidence is not None else (),
        deviation=evidence.deviation
        if is_confirmed and evidence is not None
        else selection.deviation,
        replicas=selection.replicas,
        is_confirmed=is_confirmed,
        explore=does_explore(spec) if is_evaluated else True,
        diverged=diverged,
    )


def does_explore(spec: ExperimentSpec) -> bool:
    """Whether a run's evaluations, and its confirmation's episodes, sample their actions."""
    return spec.evaluation is not None and spec.evaluation.explore
