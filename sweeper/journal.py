"""The journal: one append-only file of JSON lines, the source of everything known of a run.

The driver appends an event, a frozen dataclass below, as it happens. Tables, selection and MLflow
are derived from the sequence. Each line is written with one ``write`` to a descriptor opened with
``O_APPEND``, so a kill at any byte damages at most the last line; the reader drops it with a
warning.
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
    "ConfirmationPlanned",
    "Event",
    "Journal",
    "JournalError",
    "LaunchEnded",
    "LaunchStarted",
    "Listener",
    "TrialAsked",
    "TrialCheckpointed",
    "TrialEnded",
    "TrialEvent",
    "TrialReported",
    "TrialRetried",
    "TrialStarted",
    "parse_event",
    "read_journal",
]

_logger = logging.getLogger(__name__)


class JournalError(SweeperError):
    """The journal is missing, can't be written, or is damaged before its last line."""


@dataclass(frozen=True)
class Event:
    """Base of all events; ``time`` is seconds since the epoch, by the driver's clock."""

    kind: ClassVar[str]
    time: float


@dataclass(frozen=True)
class TrialEvent(Event):
    """Base of the events of a trial."""

    trial_id: str


@dataclass(frozen=True)
class LaunchStarted(Event):
    """A driver process began to train the run's trials.

    Attributes:
        launch: number of the launch within the run, from 1.
        pid: of the driver, on ``host``.
        command: the driver's command line.
        host: where the driver runs.
        spec: the whole spec of this launch, as YAML.
        changes: what of it an extension set, by dotted key; empty for the first launch.
        stage: the first one that it goes through; journals of earlier versions have none.
        environment: an `EnvironmentIdentity` as JSON; empty in journals of earlier versions.
        environment_changes: how it differs from the previous launch's, where the user allowed it.
    """

    kind: ClassVar[str] = "launch_started"
    launch: int
    pid: int
    command: tuple[str, ...]
    host: str = ""
    spec: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    stage: Stage = Stage.SEARCH
    environment: Mapping[str, Any] = field(default_factory=dict)
    environment_changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ConfirmationPlanned(Event):
    """The search is over, and its finalists are chosen; a later one replaces an earlier one.

    Attributes:
        finalists: ids of the search's trials that are trained again, the best first.
        baseline: ``name`` and ``configuration`` of what they are held against; empty if off.
        seeds: for each of them, in the order of use; in the confirmation's own streams.
        step: how many seeds are added at a time while it is undecided; None: all at once.
        episodes: that judge each training run.
        stop: when a training run ends; trials of the confirmation that were begun under another
            rule no longer count.
        objective: the metric, mode and score by which the finalists were chosen.
        search_ended_by: how the search had ended, a `LaunchEnd`.
        schedules: by id the configuration that trains a finalist again whose values changed while
            it trained, as those of a population do; nested.
    """

    kind: ClassVar[str] = "confirmation_planned"
    finalists: tuple[str, ...]
    baseline: Mapping[str, Any]
    seeds: tuple[int, ...]
    step: int | None
    episodes: int
    stop: Mapping[str, Any]
    objective: Mapping[str, str]
    search_ended_by: str
    schedules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialAsked(TrialEvent):
    """The search proposed a configuration.

    Attributes:
        configuration: the whole point of the param space, constants included, nested as in
            the spec.
        parameters: the part of it that the search varies, nested.
        seeds: one a replica.
        stage: what the trial is trained for.
        of: in the confirmation, whom the trial trains again: a trial's id, or ``baseline``.
    """

    kind: ClassVar[str] = "trial_asked"
    configuration: Mapping[str, Any]
    parameters: Mapping[str, Any]
    seeds: tuple[int, ...]
    stage: Stage = Stage.SEARCH
    of: str = ""


@dataclass(frozen=True)
class TrialStarted(TrialEvent):
    """A worker started the trial."""

    kind: ClassVar[str] = "trial_started"
    node: str


@dataclass(frozen=True)
class TrialReported(TrialEvent):
    """One row of metrics under our names, flat.

    Attributes:
        stopped_by: the stop criterion that this report met, ``key >= value`` or ``plateau of …``.
            The trial has then run to its own end, even if its end event is missing.
        replaces: True for the last report repeated with a new evaluation, made because the
            search's budget is used up.
        decision: what the scheduler decided on it (`sweeper.schedulers.base.Decision` as JSON:
            ``action``, ``reason``, ``rung``, …); None where it decided nothing. After ``stop``
            the trial is over, even if its end event is missing.
    """

    kind: ClassVar[str] = "trial_reported"
    metrics: Mapping[str, Any]
    stopped_by: str | None = None
    replaces: bool = False
    decision: Mapping[str, Any] | None = None

    @property
    def pruned_because(self) -> str | None:
        """Why the scheduler stopped the trial at this report; None if it did not."""
        if self.decision is None or self.decision.get("action") != "stop":
            return None
        return str(self.decision.get("reason") or "stopped by the scheduler")


@dataclass(frozen=True)
class TrialCheckpointed(TrialEvent):
    """A checkpoint is complete on disk.

    Attributes:
        path: relative to the run folder, with forward slashes.
        metrics: scalar metrics of the report that it was made after.
    """

    kind: ClassVar[str] = "trial_checkpointed"
    path: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class TrialRetried(TrialEvent):
    """The trial failed and resumes from its last checkpoint; ``error`` is one line."""

    kind: ClassVar[str] = "trial_retried"
    error: str


@dataclass(frozen=True)
class TrialEnded(TrialEvent):
    """The trial is over for this launch.

    Attributes:
        state: ``TERMINATED`` (ran to its own end), ``PRUNED``, ``ERROR``, or ``PAUSED``
            (interrupted, or the search's budget is used up: it can resume from its checkpoint).
        reason: what ended it, e.g. ``num_env_steps_sampled_lifetime >= 100000``,
            ``interrupted``, ``budget.time_s``, ``crashed``, ``diverged``, ``out of memory``.
        error: for ``ERROR`` the exception's last line; the traceback is in the trial's log.
    """

    kind: ClassVar[str] = "trial_ended"
    state: TrialState
    reason: str
    error: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", TrialState(self.state))


@dataclass(frozen=True)
class LaunchEnded(Event):
    """The driver ended in an orderly way; ``reason`` is a `LaunchEnd`."""

    kind: ClassVar[str] = "launch_ended"
    reason: str


Listener = Callable[[Event], None]

_TYPES: tuple[type[Event], ...] = (
    LaunchStarted,
    ConfirmationPlanned,
    *TrialEvent.__subclasses__(),
    LaunchEnded,
)
_EVENTS = {event.kind: event for event in _TYPES}
_FIELDS = {event: frozenset(item.name for item in dataclasses.fields(event)) for event in _TYPES}
# Fields that JSON stores as another type.
_CONVERTERS: Mapping[type[Event], Mapping[str, Callable[[Any], Any]]] = {
    LaunchStarted: {"command": tuple, "stage": Stage, "environment_changes": tuple},
    ConfirmationPlanned: {"finalists": tuple, "seeds": tuple},
    TrialAsked: {"seeds": tuple, "stage": Stage},
}


@dataclass
class Journal:
    """Writes the journal. Only one process at a time may do so: the driver.

    Attributes:
        listeners: called with each event once it is written. They run in the driver's loop, so
            they must not block. One that raises is logged and dropped: a defect in a view must
            not end the training.
        failure: why an event could not be written; None if all were.
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
        """Write one event, then call the listeners.

        Raises:
            JournalError: it can't be written, e.g. the disk is full; no part of it is left.
        """
        fields = {
            item.name: encode_json(getattr(event, item.name)) for item in dataclasses.fields(event)
        }
        line = json.dumps({"event": event.kind, **fields}, allow_nan=False) + "\n"
        self._write(line.encode())
        for listener in tuple(self.listeners):
            try:
                listener(event)
            except Exception:
                self.listeners.remove(listener)
                _logger.exception("%r failed and receives no more events of this run", listener)

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):  # loops only if the disk is nearly full
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            # A partial line would damage the next one that is written.
            os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            self.failure = f"can't write the journal {self.path}: {error.strerror}"
            raise JournalError(self.failure) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _end_damaged_line(self) -> None:
        """End a last line that a kill cut off, so that the next event starts a new one."""
        size = self.path.stat().st_size
        if size:
            with self.path.open("rb") as stream:
                stream.seek(size - 1)
                if stream.read(1) != b"\n":
                    os.write(self._descriptor, b"\n")


def read_journal(path: Path, *, strict: bool = True) -> Iterator[Event]:
    """Read the events in order.

    A damaged line is dropped with a warning where a kill can leave one: at the end of the file,
    or before the start of a launch. Events that only a later version knows are skipped with a
    warning.

    Args:
        path: the file.
        strict: False to skip damaged lines elsewhere, too, with a warning. That is enough to
            view a run, but not to resume it.

    Raises:
        JournalError: the file is missing, or, if strict, a line in its middle is damaged.
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
                    f"{where}: resuming could lose trials or run them twice; restore the file from "
                    f"a copy, or start a new run (`sweeper results {path.parent.name}` shows what "
                    "the other lines say)"
                )
            _logger.warning("%s: skipped, its event is missing", where)
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
    """The kind of an event that this version does not know; None if the line is no event."""
    try:
        kind = json.loads(line)["event"]
    except (ValueError, KeyError, TypeError):
        return None
    return kind if isinstance(kind, str) and kind not in _EVENTS else None


def parse_event(line: bytes) -> Event | None:
    """Parse one line of a journal; None if it is no event, e.g. cut off by a kill."""
    try:
        document = json.loads(line)
        kind = _EVENTS[document.pop("event")]
        # Few lines hold a non-finite number, and decoding takes as long as parsing.
        values = decode_json(document) if b'"$float"' in line else document
        for name, convert in _CONVERTERS.get(kind, {}).items():
            if name in values:
                values[name] = convert(values[name])
        names = _FIELDS[kind]
        return kind(**{name: value for name, value in values.items() if name in names})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
