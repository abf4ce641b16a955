"""The lock on a run folder: only one process at a time drives a run.

The kernel releases the lock (`flock`) however its owner ends. So it tells whether a run is live
better than a process id, which means nothing on another host and can be reused.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sweeper.errors import UserError
from sweeper.run_files import open_regular, read_json

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LockOwner", "is_locked", "read_owner", "run_lock"]

_logger = logging.getLogger(__name__)

# `is_locked` holds the lock for a moment, so the first attempt may fail.
_PATIENCE_S = 1.0
_RETRY_S = 0.05
_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})


@dataclass(frozen=True)
class LockOwner:
    """The process named in a lock's file; whether it still holds the lock is another question."""

    pid: int
    host: str
    since: float

    def __str__(self) -> str:
        return (
            f"process {self.pid} on {self.host}, since "
            f"{datetime.fromtimestamp(self.since):%Y-%m-%d %H:%M:%S}"
        )


@contextmanager
def run_lock(path: Path) -> Iterator[None]:
    """Hold a run's lock; on a file system without locks only warn.

    Args:
        path: the lock's file, created if missing. It is never deleted: otherwise two processes
            could lock two files of the same name.

    Raises:
        UserError: another process holds the lock, or the folder can't be written.
    """
    try:
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise UserError(
            f"can't write to the run folder {path.parent}: {path.name}: {error.strerror}"
        ) from error
    try:
        if _try_lock(descriptor, exclusive=True, patience_s=_PATIENCE_S) is False:
            owner = read_owner(path)
            raise UserError(
                f"{path.parent.name} is being run by {owner or 'another process'}; "
                f"`sweeper stop {path.parent.name}` ends it"
            )
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(me).encode())
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock; None if unknown."""
    try:
        descriptor = open_regular(path)
    except OSError:
        return None
    try:
        got = _try_lock(descriptor, exclusive=False)
    finally:
        os.close(descriptor)
    return None if got is None else not got


def read_owner(path: Path) -> LockOwner | None:
    """The process that holds the lock or held it last; None if the file names none."""
    try:
        document = read_json(path)
        return LockOwner(int(document["pid"]), str(document["host"]), float(document["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _try_lock(descriptor: int, *, exclusive: bool, patience_s: float = 0.0) -> bool | None:
    """True if acquired, False if another process holds it, None without support for locks."""
    if fcntl is None:
        return None
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD:
                _logger.warning("this file system has no locks: %s", error.strerror)
                return None
            if time.monotonic() >= deadline:
                return False
            time.sleep(_RETRY_S)
        else:
            return True
