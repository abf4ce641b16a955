"""How a process of a launch shows what it is doing: a signal, a file for its traces, and a note.

When a signal comes, the driver and every worker have Python's `faulthandler` append the stack of
each thread to a file of their own. It does so in C, so a process that hangs in a library answers,
too. A note beside that file says what the process does now. Both lie in the run's folder
``.stacks``, which a launch makes and deletes.

Without a handler the signal would end a process, and a run folder may come from somebody else. So
a note makes nobody send it: `may_be_asked` does, which asks the kernel (proc(5)).
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import secrets
import signal
import socket
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sweeper.locks import process_namespace
from sweeper.paths import RunPaths, is_trial_id, write_atomically
from sweeper.run_files import delete, open_regular, read_json

__all__ = [
    "SIGNAL",
    "ProcessNote",
    "StackFile",
    "find_notes",
    "may_be_asked",
    "read_status",
    "stacks_shown",
]

_logger = logging.getLogger(__name__)

# A real-time signal: Tune, torch, batch systems and environments use SIGUSR1 and SIGUSR2. 0 where
# the system has no such signals (macOS, Windows).
SIGNAL: int = getattr(signal, "SIGRTMIN", -9) + 9

_WRITING = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL
_MAX_NUMBER = 2**63
_MAX_TIME = 1e11  # seconds; `datetime` knows no year 5138

_registered: list[int] = []
"""The descriptor that this process's traces go to, once it answers the signal."""


@dataclass(frozen=True)
class ProcessNote:
    """What a process says of itself; anybody may have written it.

    Attributes:
        pid: means nothing on another host, nor in another container of the same one.
        host: by its name.
        namespace: of process ids, as the kernel names it; empty if that is not known.
        is_driver: whether it drives the launch; else it trains trials.
        trial_id: the trial that a worker has now; None for the driver, and between two trials.
        since: since when, in seconds since the epoch.
        main_thread: the identifier of its main thread.
        traces: the file that its traces are appended to.
    """

    pid: int
    host: str
    namespace: str
    is_driver: bool
    trial_id: str | None
    since: float
    main_thread: int
    traces: Path

    @property
    def is_here(self) -> bool:
        """Whether it says that it is on this host, in this container."""
        return self.host == socket.gethostname() and self.namespace == process_namespace()


class StackFile:
    """Has this process answer the signal, and says what it does.

    Where that is impossible nothing happens: on a system without such a signal, in a folder that is
    not there (as on another node) or can't be written, or if other code uses the signal.

    Args:
        folder: the run's ``.stacks``.
        is_driver: as in `ProcessNote`.
    """

    def __init__(self, folder: Path, *, is_driver: bool = False) -> None:
        self._is_driver = is_driver
        self._note: Path | None = None
        self._traces = folder / f"{os.getpid()}-{secrets.token_hex(4)}.txt"
        self._descriptor: int | None = None
        try:
            if _can_register():
                self._descriptor = open_regular(self._traces, _WRITING, 0o600)
                _register(self._descriptor)
                self._note = self._traces.with_suffix(".json")
        except OSError as error:
            _logger.debug("process %d shows no stack: %s", os.getpid(), error)

    def note(self, trial_id: str | None = None) -> None:
        """Say which trial this process has from now on."""
        if self._note is None:
            return
        note = ProcessNote(
            pid=os.getpid(),
            host=socket.gethostname(),
            namespace=process_namespace(),
            is_driver=self._is_driver,
            trial_id=trial_id,
            since=time.time(),
            main_thread=threading.main_thread().ident or 0,
            traces=self._traces,
        )
        document = {**asdict(note), "traces": self._traces.name}
        with contextlib.suppress(OSError):  # the disk may be full
            write_atomically(self._note, json.dumps(document), syncs=False)

    def close(self) -> None:
        """Leave no file behind; the process goes on to take the signal, without an effect."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        for path in (self._note, self._traces):
            with contextlib.suppress(OSError):
                if path is not None:
                    path.unlink()
        self._note = None
        # Were the handler taken away, a signal that was sent just before would end the process.
        with contextlib.suppress(OSError):
            _register(os.open(os.devnull, os.O_WRONLY))
            os.close(descriptor)


def _can_register() -> bool:
    """Whether this process can take the signal, and no code of anybody else's does."""
    if not SIGNAL:
        return False
    return bool(_registered) or not _is_caught(read_status(os.getpid()))


def _register(descriptor: int) -> None:
    """Have traces go to a file from now on."""
    faulthandler.register(SIGNAL, file=descriptor, all_threads=True)
    if _registered and stat.S_ISCHR(os.fstat(_registered[0]).st_mode):
        os.close(_registered[0])  # the null device, opened by `close`
    _registered[:] = [descriptor]


@contextlib.contextmanager
def stacks_shown(paths: RunPaths) -> Iterator[None]:
    """Within the block a run has a folder for stack traces, and this process, its driver, answers.

    What a launch that was killed left there is deleted first.
    """
    _delete(paths)
    with contextlib.suppress(OSError):
        paths.stacks.mkdir(mode=0o700)
    driver = StackFile(paths.stacks, is_driver=True)
    driver.note()
    try:
        yield
    finally:
        driver.close()
        _delete(paths)


def _delete(paths: RunPaths) -> None:
    root = paths.root.resolve()  # the folder itself may be reached through a link
    with contextlib.suppress(OSError):
        delete(root / paths.stacks.name, below=root)


def find_notes(paths: RunPaths) -> list[ProcessNote]:
    """What the processes of a launch say of themselves: the driver, then by trial and time."""
    try:
        if not stat.S_ISDIR(paths.stacks.lstat().st_mode):
            return []
        files = sorted(paths.stacks.glob("*.json"))
    except OSError:
        return []
    notes = [note for file in files if (note := read_note(file)) is not None]
    return sorted(
        notes, key=lambda one: (not one.is_driver, not one.trial_id, one.trial_id or "", one.since)
    )


def read_note(file: Path) -> ProcessNote | None:
    """The note in a file; None if there is none that has our form, or none any more."""
    try:
        document = read_json(file)
        note = ProcessNote(**{**document, "traces": file.with_suffix(".txt")})
    except (OSError, ValueError, TypeError):
        return None
    return note if _is_ours(note) else None


def _is_ours(note: ProcessNote) -> bool:
    numbers: tuple[Any, ...] = (note.pid, note.main_thread)
    if not all(type(one) is int and 0 < one < _MAX_NUMBER for one in numbers):
        return False
    if not (isinstance(note.host, str) and isinstance(note.namespace, str)):
        return False
    if not (isinstance(note.since, float) and 0 <= note.since < _MAX_TIME):
        return False
    if note.trial_id is not None and not is_trial_id(str(note.trial_id)):
        return False
    return isinstance(note.is_driver, bool)


def may_be_asked(pid: int, traces: int) -> bool:
    """Whether a process takes the signal as one of ours does.

    It does if it is this user's, handles the signal, and has the file open that traces go to: so it
    is neither a process that has the id of one that ended, nor one that a stranger's note names.

    Args:
        pid: the process.
        traces: a descriptor of the file.
    """
    process, file = Path("/proc", str(pid)), os.fstat(traces)
    try:
        if process.stat().st_uid != os.geteuid() or not _is_caught(read_status(pid)):
            return False
        opened = list((process / "fd").iterdir())
    except OSError:
        return False
    for entry in opened:
        with contextlib.suppress(OSError):  # it was closed
            if os.path.samestat(entry.stat(), file):
                return True
    return False


def read_status(pid: int, thread: int | None = None) -> dict[str, str]:
    """The fields of ``/proc/<pid>/status``, or of one of its threads; empty if it is gone."""
    task = () if thread is None else ("task", str(thread))
    try:
        lines = Path("/proc", str(pid), *task, "status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _is_caught(status: dict[str, str]) -> bool:
    """Whether a process has a handler for the signal."""
    return has_signal(status.get("SigCgt", ""))


def has_signal(mask: str) -> bool:
    """Whether the signal is in a set of signals as proc(5) writes them."""
    try:
        return bool(int(mask, 16) >> (SIGNAL - 1) & 1)
    except ValueError:
        return False
