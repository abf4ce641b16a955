"""The text of a spec's file, or why there is none."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from sweeper.hints import nearest
from sweeper.run_files import open_reading

__all__ = ["Unreadable", "read_file", "read_record"]

_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Unreadable:
    """Why a file has no text that can be a spec.

    Attributes:
        reason: in words.
        line: where in the file; 0 if that is not known.
    """

    reason: str
    line: int = 0


def read_file(path: Path) -> str | Unreadable:
    """The text of a file that the user named, which may be a link."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            return Unreadable("this is a folder; give the spec's file")
        if not stat.S_ISREG(status.st_mode):
            return Unreadable("this is no regular file")
        if status.st_size > _MAX_BYTES:
            return Unreadable(f"the file has {status.st_size} bytes; a spec has at most 1 MiB")
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return Unreadable(f"there is no such file{_nearest_file(path)}")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return Unreadable(f"can't be read: {getattr(error, 'strerror', None) or error}")


def read_record(path: Path) -> str | Unreadable:
    """The text of a file of a run, which must be no link: it may come from somebody else."""
    try:
        with open_reading(path) as stream:
            data = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return Unreadable("there is no such file")
    except OSError as error:
        return Unreadable(f"can't be read: {error.strerror}")
    if len(data) > _MAX_BYTES:
        return Unreadable("the file has more than 1 MiB; a spec has at most that")
    return _decode(data)


def _decode(data: bytes) -> str | Unreadable:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 text (byte {data[error.start]:#04x}); save the file as UTF-8"
        return Unreadable(reason, data[: error.start].count(b"\n") + 1)


def _nearest_file(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir() if entry.suffix in {".yaml", ".yml"}]
    except OSError:
        return ""
    near = nearest(path.name, names)
    return f"; did you mean {path.parent / near}?" if near else ""
