"""Old runs: which there are, what they weigh, and their deletion.

What may be deleted is a folder directly under the storage, or named by the user, that holds a
journal, is no link, and is not being carried out. MLflow's record is another matter, and stays.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import SweeperError, UserError
from sweeper.locks import is_locked, run_lock
from sweeper.paths import RunPaths, find_run, list_runs
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults
from sweeper.states import LaunchEnd, TrialState
from sweeper.upkeep.overview import DAMAGED

__all__ = ["OldRun", "Wish", "choose_runs", "delete_run", "parse_age", "weigh_folder"]

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


@dataclass(frozen=True)
class Wish:
    """Which runs are to go; what is given must all hold.

    Attributes:
        names: these, by path or by name under the storage; empty: any.
        older_than_s: nothing happened in them for so long.
        only_failed: they came to nothing (`OldRun.is_failed`).
        keep: the newest ones under the storage stay, whatever else is asked.
    """

    names: tuple[str, ...] = ()
    older_than_s: float | None = None
    only_failed: bool = False
    keep: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it asks for nothing in particular, that is for everything."""
        return self == Wish()


@dataclass(frozen=True)
class OldRun:
    """A run that may be deleted.

    Attributes:
        root: its folder.
        state: as `sweeper list` has it, or ``damaged``.
        trials: how many its journal has.
        is_failed: it came to nothing: its launch failed, every trial of it did, or it can't be
            read. One that was interrupted can go on, and did not fail.
        updated: when something happened in it last, seconds since the epoch.
        size: in bytes.
    """

    root: Path
    state: str
    trials: int
    is_failed: bool
    updated: float
    size: int

    def to_json(self) -> dict[str, Any]:
        """The object that `sweeper clean --json` prints."""
        return {
            "run": str(self.root),
            "state": self.state,
            "trials": self.trials,
            "updated": self.updated,
            "size_bytes": self.size,
        }


def parse_age(text: str) -> float:
    """Seconds of an age such as ``7d``, ``12h``, ``90m``, ``2w``.

    Raises:
        UserError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if match is None:
        raise UserError(f"{text!r} is no age: give a number and a unit, as 12h, 7d or 2w")
    return float(match[1]) * _UNITS_S[match[2]]


def choose_runs(storage: Path, wish: Wish, *, now: float | None = None) -> list[OldRun]:
    """The runs that a wish is about, oldest first; live ones are never among them.

    Raises:
        UserError: a run that was named does not exist, is live or is a link.
    """
    now = time.time() if now is None else now
    runs = list_runs(storage)
    kept = {run.root for run in runs[len(runs) - wish.keep :]} if wish.keep else set()
    if wish.names:
        runs = list({run.root: run for run in (find_run(n, storage) for n in wish.names)}.values())
    chosen = []
    for paths in runs:
        results = _read(paths)
        problem = _refuse(paths, results)
        if problem and wish.names:
            raise UserError(f"{paths.root.name} is not deleted: {problem}")
        if problem or paths.root in kept:
            continue
        run = _look_at(paths, results)
        if wish.only_failed and not run.is_failed:
            continue
        if wish.older_than_s is not None and now - run.updated < wish.older_than_s:
            continue
        chosen.append(run)
    return chosen


def delete_run(run: OldRun) -> None:
    """Delete a run's folder, the journal last: cut short, it is still a run, to be deleted again.

    Raises:
        UserError: it has come to life, or is no run any more.
        SweeperError: something of it can't be deleted.
    """
    paths = RunPaths(run.root)
    problem = _refuse(paths, _read(paths))
    if problem:
        raise UserError(f"{run.root.name} is not deleted: {problem}")
    with run_lock(paths.lock):  # nobody takes it up meanwhile
        try:
            for entry in run.root.iterdir():
                if entry in (paths.journal, paths.lock):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            paths.journal.unlink()
            paths.lock.unlink(missing_ok=True)
            run.root.rmdir()
        except OSError as error:
            raise SweeperError(f"can't delete {error.filename}: {error.strerror}") from error


def weigh_folder(folder: Path) -> int:
    """The bytes of all files in a folder; links count as links."""
    size = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                size += (Path(root) / name).lstat().st_size
            except OSError:  # deleted meanwhile
                continue
    return size


def _read(paths: RunPaths) -> SweepResults | None:
    """What the journal says; None if it can't be read."""
    try:
        return load_results(paths)
    except SweeperError:
        return None


def _refuse(paths: RunPaths, results: SweepResults | None) -> str | None:
    """Why a folder must not be deleted; None if it may."""
    if paths.root.is_symlink():
        return f"it is a link to {paths.root.readlink()}"
    if not paths.journal.is_file():
        return "it is no run: it has no journal"
    # One that is about to start holds the lock and has no event yet.
    if is_locked(paths.lock) or (results is not None and results.is_live):
        return f"it is running; `sweeper stop {paths.root.name}` ends it"
    return None


def _look_at(paths: RunPaths, results: SweepResults | None) -> OldRun:
    counts = {} if results is None else results.counts()
    state = DAMAGED if results is None else results.state
    trials = sum(counts.values())
    written = results.updated if results is not None else None
    return OldRun(
        root=paths.root,
        state=state,
        trials=trials,
        is_failed=state == LaunchEnd.FAILED or counts.get(TrialState.ERROR, 0) == trials,
        updated=paths.journal.stat().st_mtime if written is None else written,
        size=weigh_folder(paths.root),
    )
