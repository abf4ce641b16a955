"""The mirror of a run that is being driven: what its working copy has, the bucket has soon after.

A thread writes the small files that changed, then what is new in the journal, and then deletes what
the journal needs no more. A bucket that is away costs nothing but a line: the thread tries again
until the launch is over, and a later launch on this machine writes the rest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from sweeper.errors import UserError
from sweeper.run_files import is_regular
from sweeper.storage.address import address_of
from sweeper.storage.known import write_known
from sweeper.storage.lease import LEASE_S, Lease, LeaseHeldError
from sweeper.storage.objects import Objects, StorageError
from sweeper.storage.parts import list_parts, write_parts
from sweeper.storage.working_copy import (
    CHAMPION,
    FOLDERS,
    JOURNAL,
    JOURNAL_FILE,
    bring_run,
    is_small_file,
    list_small_files,
)

__all__ = ["Mirror", "mirror_of", "mirrored", "request_stop", "write_now"]

_logger = logging.getLogger(__name__)

_EVERY_S = 2.0
_MAX_PAUSE_S = 30.0
_CLOSE_S = 60.0
_STOP = "lease/stop"
_AGENT = f"{CHAMPION}/agent.json"

_State = tuple[int, int]
_mirrors: dict[Path, Mirror] = {}


def mirror_of(path: Path) -> Mirror | None:
    """The mirror that this process keeps of the run that a path lies in."""
    return next((mirror for root, mirror in _mirrors.items() if path.is_relative_to(root)), None)


class Mirror:
    """Mirrors one run; the caller has its lease.

    Attributes:
        is_lost: another driver has taken the lease, so nothing is written any more.
    """

    def __init__(
        self, root: Path, objects: Objects, lease: Lease, stop: Callable[[str], None]
    ) -> None:
        self._root = root
        self._journal = root / JOURNAL_FILE
        self._objects = objects
        self._lease = lease
        self._stop = stop
        self._sent: dict[str, _State] = {}
        self._journal_bytes = list_parts(objects, JOURNAL)
        self._stored = {name.rpartition("/")[0] for name in objects.find("trials")}
        self._gone: set[str] = set()
        self._due: deque[Callable[[], None]] = deque()
        self._writing = threading.Lock()
        self._end = threading.Event()
        self._away_since: float | None = None
        self.is_lost = False
        self._threads = [
            threading.Thread(target=target, name=f"sweeper-{name}", daemon=True)
            for name, target in (("mirror", self._run), ("lease", self._renew))
        ]

    def start(self) -> None:
        """Begin to mirror."""
        for thread in self._threads:
            thread.start()

    def when_written(self, do: Callable[[], None]) -> None:
        """Do something in the bucket once it has the journal as it is now."""
        self._due.append(do)

    def note_stored(self, checkpoint: Path) -> None:
        """Note that a worker has written a checkpoint to the bucket."""
        self._stored.add(self._name(checkpoint))

    def takes_out(self, path: Path, checkpoint: Path) -> bool:
        """Note that a checkpoint, or a file of it, is deleted; False if the bucket lacks it."""
        name = self._name(path)
        if name in self._gone or self._name(checkpoint) not in self._stored:
            return False
        self._gone.add(name)
        if path == checkpoint:
            self._stored.discard(name)
        return True

    def _name(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def close(self) -> None:
        """Write the rest, give the lease back; says so if that is not possible."""
        self._end.set()
        for thread in self._threads:
            thread.join()
        if self.is_lost:
            return
        if not is_regular(self._journal):  # it ended before its first event
            with contextlib.suppress(StorageError):
                self._objects.delete_folder("")
            return
        deadline = time.monotonic() + _CLOSE_S
        while True:
            try:
                self.flush()
                self._write_logs()
                self._lease.release()
                return
            except (StorageError, OSError) as error:
                if time.monotonic() > deadline:
                    _logger.warning(
                        "%s: not all of the run is there (%s); `sweeper resume %s` on this machine "
                        "writes the rest",
                        self._objects.address,
                        error,
                        self._objects.address,
                    )
                    return
                time.sleep(_EVERY_S)

    def flush(self) -> None:
        """Write what is new.

        Raises:
            StorageError: the bucket can't be written.
            OSError: a file can't be read.
        """
        with self._writing:
            due = len(self._due)
            self._write_small_files()
            if is_regular(self._journal) and self._journal.stat().st_size > self._journal_bytes:
                self._journal_bytes = write_parts(
                    self._objects, JOURNAL, self._journal, self._journal_bytes
                )
            for _ in range(due):  # what came since waits for the next time
                self._due[0]()
                self._due.popleft()

    def _write_logs(self) -> None:
        """Write the ends of the logs of trials that ran on this node."""
        stored = self._objects.find("trials")
        for path in sorted((self._root / "trials").glob("*/log.txt")):
            name = self._name(path)
            if name not in stored or stored[name].size != path.stat().st_size:
                self._objects.upload(path, name)

    def _write_small_files(self) -> None:
        now = dict(self._find_files())
        news = [name for name, state in now.items() if self._sent.get(name) != state]
        gone = [name for name in self._sent if name not in now]
        if not news and not gone:
            return
        if any(name.startswith(f"{CHAMPION}/") for name in (*news, *gone)):
            # Without a description there is no agent: nobody takes new weights for the old one's.
            self._objects.delete(_AGENT)
            self._sent.pop(_AGENT, None)
            if _AGENT in now and _AGENT not in news:
                news.append(_AGENT)
        for name in gone:
            self._objects.delete(name)
            self._sent.pop(name, None)
        for name in sorted(news, key=lambda name: name == _AGENT):
            self._objects.upload(self._root / name, name)
            self._sent[name] = now[name]
        write_known(self._root, list_small_files(self._objects))

    def _find_files(self) -> Iterator[tuple[str, _State]]:
        folders = [self._root, *(self._root / name for name in FOLDERS)]
        for folder in folders:
            below = folder.rglob("*") if folder != self._root else folder.glob("*")
            for path in below:
                name = path.relative_to(self._root).as_posix()
                if is_small_file(name) and is_regular(path):
                    with contextlib.suppress(FileNotFoundError):
                        status = path.stat()
                        yield name, (status.st_size, status.st_mtime_ns)

    def _run(self) -> None:
        pause_s = _EVERY_S
        while not self._end.wait(pause_s):
            if self.is_lost:
                return
            try:
                self.flush()
            except FileNotFoundError:  # replaced while it was read
                continue
            except (StorageError, OSError) as error:
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    _logger.warning(
                        "%s; the run goes on, and is written there when that is possible again",
                        error,
                    )
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
            else:
                if self._away_since is not None:
                    away_s = time.monotonic() - self._away_since
                    self._away_since = None
                    _logger.warning("%s answers again, after %.0f s", self._objects.address, away_s)
                pause_s = _EVERY_S

    def _renew(self) -> None:
        while not self._end.wait(_EVERY_S):
            try:
                is_ours, names = self._lease.renew()
            except StorageError:
                continue  # the other thread says so
            if not is_ours:
                self.is_lost = True
                self._stop(f"another driver has taken over {self._objects.address}")
                return
            if _STOP in names:
                self._objects.delete(_STOP)
                self._stop("")


@contextlib.contextmanager
def mirrored(
    root: Path, *, namespace: str, stop: Callable[[str], None], say: Callable[[str], None]
) -> Iterator[None]:
    """Mirror a run for a block, under its lease; does nothing for a folder of this machine.

    Args:
        root: the run's folder, whose lock this process has.
        namespace: of this machine's process ids.
        stop: called when the launch is to end; with the reason if it may write no more.
        say: receives, in words, from whom the lease was taken over.

    Raises:
        UserError: another driver has the lease, or the bucket can't be written.
    """
    address = address_of(root)
    if address is None:
        yield
        return
    objects = Objects(address)
    lease = Lease(objects, namespace, root)
    try:
        before = lease.take(is_free=True)
        try:
            objects.delete(_STOP)  # which was meant for the one before
            bring_run(root)  # another driver may have written until now
            mirror = Mirror(root, objects, lease, stop)
        except BaseException:
            with contextlib.suppress(StorageError):
                lease.release()
            raise
    except LeaseHeldError as error:
        holder = error.holder
        left = max(0.0, LEASE_S - holder.silent_s)
        raise UserError(
            f"{address} is being run by {holder}, last heard of {holder.silent_s:.0f} s ago; "
            f"`sweeper stop {address}` ends it; if it has died, its lease is over in {left:.0f} s"
        ) from error
    except StorageError as error:
        raise UserError(f"storage {error}") from error
    if before is not None:
        say(f"{before} had not given the run back, and is silent: its lease is taken over")
    _mirrors[root] = mirror
    mirror.start()
    try:
        yield
    finally:
        try:
            mirror.close()
        finally:
            del _mirrors[root]


def write_now(root: Path) -> None:
    """Have the bucket of a run that this process drives hold all that the run has so far.

    Raises:
        StorageError: the bucket can't be written.
    """
    if root in _mirrors:
        _mirrors[root].flush()


def request_stop(root: Path) -> None:
    """Ask the driver of a run in a bucket, wherever it runs, to end the launch in order.

    Raises:
        StorageError: the bucket can't be written.
    """
    address = address_of(root)
    if address is not None:
        Objects(address).write(_STOP, str(os.getpid()).encode())
