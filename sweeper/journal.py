"""The journal: one append-only file of JSON lines that is the truth about a run.

Every event is a frozen dataclass below; the driver appends each as it happens, and everything
that reports (tables, selection, MLflow) is derived from the sequence. A line is written with
one ``write`` to a descriptor opened with ``O_APPEND``, so a kill at any byte leaves at most the
last line unusable; the reader drops such a line and says so.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sweeper.errors import SweeperError
from sweeper.json_values import decode_json, encode_json
from sweeper.states import Stage, TrialState

__all__ = [
    "Event",
    "Journal",
    "JournalError",
    "LaunchEnded",
    "LaunchStarted",
    "Listener",
    "TrialAsked",
    "TrialCheckpointed",
    "TrialEnded",
    "TrialReported",
    "TrialRetried",
    "TrialStarted",
    "parse_event",
    "read_journal",
]

_logger = logging.getLogger(__name__)


class JournalError(SweeperError):
    """The journal is damaged elsewhere than in its last line, or is not there."""


@dataclass(frozen=True)
class Event:
    """Base of all events; ``time`` is seconds since the epoch on the driver."""

    kind: ClassVar[str]
    time: float


@dataclass(frozen=True)
class LaunchStarted(Event):
    """A process began to carry out the run's plan.

    Attributes:
        launch: counts the launches of the run, from 1.
        pid: of the driver, on ``host``.
        command: the driver's.
        host: where the driver runs.
        spec: the whole spec that this launch carries out, as YAML.
        changes: what of it an extension set, by dotted key; empty for the first launch.
        stage: the first one that it goes through; journals of earlier versions have none.
    """

    kind: ClassVar[str] = "launch_started"
    launch: int
    pid: int
    command: tuple[str, ...]
    host: str = ""
    spec: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    stage: Stage = Stage.SEARCH

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", Stage(self.stage))


@dataclass(frozen=True)
class TrialAsked(Event):
    """The search made a configuration.

    Attributes:
        configuration: the whole point of the param space, constants included, nested as in
            the spec.
        parameters: the part of it that the search varies, nested.
        seeds: one a replica.
        stage: what the trial is trained for.
    """

    kind: ClassVar[str] = "trial_asked"
    trial_id: str
    configuration: Mapping[str, Any]
    parameters: Mapping[str, Any]
    seeds: tuple[int, ...]
    stage: Stage = Stage.SEARCH

    def __post_init__(self) -> None:
        object.__setattr__(self, "stage", Stage(self.stage))


@dataclass(frozen=True)
class TrialStarted(Event):
    """A worker took up the trial."""

    kind: ClassVar[str] = "trial_started"
    trial_id: str
    node: str


@dataclass(frozen=True)
class TrialReported(Event):
    """One row of metrics, flat keys as in the spec's vocabulary.

    Attributes:
        stopped_by: the stop criterion that this report met, as ``key >= value``, or
            ``plateau of …``; a trial whose
            last report has one ran to its own end, whether or not the process lived to say so.
        replaces: it is the last report once more, with the evaluation that a trial is given
            when the search's budget is used up.
    """

    kind: ClassVar[str] = "trial_reported"
    trial_id: str
    metrics: Mapping[str, Any]
    stopped_by: str | None = None
    replaces: bool = False


@dataclass(frozen=True)
class TrialCheckpointed(Event):
    """A checkpoint is complete on disk.

    Attributes:
        path: relative to the run folder, with forward slashes.
        metrics: the scalar metrics of the report that it belongs to.
    """

    kind: ClassVar[str] = "trial_checkpointed"
    trial_id: str
    path: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class TrialRetried(Event):
    """The trial failed and goes on from its last checkpoint; ``error`` is a line, no traceback."""

    kind: ClassVar[str] = "trial_retried"
    trial_id: str
    error: str


@dataclass(frozen=True)
class TrialEnded(Event):
    """The trial is over for this launch.

    Attributes:
        state: ``TERMINATED`` (ran to its own end), ``PRUNED``, ``ERROR``, or ``PAUSED``
            (interrupted or out of the search's budget: it can go on from its checkpoint).
        reason: what ended it, e.g. ``num_env_steps_sampled_lifetime >= 100000``,
            ``interrupted``, ``budget.time_s``, ``crashed``, ``diverged``, ``out of memory``.
        error: for ``ERROR`` the exception's last line; the whole is in the trial's log.
    """

    kind: ClassVar[str] = "trial_ended"
    trial_id: str
    state: TrialState
    reason: str
    error: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", TrialState(self.state))


@dataclass(frozen=True)
class LaunchEnded(Event):
    """The process ended in order.

    Attributes:
        reason: ``finished``, ``interrupted``, ``failed``, ``disk nearly full``, or the budget
            that was reached, e.g. ``budget.time_s``.
    """

    kind: ClassVar[str] = "launch_ended"
    reason: str


Listener = Callable[[Event], None]

_EVENTS: dict[str, type[Event]] = {
    event.kind: event
    for event in (
        LaunchStarted,
        TrialAsked,
        TrialStarted,
        TrialReported,
        TrialCheckpointed,
        TrialRetried,
        TrialEnded,
        LaunchEnded,
    )
}

_FIELDS: dict[type[Event], frozenset[str]] = {
    event: frozenset(item.name for item in dataclasses.fields(event)) for event in _EVENTS.values()
}


@dataclass
class Journal:
    """The writing end. Not safe for two processes at once; the driver is the only writer.

    Attributes:
        listeners: called with each event after it is on file. A listener must not wait: a
            sweep goes at the speed of its slowest one. One that raises is dropped, loudly, for
            a defect in whoever watches must not end the training.
        failure: why the last event could not be written; None while all could.
    """

    path: Path
    listeners: list[Listener] = field(default_factory=list)
    failure: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            self._end_damaged_line()
        except OSError as error:
            raise JournalError(f"can't write the journal {self.path}: {error.strerror}") from error

    def append(self, event: Event) -> None:
        """Write one event, then tell the listeners.

        Raises:
            JournalError: it can't be written, e.g. for a full disk; nothing of it is.
        """
        fields = {
            name: encode_json(getattr(event, name))
            for name in (item.name for item in dataclasses.fields(event))
        }
        line = json.dumps({"event": event.kind, **fields}, allow_nan=False) + "\n"
        self._write(line.encode())
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception:
                self.listeners.remove(listener)
                _logger.exception("%r failed and hears no more of this run", listener)

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):  # more than once only where the disk is about full
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            # Part of a line would spoil the next one that finds room.
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            self.failure = f"can't write the journal {self.path}: {error.strerror}"
            raise JournalError(self.failure) from error

    def close(self) -> None:
        """Close the file; the journal can't be appended to afterwards."""
        os.close(self._descriptor)

    def _end_damaged_line(self) -> None:
        """A kill may have cut the last line: end it, so that the next event starts its own."""
        size = self.path.stat().st_size
        if size:
            with self.path.open("rb") as stream:
                stream.seek(size - 1)
                if stream.read(1) != b"\n":
                    os.write(self._descriptor, b"\n")


def read_journal(path: Path, *, strict: bool = True) -> Iterator[Event]:
    """The events in order.

    A line that is no event is dropped with a warning where a kill can have left it: at the
    end of the file, or before the start of a launch. So are events of a kind that a later
    version writes.

    Args:
        path: the file.
        strict: False to warn of damage in the middle, too, and go on: what such a line said
            is missing then, which will do to look at a run but not to go on with it.

    Raises:
        JournalError: the file is not there, or, if strict, a line in its middle is damaged.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(f"can't read the journal {path}: {error.strerror}") from error
    damaged = 0
    unknown: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        event = parse_event(line)
        if event is None and (kind := _foreign_kind(line)):
            if kind not in unknown:
                _logger.warning(
                    "%s:%d: events %r of a later version are skipped", path, number, kind
                )
            unknown.add(kind)
            continue
        if damaged and not isinstance(event, LaunchStarted):
            where = f"{path}:{damaged}: damaged line in the middle of the journal"
            if strict:
                raise JournalError(
                    f"{where}: going on could lose trials or do them twice; put back a whole copy "
                    f"of the file, or start a new run (`sweeper results {path.parent.name}` shows "
                    "what the other lines say)"
                )
            _logger.warning("%s: skipped, what it said is missing", where)
            damaged = 0
        if event is None:
            damaged = number
            continue
        if damaged:
            _logger.warning("%s:%d: dropped an incomplete line", path, damaged)
            damaged = 0
        yield event
    if damaged:
        _logger.warning("%s:%d: dropped an incomplete last line", path, damaged)


def _foreign_kind(line: bytes) -> str | None:
    """The kind of a whole event that this version does not know; None if it is no such."""
    try:
        kind = json.loads(line)["event"]
    except (ValueError, KeyError, TypeError):
        return None
    return kind if isinstance(kind, str) and kind not in _EVENTS else None


def parse_event(line: bytes) -> Event | None:
    """The event of one line of a journal; None if the line is none, e.g. cut by a kill."""
    try:
        document = json.loads(line)
        kind = _EVENTS[document.pop("event")]
        # Few lines have a non-finite number; the walk through the others would take as long
        # as their parsing.
        values = decode_json(document) if b'"$float"' in line else document
        names = _FIELDS[kind]
        event = kind(**{name: value for name, value in values.items() if name in names})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    for name in ("seeds", "command"):
        if name in values:
            object.__setattr__(event, name, tuple(values[name]))
    return event
