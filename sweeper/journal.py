"""The journal: one append-only file of JSON lines, the source of everything known of a run.

The driver appends an event of `journal_events` as it happens. Tables, selection and MLflow
are derived from the sequence. Each line is written with one ``write`` to a descriptor opened with
``O_APPEND``, so a kill at any byte damages at most the last line; the reader drops it with a
warning. `journal_lines` has what a line looks like and what its fields must be.

Lines are numbered, so that a lost one is noticed: a trial without its configuration would be taken
for one at the defaults, and a trial without any line would give its id to another. Lines of earlier
versions have no numbers; those that follow them begin at 1.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
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
    read_number,
)
from sweeper.journal_lines import LineError, NoLineError, UnknownKindError
from sweeper.paths import run_reference
from sweeper.run_files import open_reading, open_regular
from sweeper.syncing import sync

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

_TAIL_BYTES = 2**16
_LASTING = (ConfirmationPlanned, TrialCheckpointed, TrialEnded, LaunchEnded)


class JournalError(SweeperError):
    """The journal is missing, can't be written, or is damaged before its last line."""

    @classmethod
    def of_damage(cls, path: Path, what: str) -> JournalError:
        """The refusal to resume by a damaged journal; ``what`` says where and in what way."""
        return cls(
            f"{what}: resuming could lose trials or run them twice; restore the file from a copy, "
            f"or start a new run (`sweeper results {run_reference(path.parent)}` shows what the "
            "other lines say)"
        )


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
            self._last = _find_last_number(self.path)
        except OSError as error:
            raise JournalError(f"can't write the journal {self.path}: {error.strerror}") from error

    def append(self, event: Event) -> None:
        """Write one event, then call the listeners.

        What can't be done again is on the disk before anybody hears of it.

        Raises:
            JournalError: it can't be written, e.g. the disk is full; no part of it is left.
        """
        self._write(encode_event(event, self._last + 1))
        self._last += 1
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
        try:
            sync(self._descriptor, only_data=True)
        except OSError as error:
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


def _find_last_number(path: Path) -> int:
    """The number of the last whole line; 0 if it has none, or if there is no line.

    Reads only the file's end.
    """
    with open_reading(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        block = _TAIL_BYTES
        while True:
            begin = max(0, size - block)
            stream.seek(begin)
            lines = stream.read(size - begin).split(b"\n")
            for line in reversed(lines[1:] if begin else lines):
                with suppress(LineError):
                    return read_number(line) or 0
            if not begin:
                return 0
            block *= 4


def read_journal(path: Path, *, strict: bool = True) -> Iterator[Event]:
    """Read the events in order.

    An incomplete line is dropped with a warning where a kill can leave one: at the end of the
    file, or before the start of a launch. Events that only a later version knows are skipped with
    a warning, if a later version has written the journal.

    Args:
        path: the file.
        strict: False to skip damaged lines and lines that are there twice, too, with a warning
            that missing lines get as well. That is enough to view a run, but not to resume it.

    Raises:
        JournalError: the file is missing, or, if strict, a line is damaged, missing or repeated.
    """
    try:
        with open_reading(path) as stream:
            lines = stream.read().split(b"\n")
    except OSError as error:
        raise JournalError(f"can't read the journal {path}: {error.strerror}") from error
    cut = 0
    unknown: set[str] = set()
    version = 0
    sequence = _Sequence()
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        event, place = None, None
        try:
            event, place = decode_event(line, version)
        except NoLineError:
            damage = None
        except UnknownKindError as news:
            if news.kind not in unknown:
                _logger.warning(
                    "%s:%d: events %r of a later version are skipped", path, number, news.kind
                )
            unknown.add(news.kind)
            sequence.take(news.number)
            continue
        except LineError as error:
            damage = str(error)
        # A line that a kill cut off has not used its number up.
        if cut and not (isinstance(event, LaunchStarted) and sequence.is_next(place)):
            _complain(path, cut, _DAMAGED, strict=strict)
            sequence.skipped += 1
            cut = 0
        if event is None:
            if damage is None:
                cut = number
            else:
                _complain(path, number, _DAMAGED, f" ({damage})", strict=strict)
                sequence.skipped += 1
            continue
        if cut:
            _logger.warning("%s:%d: dropped an incomplete line", path, cut)
            cut = 0
        missing = sequence.take(place)
        if missing < 0:
            _complain(path, number, _REPEATED, strict=strict)
            continue
        if missing > 0:
            _complain(path, number, _MISSING, f" ({missing:,} before this one)", strict=strict)
        if isinstance(event, LaunchStarted):
            version = event.version
        yield event
    if cut:
        _logger.warning("%s:%d: dropped an incomplete last line", path, cut)


@dataclass
class _Sequence:
    """Follows the numbers of the lines.

    Attributes:
        last: the number of the last line that was read; 0 at the start, and after a line without
            one, since an earlier version may have continued the journal.
        skipped: lines since then that could not be read, which is said of each.
    """

    last: int = 0
    skipped: int = 0

    def is_next(self, number: int | None) -> bool:
        """Whether a line follows the last one, with none between them."""
        return number is None or number == self.last + 1

    def take(self, number: int | None) -> int:
        """How many lines are missing before the next one; below 0 if it was read before."""
        if number is None:
            self.last = self.skipped = 0
            return 0
        missing = number - self.last - 1
        if missing >= 0:
            missing = max(0, missing - self.skipped)
            self.last, self.skipped = number, 0
        return missing


_DAMAGED = ("damaged line in the middle of the journal", "skipped, its event is missing")
_MISSING = ("lines are missing in the middle of the journal", "what they said is not known")
_REPEATED = ("a line is in the journal twice", "skipped")


def _complain(
    path: Path, number: int, damage: tuple[str, str], details: str = "", *, strict: bool
) -> None:
    """Refuse damage, or warn of it.

    Args:
        path: the journal.
        number: of the line in the file.
        damage: what it is, and what it means for the reader.
        details: of this one.
        strict: whether it is refused.
    """
    what, effect = damage
    where = f"{path}:{number}: {what}{details}"
    if strict:
        raise JournalError.of_damage(path, where)
    _logger.warning("%s: %s", where, effect)


def parse_event(line: bytes) -> Event | None:
    """Parse one line of a journal; None if it is no event, e.g. cut off by a kill."""
    try:
        return decode_event(line, 0).event
    except LineError:
        return None
