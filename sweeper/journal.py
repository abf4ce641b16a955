"""The journal: one append-only file of JSON lines, the source of everything known of a run.

The driver appends an event of `journal_events` as it happens. Tables, selection and MLflow
are derived from the sequence. Each line is written with one ``write`` to a descriptor opened with
``O_APPEND``, so a kill at any byte damages at most the last line; the reader drops it with a
warning. `journal_lines` has what a line looks like and what its fields must be.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sweeper.errors import SweeperError
from sweeper.journal_events import (
    VERSION,
    ConfirmationPlanned,
    Event,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialEvent,
    TrialReported,
    TrialRetried,
    TrialStarted,
    decode_event,
    encode_event,
)
from sweeper.journal_lines import LineError, NoLineError, UnknownKindError
from sweeper.paths import run_reference
from sweeper.run_files import open_reading, open_regular

__all__ = [
    "VERSION",
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

_LASTING = (ConfirmationPlanned, TrialCheckpointed, TrialEnded, LaunchEnded)
# Of files and file systems that can't sync.
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EROFS})


class JournalError(SweeperError):
    """The journal is missing, can't be written, or is damaged before its last line."""


Listener = Callable[[Event], None]


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
            self._descriptor = open_regular(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            self._end_damaged_line()
        except OSError as error:
            raise JournalError(f"can't write the journal {self.path}: {error.strerror}") from error

    def append(self, event: Event) -> None:
        """Write one event, then call the listeners.

        What can't be done again is on the disk before anybody hears of it.

        Raises:
            JournalError: it can't be written, e.g. the disk is full; no part of it is left.
        """
        self._write(encode_event(event))
        if isinstance(event, _LASTING):
            self._sync()
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

    def _sync(self) -> None:
        """Have the system write what is only in its memory, so that no power loss takes it."""
        try:
            getattr(os, "fdatasync", os.fsync)(self._descriptor)
        except OSError as error:
            if error.errno in _NO_SYNC:
                return
            self.failure = f"can't write the journal {self.path}: {error.strerror}"
            raise JournalError(self.failure) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _end_damaged_line(self) -> None:
        """End a last line that a kill cut off, so that the next event starts a new one."""
        size = self.path.stat().st_size
        if size:
            with open_reading(self.path) as stream:
                stream.seek(size - 1)
                if stream.read(1) != b"\n":
                    os.write(self._descriptor, b"\n")


def read_journal(path: Path, *, strict: bool = True) -> Iterator[Event]:
    """Read the events in order.

    An incomplete line is dropped with a warning where a kill can leave one: at the end of the
    file, or before the start of a launch. Events that only a later version knows are skipped with
    a warning, if a later version has written the journal.

    Args:
        path: the file.
        strict: False to skip damaged lines, too, with a warning. That is enough to view a run,
            but not to resume it.

    Raises:
        JournalError: the file is missing, or, if strict, a line is damaged.
    """
    try:
        with open_reading(path) as stream:
            lines = stream.read().split(b"\n")
    except OSError as error:
        raise JournalError(f"can't read the journal {path}: {error.strerror}") from error
    cut = 0
    unknown: set[str] = set()
    version = 0
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        event = None
        try:
            event = decode_event(line, version)
        except NoLineError:
            damage = None
        except UnknownKindError as news:
            if news.kind not in unknown:
                _logger.warning(
                    "%s:%d: events %r of a later version are skipped", path, number, news.kind
                )
            unknown.add(news.kind)
            continue
        except LineError as error:
            damage = str(error)
        if cut and not isinstance(event, LaunchStarted):
            _complain(path, cut, None, strict=strict)
            cut = 0
        if event is None:
            if damage is None:
                cut = number
            else:
                _complain(path, number, damage, strict=strict)
            continue
        if cut:
            _logger.warning("%s:%d: dropped an incomplete line", path, cut)
            cut = 0
        if isinstance(event, LaunchStarted):
            version = event.version
        yield event
    if cut:
        _logger.warning("%s:%d: dropped an incomplete last line", path, cut)


def _complain(path: Path, number: int, damage: str | None, *, strict: bool) -> None:
    """Refuse a damaged line, or warn of it."""
    why = "" if damage is None else f" ({damage})"
    where = f"{path}:{number}: damaged line in the middle of the journal{why}"
    if strict:
        raise JournalError(
            f"{where}: resuming could lose trials or run them twice; restore the file from "
            "a copy, or start a new run "
            f"(`sweeper results {run_reference(path.parent)}` shows what the other lines say)"
        )
    _logger.warning("%s: skipped, its event is missing", where)


def parse_event(line: bytes) -> Event | None:
    """Parse one line of a journal; None if it is no event, e.g. cut off by a kill."""
    try:
        return decode_event(line, 0)
    except LineError:
        return None
