"""The file names of a run folder, and how to find a run by the name a user gives."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from sweeper.errors import UserError
from sweeper.journal_lines import LineError, decode_line
from sweeper.run_files import check_tree, delete, open_reading
from sweeper.storage.address import address_of, parse_address, storage_folder
from sweeper.storage.checkpoints import has_file
from sweeper.storage.working_copy import bring_run, bring_storage
from sweeper.syncing import sync

__all__ = [
    "DEFAULT_STORAGE",
    "CheckpointPaths",
    "RunPaths",
    "create_run_folder",
    "find_run",
    "is_run",
    "is_trial_id",
    "list_runs",
    "run_reference",
    "write_atomically",
]

DEFAULT_STORAGE = "runs"
"""The storage in which a command looks for a run that is given by its name."""

_MAX_FIRST_LINE = 2**20  # it holds the spec
_STAMP = re.compile(r"-(\d{8}-\d{6})(?:-(\d+))?$")


class _Entry:
    """An attribute with the path of a file or folder below ``root``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, layout: RunPaths | CheckpointPaths, owner: type) -> Path:
        return layout.root / self._name


@dataclass(frozen=True)
class RunPaths:
    """The layout of one run folder.

    Attributes:
        root: absolute.
        spec: the spec as run: composed, interpolated, overrides applied.
        written: the spec's file as its author wrote it, comments and all, and what it extends.
        plan: the plan as run.
        baseline: the spec of the confirmation's baseline, if that is a file.
        environment: versions, git commit, seeds and command of every launch.
        journal: the append-only record of all events; a folder with this file is a run.
        trials: one folder per trial.
        tune: Tune's own files; nothing reads them, so each launch deletes them at its end.
        selection: the winner, and the trials that were excluded.
        champion: the champion's standalone agent.
        optuna: the search as an Optuna journal, for optuna-dashboard; derived.
        schedule: the champion's values over env steps, as a spec; only of a population.
        report: the page that shows all of it; derived.
        start: the weights that the trials began with, if not with random ones.
        lock: locked by the driver for as long as it lives.
        stop_request: if this file exists, the driver stops in an orderly way.
        stacks: where the processes of a launch show what they are doing; only while it runs.
    """

    root: Path

    spec = _Entry("spec.yaml")
    written = _Entry("spec_as_written.yaml")
    plan = _Entry("plan.json")
    baseline = _Entry("baseline.yaml")
    environment = _Entry("environment.json")
    journal = _Entry("journal.jsonl")
    trials = _Entry("trials")
    tune = _Entry("tune")
    selection = _Entry("selection.json")
    champion = _Entry("champion")
    optuna = _Entry("optuna.log")
    schedule = _Entry("champion_schedule.yaml")
    report = _Entry("report.html")
    start = _Entry("start")
    lock = _Entry(".lock")
    stop_request = _Entry(".stop")
    stacks = _Entry(".stacks")

    def check(self) -> None:
        """Check that Ray will write and read in this folder only.

        Raises:
            UserError: a folder or a file of the trials, or of Tune's, is a link or no file at all.
        """
        try:
            check_tree(self.root, (self.trials.name, self.tune.name))
        except OSError as error:
            raise UserError(
                f"{error.filename}: {error.strerror}; a run can only go on in folders and files "
                "of its own, so nothing was touched"
            ) from error

    def delete_tune(self) -> None:
        """Delete Tune's own files, as far as that is possible."""
        self._delete(self.tune)

    def delete_schedule(self) -> None:
        """Delete the schedule of an earlier winner, as far as that is possible."""
        self._delete(self.schedule)

    def _delete(self, entry: Path) -> None:
        root = self.root.resolve()  # the folder itself may be reached through a link
        with contextlib.suppress(OSError):
            delete(root / entry.name, below=root)

    def trial(self, trial_id: str) -> Path:
        """The folder of one trial: its checkpoints and its log."""
        return self.trials / trial_id

    def trial_log(self, trial_id: str) -> Path:
        """The output of the trial's process, and the traceback if it failed."""
        return self.trial(trial_id) / "log.txt"


@dataclass(frozen=True)
class CheckpointPaths:
    """The files of one checkpoint, or of ``champion/``.

    Attributes:
        root: its folder.
        agent: describes the agent: algorithm, environment, spaces, network.
        weights: a torch agent's tensors; axis 0 is the replica.
        state: the counters of the trial and its trainer; training can't resume without them.
        trainer: the torch trainer's own tensors: the optimiser's state.
        replay: DQN's replay memories.
        algorithm: in ``champion/``: RLlib's own checkpoint.
        rllib_metadata: the file that RLlib writes into each of its own checkpoints.
        marker: written last; it has the size and checksum of every other file.
        seal: of the user who made it, added by the driver.
    """

    root: Path

    # What training needs beside the agent. Trimming deletes them in this order, so a checkpoint
    # that was trimmed halfway is not taken for resumable.
    TRAINER_FILES: ClassVar = ("trainer.json", "trainer.safetensors", "replay.safetensors")

    agent = _Entry("agent.json")
    weights = _Entry("weights.safetensors")
    state, trainer, replay = map(_Entry, TRAINER_FILES)
    algorithm = _Entry("checkpoint")
    rllib_metadata = _Entry("rllib_checkpoint.json")
    marker = _Entry("complete.json")
    seal = _Entry("seal.json")

    def replica(self, seed: int) -> Path:
        """RLlib's own checkpoint of one replica."""
        return self.root / f"replica_{seed}"

    @property
    def replicas(self) -> list[Path]:
        """All that `replica` names and that exist, ordered by seed."""
        found = [path for path in self.root.glob("replica_*") if path.is_dir()]
        return sorted(found, key=lambda path: (len(path.name), path.name))

    @property
    def is_rllib(self) -> bool:
        """Whether this is a checkpoint of RLlib's own."""
        return self.rllib_metadata.is_file()

    @property
    def has_trainer(self) -> bool:
        """Whether it was made to train on from; `checkpoint_marker` tells if it is whole."""
        return has_file(self.state)


def create_run_folder(storage: Path, name: str, now: datetime) -> RunPaths:
    """Create ``<storage>/<name>-<YYYYmmdd-HHMMSS>``, with a counter appended if that exists.

    Raises:
        UserError: the folder can't be created.
    """
    stem = f"{name}-{now:%Y%m%d-%H%M%S}"
    storage = storage_folder(storage)
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
        if bring_run(root):  # another machine has begun one of this name
            continue
        return RunPaths(root)
    raise UserError(f"{storage} holds too many runs named {stem}; give another name")


def list_runs(storage: Path) -> list[RunPaths]:
    """The runs in a storage, oldest first by the time of their first event.

    A folder's name has the local time, which is another one elsewhere and jumps in autumn.
    """
    if parse_address(storage) is not None:
        storage = storage_folder(storage)
        bring_storage(storage)
    if not storage.is_dir():
        return []
    runs = [RunPaths(entry.absolute()) for entry in storage.iterdir() if is_run(entry)]
    return sorted(runs, key=_age_key)


def _age_key(run: RunPaths) -> tuple[float, int, str]:
    """By the journal's first line, else by the name; any mtime changes with every event."""
    match = _STAMP.search(run.root.name)
    number = int(match[2] or 1) if match else 1
    began = _find_first_time(run.journal)
    if began is None and match:
        with contextlib.suppress(ValueError, OverflowError, OSError):
            began = datetime.strptime(match[1], "%Y%m%d-%H%M%S").astimezone().timestamp()
    if began is None:
        began = run.root.stat().st_mtime
    return began, number, run.root.name


def _find_first_time(journal: Path) -> float | None:
    """The time of a journal's first event, seconds since the epoch; None if it can't be read."""
    try:
        with open_reading(journal) as stream:
            document, _ = decode_line(stream.readline(_MAX_FIRST_LINE).rstrip(b"\n"))
    except (OSError, LineError):
        return None
    time = document.get("time")
    if not isinstance(time, int | float) or isinstance(time, bool) or not 0 <= time < 1e11:
        return None
    return float(time)


def is_run(folder: Path) -> bool:
    """Whether a folder is a run: it holds a journal, if only one that can't be read."""
    return os.path.lexists(RunPaths(folder).journal)


def find_run(reference: str, storage: Path) -> RunPaths:
    """Find a run by its path, its address, its folder's name under ``storage``, or ``last``.

    Raises:
        UserError: there is no such run; the message lists the newest ones.
        StorageError: it would lie in a bucket that can't be read.
    """
    if reference == "last":
        if runs := list_runs(storage):
            return runs[-1]
        raise UserError(
            f"no run in {_show_storage(storage)} yet; start one with `sweeper run SPEC`"
        )
    if (address := parse_address(reference)) is not None:
        root = storage_folder(reference)
        if bring_run(root) or is_run(root):
            return RunPaths(root)
        raise UserError(f"no run at {address}; `sweeper list --storage {address.parent}` has them")
    is_remote = parse_address(storage) is not None
    for folder in (Path(reference), storage_folder(storage) / reference):
        if is_remote and folder.name == reference:
            bring_run(folder)
        if is_run(folder):
            return RunPaths(folder.absolute())
    names = [run.root.name for run in list_runs(storage)]
    where = _show_storage(storage)
    known = f"; the last runs in {where}: {', '.join(names[-5:])}" if names else ""
    raise UserError(f"no run {reference!r}: give a path, a name in {where}, or `last`{known}")


def _show_storage(storage: Path) -> str:
    return str(parse_address(storage) or storage)


def run_reference(root: Path) -> str:
    """What a command typed here must be given to find a run: the shortest text, shell-quoted.

    Its name if it lies in the default storage of the working directory, else a path. Every command
    that is shown to a user names the run by it.
    """
    if (address := address_of(root)) is not None:
        return shlex.quote(str(address))
    relative, whole = os.path.relpath(root), str(root.absolute())
    texts = sorted((root.name, relative, f"./{relative}", whole), key=len)
    return shlex.quote(next((text for text in texts if _refers_to(text, root)), whole))


def _refers_to(text: str, root: Path) -> bool:
    """Whether every command takes a text for the run in a folder, and for nothing else."""
    if text == "last" or text.startswith("-") or is_trial_id(text):
        return False
    here = Path(text)
    found = here if os.path.lexists(here) else Path(DEFAULT_STORAGE) / text
    try:
        return found.samefile(root)
    except OSError:
        return False


def is_trial_id(text: str) -> bool:
    """Whether a text has the form of a trial's id, of the search or of the confirmation."""
    return re.fullmatch(r"[tc]\d{4,}", text) is not None


def write_atomically(path: Path, text: str, *, syncs: bool = True) -> None:
    """Write a file completely or not at all: write a temporary file, then rename it.

    Args:
        path: the file.
        text: its contents.
        syncs: have it on the disk before it has its name, so that not even a power loss leaves an
            empty one. False for a part of something that is synced as a whole.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            if syncs:
                sync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
