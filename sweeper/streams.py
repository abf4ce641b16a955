"""Standard streams that end no command, whatever the shell has made of them.

A terminal or a pipe can close while a sweep goes on for hours, a disk fill up below ``2>log``, and
an encoding lack the letters that the views use. Words to stderr are then dropped or spelled out;
what a command does, its line on stdout and its exit code stay.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Mapping
from typing import Any, TextIO

__all__ = ["PLAIN", "discard", "forgiving", "has_reader", "prepare_streams"]

PLAIN = "sweeper.plain"
"""An error handler of encodings: what can't be encoded is spelled out in ASCII."""

# The letters that the views use.
_SPELLED: Mapping[str, str] = {
    "…": "...", "→": "->", "±": "+-", "≤": "<=", "─": "-", "│": "|", "├": "|", "└": "`",
}  # fmt: skip
_GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    spelled = (_SPELLED.get(one) or ascii(one)[1:-1] for one in letters)
    return "".join(spelled), error.end


codecs.register_error(PLAIN, _spell)


class _ForgivingFile(io.FileIO):
    """A file whose writes never fail: what can't be written is dropped."""

    def write(self, data: Any, /) -> int:
        """Write bytes; after the reader has gone, all that uses the descriptor is dropped."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except OSError as error:
            if error.errno in _GONE:
                discard(self.fileno())
        return size


def forgiving(descriptor: int, encoding: str, *, closes: bool) -> TextIO:
    """A text stream on a descriptor whose writes never fail, and that may close it in the end."""
    # Without a buffer between them, which would write a second time what a signal interrupts.
    raw: Any = _ForgivingFile(descriptor, "w", closefd=closes)
    return io.TextIOWrapper(raw, encoding=encoding, errors=PLAIN, line_buffering=True)


def discard(descriptor: int) -> None:
    """Send to the null device whatever is written to a descriptor from now on."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def has_reader(stream: TextIO) -> bool:
    """Whether somebody may still read what is written; true of a file, too."""
    poll = select.poll()
    poll.register(stream, select.POLLOUT)
    return not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def prepare_streams() -> None:
    """Make the standard streams of this process ready for whatever is written to them."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=PLAIN)
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = forgiving(sys.stderr.fileno(), sys.stderr.encoding, closes=False)


def _open_closed() -> None:
    """Give closed standard streams (``>&-``) the null device.

    Otherwise the first files that are opened would take their numbers, and get what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115, PTH123 - stays open
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
