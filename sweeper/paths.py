"""Every file name of a run folder, and how a run is found by the name a user gives it."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from sweeper.errors import UserError

__all__ = [
    "CheckpointPaths",
    "RunPaths",
    "create_run_folder",
    "find_run",
    "is_run",
    "list_runs",
    "write_atomically",
]

_STAMP = re.compile(r"-(\d{8}-\d{6})(?:-(\d+))?$")


@dataclass(frozen=True)
class RunPaths:
    """The layout of one run folder; ``root`` is absolute."""

    root: Path

    @property
    def spec(self) -> Path:
        """The spec as run: composed, interpolated, overrides applied."""
        return self.root / "spec.yaml"

    @property
    def plan(self) -> Path:
        """The plan that was carried out."""
        return self.root / "plan.json"

    @property
    def environment(self) -> Path:
        """Versions, git commit, seeds and command of every launch."""
        return self.root / "environment.json"

    @property
    def journal(self) -> Path:
        """The append-only truth; a folder is a run if this file is in it."""
        return self.root / "journal.jsonl"

    @property
    def trials(self) -> Path:
        """One folder a trial."""
        return self.root / "trials"

    @property
    def tune(self) -> Path:
        """What a launch's Tuner writes for itself; nothing reads it, so it goes with the launch."""
        return self.root / "tune"

    @property
    def selection(self) -> Path:
        """Who won, why, and who was excluded."""
        return self.root / "selection.json"

    @property
    def champion(self) -> Path:
        """The champion's standalone agent."""
        return self.root / "champion"

    @property
    def lock(self) -> Path:
        """Locked by the process that carries the run out, for as long as it lives."""
        return self.root / ".lock"

    @property
    def stop_request(self) -> Path:
        """Its presence asks the process that carries the run out to end, in order."""
        return self.root / ".stop"

    def trial(self, trial_id: str) -> Path:
        """The folder of one trial: its checkpoints and its log."""
        return self.trials / trial_id

    def trial_log(self, trial_id: str) -> Path:
        """What the trial's process printed, and the traceback of its failure."""
        return self.trial(trial_id) / "log.txt"


@dataclass(frozen=True)
class CheckpointPaths:
    """The files of one checkpoint, or of ``champion/``; ``root`` is its folder."""

    root: Path

    # What training needs beside the agent, the file without which it can't go on first: a
    # checkpoint that was trimmed halfway is never taken for whole.
    TRAINER_FILES: ClassVar[tuple[str, ...]] = (
        "trainer.json",
        "trainer.safetensors",
        "replay.safetensors",
    )

    @property
    def agent(self) -> Path:
        """What the agent is: algorithm, environment, spaces, network."""
        return self.root / "agent.json"

    @property
    def weights(self) -> Path:
        """A torch agent's tensors, the replicas first."""
        return self.root / "weights.safetensors"

    @property
    def state(self) -> Path:
        """The trial's counters and the trainer's; training goes on only where it is."""
        return self.root / self.TRAINER_FILES[0]

    @property
    def trainer(self) -> Path:
        """The tensors of the torch trainer: the optimiser's."""
        return self.root / self.TRAINER_FILES[1]

    @property
    def replay(self) -> Path:
        """DQN's replay memories."""
        return self.root / self.TRAINER_FILES[2]

    @property
    def algorithm(self) -> Path:
        """In ``champion/``: RLlib's own checkpoint."""
        return self.root / "checkpoint"

    def replica(self, seed: int) -> Path:
        """RLlib's own checkpoint of one replica."""
        return self.root / f"replica_{seed}"

    @property
    def is_resumable(self) -> bool:
        """Whether training can go on from it."""
        return self.state.is_file()


def create_run_folder(storage: Path, name: str, now: datetime) -> RunPaths:
    """Make ``<storage>/<name>-<YYYYmmdd-HHMMSS>``, with a counter behind it if that is taken.

    Raises:
        UserError: the folder can't be made there.
    """
    stem = f"{name}-{now:%Y%m%d-%H%M%S}"
    for suffix in ("", *(f"-{n}" for n in range(2, 1000))):
        root = storage.absolute() / f"{stem}{suffix}"
        try:
            root.mkdir(parents=True)
        except FileExistsError:
            if not storage.is_dir():
                raise UserError(f"storage {storage} is a file; give a folder") from None
            continue
        except OSError as error:
            raise UserError(
                f"can't make the run folder {root}: {error.strerror}; "
                "give another folder with storage=PATH"
            ) from error
        return RunPaths(root)
    raise UserError(f"{storage} holds too many runs named {stem}; give another name")


def list_runs(storage: Path) -> list[RunPaths]:
    """The runs under a storage folder, oldest first by the time in the folder's name."""
    if not storage.is_dir():
        return []
    runs = [RunPaths(entry.absolute()) for entry in storage.iterdir() if is_run(entry)]
    return sorted(runs, key=_age_key)


def _age_key(run: RunPaths) -> tuple[str, int, str]:
    """The journal's own time would not do: it moves with every event, so that `last` flips."""
    match = _STAMP.search(run.root.name)
    if match:
        return match[1], int(match[2] or 1), run.root.name
    made = datetime.fromtimestamp(run.root.stat().st_mtime)
    return f"{made:%Y%m%d-%H%M%S}", 1, run.root.name


def is_run(folder: Path) -> bool:
    """Whether a folder is a run: one that holds a journal."""
    return (folder / "journal.jsonl").is_file()


def find_run(reference: str, storage: Path) -> RunPaths:
    """The run that ``reference`` names: a path, a folder's name under ``storage``, or ``last``.

    Raises:
        UserError: there is no such run; the message lists the runs that are there.
    """
    runs = list_runs(storage)
    if reference == "last":
        if runs:
            return runs[-1]
        raise UserError(f"no run in {storage} yet; start one with `sweeper run SPEC`")
    for folder in (Path(reference), storage / reference):
        if is_run(folder):
            return RunPaths(folder.absolute())
    names = [run.root.name for run in runs]
    known = f"; the last runs in {storage}: {', '.join(names[-5:])}" if names else ""
    raise UserError(f"no run {reference!r}: give a path, a name in {storage}, or `last`{known}")


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all: a temporary name beside it, then a rename."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
