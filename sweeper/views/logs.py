"""The logs of a run's trials: which there are, their ends, and what is added to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sweeper.errors import UserError
from sweeper.paths import RunPaths
from sweeper.results.records import SweepResults, TrialRecord, describe_error
from sweeper.states import TrialState

__all__ = ["LogLine", "TrialLog", "find_log", "follow_logs", "list_logs", "tail_lines"]

_POLL_S = 0.25
# Which trials there are is asked for less often: the journal can be long.
_RELOAD_S = 2.0
_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class TrialLog:
    """The log of one trial.

    Attributes:
        trial_id: whose.
        state: the trial's.
        error: why it failed, if it did.
        path: the file; it may not be there yet.
        size: in bytes; None if the file is not there.
        updated: when it was last written, seconds since the epoch.
    """

    trial_id: str
    state: str
    error: str | None
    path: Path
    size: int | None
    updated: float | None

    def to_json(self) -> dict[str, Any]:
        """The object that `sweeper logs --json` prints."""
        return {
            "trial_id": self.trial_id,
            "state": self.state,
            "error": self.error,
            "path": str(self.path),
            "size_bytes": self.size,
            "updated": self.updated,
        }


class LogLine(NamedTuple):
    """A line of a trial's log, without its end."""

    trial_id: str
    text: str


def list_logs(results: SweepResults) -> list[TrialLog]:
    """The log of every trial that has or will have one."""
    return [_to_log(record, results) for record in results.trials]


def find_log(results: SweepResults, trial_id: str) -> TrialLog:
    """The log of one trial.

    Raises:
        UserError: there is no such trial, or it has none; the message says what there is.
    """
    try:
        log = _to_log(results.trial(trial_id), results)
    except KeyError:
        ids = [record.trial_id for record in results.trials]
        known = f"it has {ids[0]} to {ids[-1]}" if len(ids) > 1 else f"it has {', '.join(ids)}"
        raise UserError(
            f"no trial {trial_id!r} in {results.root.name}; "
            f"{known if ids else 'it has no trials yet'}"
        ) from None
    if log.size is None:
        raise UserError(
            f"{trial_id} of {results.root.name} has no log: "
            + (
                "it has not been started"
                if log.state is TrialState.PENDING
                else f"no file {log.path}"
            )
        )
    return log


def tail_lines(path: Path, count: int) -> list[str]:
    """The last lines of a log, at most 64 kB of them; empty if it can't be read."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL_BYTES))
            data = stream.read()
    except OSError:
        return []
    return data.decode("utf-8", "replace").splitlines()[-count:] if count else []


@dataclass
class _Follower:
    """Reads a file that is still being written: whole lines, each once."""

    path: Path
    offset: int
    rest: bytes = field(default=b"")

    def read(self, *, is_last: bool = False) -> list[str]:
        try:
            with self.path.open("rb") as stream:
                if stream.seek(0, 2) < self.offset:
                    self.offset, self.rest = 0, b""  # written anew
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
) -> Iterator[LogLine]:
    """The last lines of a run's logs and then every new one, until nothing will come any more.

    Args:
        load: reads the run as it is; called now and then, for it takes a moment.
        trial_id: of one trial, or None: of all that are running, also those to come.
        tail: lines to begin with, of each.
        sleep: waits for some seconds.
    """
    results, age_s = load(), 0.0
    over = {record.trial_id for record in results.trials if record.state.is_over}
    followers = {
        name: _Follower(path, _tail_offset(path, tail))
        for name, path in _logs(results, trial_id)
        if name == trial_id or name not in over
    }
    while True:
        is_over = _is_over(results, trial_id)
        for name, follower in followers.items():
            yield from (LogLine(name, line) for line in follower.read(is_last=is_over))
        if is_over:
            return
        sleep(_POLL_S)
        age_s += _POLL_S
        if age_s >= _RELOAD_S:
            results, age_s = load(), 0.0
            for name, path in _logs(results, trial_id):
                if name not in over and name not in followers:
                    followers[name] = _Follower(path, 0)


def _logs(results: SweepResults, trial_id: str | None) -> Iterator[tuple[str, Path]]:
    for record in results.trials:
        if trial_id in (None, record.trial_id):
            yield record.trial_id, _log_path(record, results)


def _is_over(results: SweepResults, trial_id: str | None) -> bool:
    if not results.is_live:
        return True
    if trial_id is None:
        return False
    return results.trial(trial_id).state.is_over


def _tail_offset(path: Path, count: int) -> int:
    """Where the last lines of a file begin."""
    try:
        size = path.stat().st_size
    except OSError:
        return 0
    with path.open("rb") as stream:
        stream.seek(max(0, size - _TAIL_BYTES))
        data = stream.read()
    lines = data.splitlines(keepends=True)
    return size - sum(len(line) for line in lines[max(0, len(lines) - count) :])


def _log_path(record: TrialRecord, results: SweepResults) -> Path:
    return record.log or RunPaths(results.root).trial_log(record.trial_id)


def _to_log(record: TrialRecord, results: SweepResults) -> TrialLog:
    path = _log_path(record, results)
    try:
        status = path.stat()
    except OSError:
        size, updated = None, None
    else:
        size, updated = status.st_size, status.st_mtime
    return TrialLog(record.trial_id, record.state, describe_error(record), path, size, updated)
