"""What stands beside the value of a run's champion: one agent is not its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import UserError
from sweeper.evidence.record import load_selection
from sweeper.paths import find_run, is_run

__all__ = ["ChampionsRuns", "describe_champion"]


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


def describe_champion(
    target: str, storage: str, description: Mapping[str, Any]
) -> ChampionsRuns | None:
    """What all training runs of the champion's configuration came to; None if no run is played."""
    folder = Path(target)
    if folder.is_dir() and not is_run(folder):
        return None
    paths = find_run(target, Path(storage))
    try:
        selection = load_selection(paths.selection)
    except UserError:
        return None
    evidence = selection.evidence
    is_confirmed = selection.confirmed is not None and evidence is not None
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
    )
