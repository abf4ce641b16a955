"""Old runs: choose them, measure them, delete them.

Only a folder directly under the storage, or one that the user names, may be deleted. It must
hold a journal, and be neither a link nor live. MLflow's record of the run stays.
"""

from __future__ import annotations

import re
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import SweeperError, UserError
from sweeper.locks import is_locked, run_lock
from sweeper.paths import RunPaths, find_run, list_runs, run_reference
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults
from sweeper.run_files import delete_tree, is_regular, walk_files
from sweeper.states import LaunchEnd, TrialState
from sweeper.storage.address import address_of
from sweeper.storage.checkpoints import stored_sizes
from sweeper.storage.working_copy import delete_stored_run
from sweeper.upkeep.overview import DAMAGED

__all__ = ["OldRun", "choose_runs", "delete_run", "folder_bytes", "parse_age"]

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


@dataclass(frozen=True)
class OldRun:
    """A run that may be deleted. The fields are the keys of `sweeper clean --json`.

    Attributes:
        run: the run's folder.
        state: as in `sweeper list`.
        trials: number of trials in the journal.
        updated: time of the last event, seconds since the epoch.
        size_bytes: of all files.
    """

    run: Path
    state: str
    trials: int
    updated: float
    size_bytes: int


def parse_age(text: str) -> float:
    """Convert an age such as ``7d``, ``12h``, ``90m`` or ``2w`` to seconds.

    Raises:
        UserError: the text is not an age.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if match is None:
        raise UserError(f"{text!r} is not an age: give a number and a unit, such as 12h, 7d or 2w")
    return float(match[1]) * _UNITS_S[match[2]]


def choose_runs(
    storage: Path,
    *,
    names: Sequence[str] = (),
    older_than_s: float | None = None,
    only_failed: bool = False,
    keep: int | None = None,
) -> list[OldRun]:
    """List the runs that meet every given condition, oldest first, without live ones.

    Args:
        storage: the folder that holds the runs.
        names: paths, or names under the storage; empty for all runs.
        older_than_s: minimum age of the run's last event.
        only_failed: only runs that can't be read, whose launch failed or whose trials all failed.
            An interrupted run can be resumed, so it did not fail.
        keep: number of newest runs under the storage that are never chosen.

    Raises:
        UserError: a named run does not exist, is live or is a link.
    """
    runs = list_runs(storage)
    kept = {run.root for run in runs[max(0, len(runs) - keep) :]} if keep else set()
    if names:
        runs = list({run.root: run for run in (find_run(name, storage) for name in names)}.values())
    chosen = []
    for paths in runs:
        results = _read_results(paths)
        problem = _explain_refusal(paths, results)
        if problem and names:
            raise UserError(f"{paths.root.name} is not deleted: {problem}")
        if problem or paths.root in kept or (only_failed and not _has_failed(results)):
            continue
        run = _describe_run(paths, results)
        if older_than_s is None or time.time() - run.updated >= older_than_s:
            chosen.append(run)
    return chosen


def delete_run(root: Path) -> None:
    """Delete a run's folder, the journal last, so that a half-deleted one can be deleted again.

    Raises:
        UserError: the run is live now, or its folder is not a run any more.
        SweeperError: a file can't be deleted.
    """
    paths = RunPaths(root)
    problem = _explain_refusal(paths, _read_results(paths))
    if problem:
        raise UserError(f"{root.name} is not deleted: {problem}")
    if address_of(root) is not None:
        delete_stored_run(root)
        return
    with run_lock(paths.lock):  # keeps others from resuming it
        try:
            for entry in list(root.iterdir()):
                if entry in (paths.journal, paths.lock):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    delete_tree(entry)
                else:
                    entry.unlink()
            paths.journal.unlink()
            paths.lock.unlink(missing_ok=True)
            root.rmdir()
        except OSError as error:
            raise SweeperError(f"can't delete {error.filename}: {error.strerror}") from error


def folder_bytes(folder: Path) -> int:
    """The size of all files in a folder that can be read; links are not followed."""
    # What can't be read was deleted meanwhile, or has a path that is too long.
    files = walk_files(folder, on_error=lambda _: None)
    return sum(status.st_size for _, status in files if stat.S_ISREG(status.st_mode))


def _run_bytes(root: Path) -> int:
    """The size of all files of a run: those in its bucket, if it lies in one."""
    stored = stored_sizes(root)
    return folder_bytes(root) if stored is None else sum(stored.values())


def _read_results(paths: RunPaths) -> SweepResults | None:
    """The run's results; None if the journal can't be read."""
    try:
        return load_results(paths)
    except SweeperError:
        return None


def _explain_refusal(paths: RunPaths, results: SweepResults | None) -> str | None:
    """Why a folder must not be deleted; None if it may."""
    if paths.root.is_symlink():
        return f"it is a link to {paths.root.readlink()}"
    if not is_regular(paths.journal):
        return "it is not a run: it has no journal"
    # A run that is just starting holds the lock, but its journal is still empty.
    if is_locked(paths.lock) or (results is not None and results.is_live):
        return f"it is running; `sweeper stop {run_reference(paths.root)}` ends it"
    return None


def _has_failed(results: SweepResults | None) -> bool:
    if results is None or results.state == LaunchEnd.FAILED:
        return True
    if not results.trials:
        return results.state != LaunchEnd.INTERRUPTED
    return all(record.state is TrialState.ERROR for record in results.trials)


def _describe_run(paths: RunPaths, results: SweepResults | None) -> OldRun:
    updated = None if results is None else results.updated
    return OldRun(
        run=paths.root,
        state=DAMAGED if results is None else results.state,
        trials=0 if results is None else len(results.trials),
        updated=paths.journal.stat().st_mtime if updated is None else updated,
        size_bytes=_run_bytes(paths.root),
    )
