"""The logs of a run's trials: list them, show their last lines, follow them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import UserError
from sweeper.paths import RunPaths
from sweeper.results.records import SweepResults, TrialRecord, describe_error, describe_pruning
from sweeper.run_files import open_reading
from sweeper.states import TrialState
from sweeper.storage.checkpoints import bring_logs

__all__ = ["TrialLog", "describe_log", "find_log", "follow_logs", "tail_lines"]

_POLL_S = 0.25
_RELOAD_S = 2.0  # longer than a poll: reading a long journal takes time
_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class TrialLog:
    """The log of one trial. The fields are the keys of `sweeper logs --json`.

    Attributes:
        trial_id: the trial's id.
        state: the trial's state.
        error: why the trial failed; None if it did not.
        pruned: where and why a scheduler stopped it; None if none did.
        path: the file, which may not exist yet.
        size_bytes: None if there is no file.
        updated: time of the last write, seconds since the epoch; None if there is no file.
    """

    trial_id: str
    state: str
    error: str | None
    pruned: str | None
    path: Path
    size_bytes: int | None
    updated: float | None


def find_log(results: SweepResults, trial_id: str) -> TrialLog:
    """The log of one trial.

    Raises:
        UserError: there is no such trial, or it has no log file.
    """
    try:
        record = results.trial(trial_id)
        bring_logs(RunPaths(results.root).trials, trial_id)
        log = describe_log(record, results)
    except KeyError:
        ids = [record.trial_id for record in results.trials]
        shown = f"{ids[0]} to {ids[-1]}" if len(ids) > 1 else "".join(ids)
        raise UserError(
            f"no trial {trial_id!r} in {results.root.name}; it has {shown or 'no trials yet'}"
        ) from None
    if log.size_bytes is None:
        is_pending = log.state is TrialState.PENDING
        reason = "it has not been started" if is_pending else f"no file {log.path}"
        raise UserError(f"{trial_id} of {results.root.name} has no log: {reason}")
    return log


def tail_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, at most 64 KiB of them; empty if it can't be read."""
    data, _ = _read_tail(path)
    return data.decode("utf-8", "replace").splitlines()[-count:] if count else []


def _read_tail(path: Path) -> tuple[bytes, int]:
    """The last 64 KiB of a file, and the file's size in bytes; nothing if it can't be read."""
    try:
        with open_reading(path) as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL_BYTES))
            return stream.read(min(size, _TAIL_BYTES)), size
    except OSError:
        return b"", 0


@dataclass
class _Follower:
    """Reads a growing file: whole lines, each once."""

    path: Path
    offset: int
    rest: bytes = b""

    def read(self, *, is_last: bool = False) -> list[str]:
        try:
            with open_reading(self.path) as stream:
                if stream.seek(0, 2) < self.offset:
                    self.offset, self.rest = 0, b""  # the file was rewritten
                stream.seek(self.offset)
                data = stream.read()
        except OSError:
            data = b""
        self.offset += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        if is_last and self.rest:
            lines, self.rest = [*lines, self.rest], b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in lines]


def follow_logs(
    load: Callable[[], SweepResults],
    trial_id: str | None,
    *,
    tail: int = 10,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[str, str]]:
    """Yield the last lines of a run's logs, then every new line until the run or trial ends.

    Each comes with its trial's id, and without its line break.

    Args:
        load: reads the run's current state; called every two seconds.
        trial_id: the trial to follow; None follows all running trials and those that start.
        tail: number of existing lines of each log to begin with.
        sleep: waits for a number of seconds.
    """
    results, age_s = load(), 0.0
    bring_logs(RunPaths(results.root).trials, trial_id)
    over = {record.trial_id for record in results.trials if record.state.is_over}
    followers = {
        name: _Follower(path, _tail_offset(path, tail))
        for name, path in _log_paths(results, trial_id)
        if name == trial_id or name not in over
    }
    while True:
        is_over = not results.is_live
        if trial_id is not None:
            is_over |= results.trial(trial_id).state.is_over
        for name, follower in followers.items():
            yield from ((name, line) for line in follower.read(is_last=is_over))
        if is_over:
            return
        sleep(_POLL_S)
        age_s += _POLL_S
        if age_s >= _RELOAD_S:
            results, age_s = load(), 0.0
            bring_logs(RunPaths(results.root).trials, trial_id)
            for name, path in _log_paths(results, trial_id):
                if name not in over and name not in followers:
                    followers[name] = _Follower(path, 0)


def _log_paths(results: SweepResults, trial_id: str | None) -> Iterator[tuple[str, Path]]:
    for record in results.trials:
        if trial_id in (None, record.trial_id):
            yield record.trial_id, _log_path(record, results)


def _tail_offset(path: Path, count: int) -> int:
    """Where the last lines of a file begin."""
    data, size = _read_tail(path)
    lines = data.splitlines(keepends=True)
    return size - sum(len(line) for line in lines[max(0, len(lines) - count) :])


def _log_path(record: TrialRecord, results: SweepResults) -> Path:
    return record.log or RunPaths(results.root).trial_log(record.trial_id)


def describe_log(record: TrialRecord, results: SweepResults) -> TrialLog:
    """The log of a trial, whether or not the file exists yet."""
    path = _log_path(record, results)
    try:
        with open_reading(path) as stream:
            status = os.fstat(stream.fileno())
        size_bytes, updated = status.st_size, status.st_mtime
    except OSError:
        size_bytes, updated = None, None
    return TrialLog(
        trial_id=record.trial_id,
        state=record.state,
        error=describe_error(record) or record.error,
        pruned=describe_pruning(record),
        path=path,
        size_bytes=size_bytes,
        updated=updated,
    )
