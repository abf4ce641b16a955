"""The selection as a run's records have it now, and whether ``champion/`` is what it chose."""

from __future__ import annotations

from pathlib import Path

from sweeper.checkpoint_marker import find_damage
from sweeper.evidence.record import Selection
from sweeper.evidence.selection import select
from sweeper.evidence.unconfirmed import explain_unconfirmed
from sweeper.metrics import Objective
from sweeper.paths import CheckpointPaths
from sweeper.results.records import SweepResults
from sweeper.run_files import read_json
from sweeper.spec import ExperimentSpec
from sweeper.storage.checkpoints import stored_sizes

__all__ = ["is_written", "select_current"]


def select_current(
    results: SweepResults, objective: Objective, spec: ExperimentSpec | None
) -> Selection:
    """Select the winner of a run, of the checkpoints that are there and whole.

    Args:
        results: of the run.
        objective: how trials are judged.
        spec: the run's; None for a Tune experiment, which has none.

    Raises:
        NothingToSelect: no trial has a score.
    """
    chosen = None if spec is None else spec.selection
    return select(
        results,
        objective,
        exists=_is_usable,
        solved_at=None if chosen is None else chosen.solved_at,
        unconfirmed=explain_unconfirmed(
            results, objective, finalists=0 if chosen is None else chosen.finalists
        ),
    )


def is_written(selection: Selection, champion: Path) -> bool:
    """Whether a champion's folder holds the winner's agent as it was chosen."""
    chosen = selection.agent
    names = ("trial_id", "seed", "env_steps", "retrained_as")
    try:
        agent = read_json(CheckpointPaths(champion).agent)
        written = tuple(agent.get(name) for name in names)
    except (OSError, ValueError, AttributeError):
        return False
    if chosen is None:
        return written == (selection.trial_id, selection.seed, selection.env_steps, None)
    return written == (selection.trial_id, chosen.seed, chosen.env_steps, chosen.trial_id)


def _is_usable(checkpoint: Path) -> bool:
    """Whether a checkpoint is there and, as far as its files' sizes show, whole."""
    is_there = checkpoint.is_dir() or bool(stored_sizes(checkpoint))
    return is_there and find_damage(checkpoint, reads_all=False) is None
