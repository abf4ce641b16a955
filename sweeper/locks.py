"""The lock on a run folder: one process at a time carries a run out.

The lock is the kernel's (`flock`), on a file of its own, so that it dies with its owner however
that ends, and tells whether a run is live better than a process id does, which another host
does not know and another process may get.
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

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LockOwner", "is_locked", "read_owner", "run_lock"]

_logger = logging.getLogger(__name__)

# Whoever looks whether a lock is held holds it for an instant.
_PATIENCE_S = 1.0
_RETRY_S = 0.05
_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})


@dataclass(frozen=True)
class LockOwner:
    """Who wrote itself into a lock's file; the lock tells whether it still holds it."""

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
    """Hold a run's lock.

    On a file system without locks a warning is all that can be had.

    Args:
        path: the lock's file, made if it is not there; it stays, for taking it away would let
            two processes lock two files of one name.

    Raises:
        UserError: another process holds it, or the folder can't be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"can't write to the run folder {path.parent}: {error.strerror}") from error
    try:
        if _try_lock(descriptor, exclusive=True, patience_s=_PATIENCE_S) is False:
            owner = read_owner(path)
            raise UserError(
                f"{path.parent.name} is being carried out by {owner or 'another process'}; "
                f"`sweeper stop {path.parent.name}` ends it"
            )
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(me).encode())
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock; None if that can't be told."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        got = _try_lock(descriptor, exclusive=False)
    finally:
        os.close(descriptor)
    return None if got is None else not got


def read_owner(path: Path) -> LockOwner | None:
    """Who holds the lock, or held it last; None if nobody has written itself in."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return LockOwner(int(document["pid"]), str(document["host"]), float(document["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _try_lock(descriptor: int, *, exclusive: bool, patience_s: float = 0.0) -> bool | None:
    """True: got it; False: held by another; None: there are no locks here."""
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
