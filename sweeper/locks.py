"""The locks on a run folder: one process at a time drives a run, and one writes its record.

The kernel releases the lock (`flock`) however its owner ends. So it tells whether a run is live
better than a process id, which means nothing on another host and can be reused. A lock belongs to
the open file, not to the process: a child that an environment forks would hold it, too, and
nobody could resume the run as long as it lives. So a child closes the file as it is forked.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sweeper.errors import UserError
from sweeper.paths import list_runs, run_reference
from sweeper.run_files import open_regular, read_json
from sweeper.storage.lease import find_holder_of

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "LockOwner",
    "RecordLock",
    "explain_orphan",
    "file_lock",
    "has_live_run",
    "is_locked",
    "process_namespace",
    "read_owner",
    "run_lock",
]

_logger = logging.getLogger(__name__)

_held: set[int] = set()
"""The descriptors of the locks that this process holds."""

# `is_locked` holds the lock for a moment, so the first attempt may fail.
_PATIENCE_S = 1.0
_RETRY_S = 0.05
_MAX_PID = 2**31
_MAX_TIME = 1e11  # seconds; `datetime` knows no year 5138
_HELD = frozenset({errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES})


@dataclass(frozen=True)
class LockOwner:
    """The process named in a lock's file; whether it still holds the lock is another question.

    Attributes:
        pid: means nothing on another host, nor in another container of the same one.
        host: by its name.
        since: seconds since the epoch.
        namespace: of process ids, as the kernel names it; empty if that is not known.
    """

    pid: int
    host: str
    since: float
    namespace: str = ""

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
            raise UserError(_explain_held(path))
        _held.add(descriptor)
        me = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.time(),
            "namespace": process_namespace(),
        }
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps(me).encode())
        yield
    finally:
        _held.discard(descriptor)
        os.close(descriptor)


@contextmanager
def file_lock(descriptor: int, *, patience_s: float) -> Iterator[bool]:
    """Hold the lock of an open file until it is closed, at the latest.

    Yields:
        Whether nobody else has it; True also on a file system without locks.
    """
    is_held = _try_lock(descriptor, exclusive=True, patience_s=patience_s)
    try:
        yield is_held is not False
    finally:
        if is_held and fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


class RecordLock:
    """The right to write a run's MLflow record, which one process at a time has.

    It is a lock of the journal, which all of the record is made from. With the run's own lock the
    run would look live to whoever reads it, and a run in a folder that can't be written has none.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Whether this process has it now; on a file system without locks everybody has it.

        Raises:
            OSError: the journal is missing, or can't be opened.
        """
        if self._descriptor is not None:
            return True
        descriptor = open_regular(self._journal)
        if _try_lock(descriptor, exclusive=True) is False:
            os.close(descriptor)
            return False
        _held.add(descriptor)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._descriptor is not None:
            _held.discard(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


def _close_in_child() -> None:
    """Close, in a process that was just forked, what would keep its parent's locks."""
    while _held:
        with suppress(OSError):
            os.close(_held.pop())


if fcntl is not None:
    os.register_at_fork(after_in_child=_close_in_child)


def _explain_held(path: Path) -> str:
    """Who holds a lock, and what to do."""
    if (orphan := explain_orphan(path)) is not None:
        return orphan
    name, owner = path.parent.name, read_owner(path)
    command = f"sweeper stop {run_reference(path.parent)}"
    return f"{name} is being run by {owner or 'another process'}; `{command}` ends it"


def explain_orphan(path: Path) -> str | None:
    """What to do if a lock is held although its owner, on this host, has ended; else None.

    A process that the owner forked in a library in C runs no handler of ours, so it holds it, too.
    """
    owner = read_owner(path)
    if (
        owner is None
        or owner.host != socket.gethostname()
        or owner.namespace != process_namespace()
    ):
        return None
    if not _has_ended(owner.pid):
        return None
    if not is_locked(path):  # it was let go of at the owner's end
        return None
    return (
        f"{path.parent.name} can't go on yet: {owner} has ended, but a process that it started "
        f"still holds the run's lock; end that one (`fuser {path}` names it)"
    )


def process_namespace() -> str:
    """The kernel's name of the set that process ids here belong to; empty if it is not known."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not on Linux
        return ""


def _has_ended(pid: int) -> bool:
    """Whether no process of this host has this id, or only what is left of one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    try:
        # proc(5): the state comes after the name, which may hold spaces and parentheses.
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return False
    return state in ("Z", "X")


def is_locked(path: Path) -> bool | None:
    """Whether a process holds the lock, or the lease of a run in a bucket; None if unknown.

    Raises:
        StorageError: the bucket can't be read.
    """
    is_held = _is_locked_here(path)
    if is_held:
        return True
    holder = find_holder_of(path.parent)
    return is_held if holder is None else holder.is_live


def _is_locked_here(path: Path) -> bool | None:
    try:
        descriptor = open_regular(path)
    except OSError:
        return None
    try:
        got = _try_lock(descriptor, exclusive=False)
    finally:
        os.close(descriptor)
    return None if got is None else not got


def has_live_run(storage: Path, besides: str = "") -> bool:
    """Whether a process drives a run of a storage, other than the one of a name."""
    return any(
        run.root.name != besides and is_locked(run.lock) is True for run in list_runs(storage)
    )


def read_owner(path: Path) -> LockOwner | None:
    """The process that holds the lock or held it last; None if the file names none."""
    try:
        document = read_json(path)
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict):
        return None
    pid, host, since = (document.get(name) for name in ("pid", "host", "since"))
    if not isinstance(pid, int) or not 0 < pid < _MAX_PID or not isinstance(host, str):
        return None
    if not isinstance(since, int | float) or not 0 <= since < _MAX_TIME:
        return None
    namespace = document.get("namespace")
    return LockOwner(pid, host, since, namespace if isinstance(namespace, str) else "")


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
