"""The weights that a run began with, in its own folder.

A run that is resumed before its first checkpoint begins with them again, wherever they came from.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from sweeper.checkpoint_marker import find_damage, mark_complete
from sweeper.errors import UserError
from sweeper.hints import join_words
from sweeper.origin import Origin
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.planning.plan import SweepPlan
from sweeper.running.resume.state import LaunchState
from sweeper.syncing import sync_tree

__all__ = ["check_start", "find_beginners", "write_start"]


def write_start(origin: Origin, paths: RunPaths) -> None:
    """Copy the weights into a new run's folder, and have them on the disk.

    Raises:
        OSError: they can't be written.
    """
    if origin.weights is None:
        return
    paths.start.mkdir()
    arrays = {name: np.ascontiguousarray(array) for name, array in origin.weights.items()}
    try:
        save_file(arrays, CheckpointPaths(paths.start).weights)
    except SafetensorError as error:
        raise OSError(f"{paths.start} can't be written: {error}") from error
    mark_complete(paths.start)
    sync_tree(paths.start, below=paths.root)


def find_beginners(plan: SweepPlan, state: LaunchState) -> list[str]:
    """The trials of a launch that begin with the weights, not with a checkpoint of their own."""
    again = [one.trial_id for one in state.continuations if one.checkpoint is None]
    return [*again, *(["the next trial"] if state.asked < plan.trials else [])]


def check_start(origin: Origin, paths: RunPaths, trials: Sequence[str]) -> None:
    """Check that the weights that trials begin with are still in the run's folder.

    Args:
        origin: of the run.
        paths: the run's.
        trials: that have no checkpoint, and begin again or for the first time.

    Raises:
        UserError: there are such trials, and the weights are missing or damaged.
    """
    if not trials:
        return
    marker = CheckpointPaths(paths.start).marker
    damage = find_damage(paths.start) if os.path.lexists(marker) else f"{marker.name} is missing"
    if damage is not None:
        raise UserError(
            f"{join_words(list(trials))} of {paths.root.name} would begin with {origin}, but the "
            f"copy in {paths.start} is damaged: {damage}; put it back, or begin anew with "
            "`sweeper train SPEC --from CHECKPOINT`"
        )
