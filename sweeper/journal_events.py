"""The journal's events: what happens to a run, as frozen dataclasses, read and written as lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from sweeper.journal_lines import (
    LineError,
    UnknownKindError,
    decode_line,
    encode_line,
    find_checks,
)
from sweeper.json_values import encode_json
from sweeper.states import Stage, TrialState

__all__ = [
    "VERSION",
    "ConfirmationPlanned",
    "Event",
    "LaunchEnded",
    "LaunchStarted",
    "NumberedEvent",
    "TrialAsked",
    "TrialCheckpointed",
    "TrialEnded",
    "TrialEvent",
    "TrialReported",
    "TrialRetried",
    "TrialStarted",
    "decode_event",
    "encode_event",
    "read_number",
]

VERSION = 1
"""Of the journal's format; raised when a reader of this version would misread a later one."""


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
        origin: an `Origin` as JSON, if the trials begin with the weights of another agent.
        version: of the journal's format, from this event to the next of its kind. From 1 on every
            line has a checksum; 0 in journals of earlier versions.
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
    origin: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION


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
        number: how many of the best were asked for, beside those that the user named; 0: none so
            far. None in journals of earlier versions.
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
    number: int | None = None


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
        known: how many ``trial_reported`` and ``trial_ended`` of the search's trials the search
            had heard of when it chose the configuration; None where that does not matter to it.
    """

    kind: ClassVar[str] = "trial_asked"
    configuration: Mapping[str, Any]
    parameters: Mapping[str, Any]
    seeds: tuple[int, ...]
    stage: Stage = Stage.SEARCH
    of: str = ""
    known: int | None = None


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


_TYPES: tuple[type[Event], ...] = (
    LaunchStarted,
    ConfirmationPlanned,
    *TrialEvent.__subclasses__(),
    LaunchEnded,
)
_EVENTS = {event.kind: event for event in _TYPES}
_CHECKS = {event: find_checks(event) for event in _TYPES}


class NumberedEvent(NamedTuple):
    """An event as a line holds it.

    Attributes:
        event: what happened.
        number: of the line, from 1, one more than the line before; None in journals of earlier
            versions.
    """

    event: Event
    number: int | None


_NUMBER = "line"


def encode_event(event: Event, number: int | None = None) -> bytes:
    """An event as a line with its number and its checksum, and its line break."""
    names = [item.name for item in dataclasses.fields(event)]
    fields = {name: encode_json(getattr(event, name)) for name in names}
    numbered = {} if number is None else {_NUMBER: number}
    return encode_line({"event": event.kind, **fields, **numbered})


def decode_event(line: bytes, version: int) -> NumberedEvent:
    """Read one line.

    Args:
        line: without its line break.
        version: of the program that wrote the journal; 0 if it wrote no checksums, or if that is
            unknown.

    Raises:
        NoLineError: a kill can have cut the line off.
        UnknownKindError: a later version has written it.
        LineError: it is damaged.
    """
    document, has_checksum = decode_line(line)
    name = document.pop("event", None)
    kind = _EVENTS.get(name) if isinstance(name, str) else None
    if kind is LaunchStarted:
        version = document.setdefault("version", 0)
    if version and not has_checksum:
        raise LineError("its checksum is missing")
    number = _number_of(document)
    if kind is None:
        if isinstance(name, str) and version > VERSION:
            raise UnknownKindError(name, number)
        raise LineError(f"unknown event {str(name)[:40]!r}")
    values = {}
    for field_name, check in _CHECKS[kind].items():
        if field_name in document:
            try:
                values[field_name] = check(document[field_name])
            except ValueError as error:
                raise LineError(f"{field_name}: {error}") from None
    try:
        event = kind(**values)
    except TypeError:
        raise LineError("a field is missing") from None
    if isinstance(event, TrialCheckpointed) and event.path.split("/")[1] != event.trial_id:
        raise LineError("path: of another trial")
    if isinstance(event, ConfirmationPlanned) and not (event.seeds and (event.step or 1) > 0):
        raise LineError("no seeds, or none at a time")
    return NumberedEvent(event, number)


def read_number(line: bytes) -> int | None:
    """The number of a line, even of a later version's; None if it has none.

    Raises:
        LineError: it is damaged.
    """
    return _number_of(decode_line(line)[0])


def _number_of(document: Mapping[str, Any]) -> int | None:
    number = document.get(_NUMBER)
    if number is not None and (type(number) is not int or number < 1):
        raise LineError(f"{_NUMBER}: no number of a line")
    return number
