"""The lease of a run in a bucket: which driver may write there, wherever it runs.

A bucket has no locks. Whoever finds the lease free writes a claim of its own to the next generation
and lists the claims: the earliest one has it. A list shows all that was written before it, and
times have a resolution of a second, so it waits for that long in between. The owner then renews its
beat. All times are the server's, since clocks need not agree. A lease whose owner was not heard of
for `LEASE_S` is free.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeper.storage.address import address_of
from sweeper.storage.objects import Entry, Objects, StorageError

__all__ = [
    "BEAT_S",
    "LEASE_S",
    "Holder",
    "Lease",
    "LeaseHeldError",
    "find_holder",
    "find_holder_of",
]

LEASE_S = 60.0
BEAT_S = 10.0
_SETTLE_S = 1.2
_FOLDER = "lease"
# By generation, owner and kind.
_Found = dict[tuple[int, str, str], Entry]
_NAME = re.compile(rf"{_FOLDER}/(\d{{8}})-([0-9a-f]{{32}})\.(claim|beat)")


@dataclass(frozen=True)
class Holder:
    """Who has a lease.

    Attributes:
        claim: the name of its claim.
        generation: how many had it before.
        silent_s: for how long it has not been heard of; 0 if it may be less.
        pid: of its process; 0 if it is not known.
        host: the name of its machine; empty if that is not known.
        since: seconds since the epoch, by its clock.
        namespace: of its process ids, see `locks`.
        folder: its working copy.
    """

    claim: str
    generation: int
    silent_s: float
    pid: int = 0
    host: str = ""
    since: float = 0.0
    namespace: str = ""
    folder: str = ""

    @property
    def is_live(self) -> bool:
        """Whether its time is not over."""
        return self.silent_s < LEASE_S

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.host else "another process"


class LeaseHeldError(StorageError):
    """Another driver has the lease.

    Attributes:
        holder: which.
    """

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        super().__init__(str(holder))


def _list(objects: Objects) -> _Found:
    return _parse(objects.find(_FOLDER, recursive=False))


def _parse(found: Mapping[str, Entry]) -> _Found:
    matches = {name: _NAME.fullmatch(name) for name in found}
    return {
        (int(match[1]), match[2], match[3]): found[name] for name, match in matches.items() if match
    }


def _winner(found: _Found) -> tuple[int, str] | None:
    """Generation and owner of the earliest claim of the newest generation."""
    claims = {key: entry for key, entry in found.items() if key[2] == "claim"}
    if not claims:
        return None
    newest = max(generation for generation, _, _ in claims)
    of_it = [
        (entry.time, owner)
        for (generation, owner, _), entry in claims.items()
        if generation == newest
    ]
    return newest, min(of_it)[1]


def find_holder(objects: Objects, now: int | None = None) -> Holder | None:
    """Who has the lease of a run, or had it last without giving it back; None if nobody.

    Args:
        objects: the run's.
        now: the server's time, nanoseconds; by default this machine's, which may differ.

    Raises:
        StorageError: the bucket can't be read.
    """
    found = _list(objects)
    return _describe(objects, found, now)


def find_holder_of(root: Path) -> Holder | None:
    """Who has the lease of a run, by its folder; None if nobody, or if it lies in no bucket.

    Raises:
        StorageError: the bucket can't be read.
    """
    address = address_of(root)
    return None if address is None else find_holder(Objects(address))


def _describe(objects: Objects, found: _Found, now: int | None) -> Holder | None:
    won = _winner(found)
    if won is None:
        return None
    generation, owner = won
    times = [entry.time for (one, of, _), entry in found.items() if (one, of) == won]
    silent_s = max(0.0, ((time.time_ns() if now is None else now) - max(times)) / 1e9)
    claim = f"{_FOLDER}/{generation:08d}-{owner}.claim"
    try:
        document = json.loads(objects.read(claim))
        said = {name: document[name] for name in ("pid", "host", "since", "namespace", "folder")}
        return Holder(
            claim,
            generation,
            silent_s,
            pid=int(said["pid"]),
            host=str(said["host"]),
            since=float(said["since"]),
            namespace=str(said["namespace"]),
            folder=str(said["folder"]),
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return Holder(claim, generation, silent_s)


class Lease:
    """This process's lease of a run."""

    def __init__(self, objects: Objects, namespace: str, folder: Path) -> None:
        self._objects = objects
        self._namespace = namespace
        self._folder = str(folder)
        self._owner = uuid.uuid4().hex
        self._generation = 0
        self._renewed = 0.0

    def take(self, *, is_free: bool = False) -> Holder | None:
        """Take it.

        Args:
            is_free: whoever drove the run in this working copy is known to have ended.

        Returns:
            The holder that it was taken over from, if that had not given it back.

        Raises:
            LeaseHeldError: another driver has it; also if it was quicker.
            StorageError: the bucket can't be read or written.
        """
        last = _list(self._objects)
        holder = _describe(self._objects, last, self._find_time())
        if holder is not None and holder.is_live and not (is_free and self._is_of_here(holder)):
            raise LeaseHeldError(holder)  # without a claim, which its owner would take for a loss
        self._generation = 1 if holder is None else holder.generation + 1
        me = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": time.time(),
            "namespace": self._namespace,
            "folder": self._folder,
        }
        self._objects.write(self._name("claim"), json.dumps(me).encode())
        time.sleep(_SETTLE_S)
        found = _list(self._objects)
        if _winner(found) != (self._generation, self._owner):
            self._objects.delete(self._name("claim"))
            raise LeaseHeldError(_describe(self._objects, found, None) or Holder("", 0, 0.0))
        self._renewed = time.monotonic()
        for generation, owner, kind in last:
            self._objects.delete(f"{_FOLDER}/{generation:08d}-{owner}.{kind}")
        return holder

    def _find_time(self) -> int:
        """The server's time, nanoseconds since the epoch."""
        name = f"{_FOLDER}/time-{self._owner}"
        self._objects.write(name, b"")
        try:
            return self._objects.find(_FOLDER, recursive=False)[name].time
        finally:
            self._objects.delete(name)

    def _is_of_here(self, holder: Holder) -> bool:
        """Whether it held the lock of the working copy, which this process has now."""
        here = (socket.gethostname(), self._namespace, self._folder)
        return (holder.host, holder.namespace, holder.folder) == here

    def renew(self) -> tuple[bool, frozenset[str]]:
        """Say that this process lives, if it is time to.

        Returns:
            Whether the lease is still its own, and the names of other objects beside it.

        Raises:
            StorageError: the bucket can't be reached.
        """
        if time.monotonic() - self._renewed < BEAT_S:
            return True, frozenset()
        began = time.monotonic()
        names = self._objects.find(_FOLDER, recursive=False)
        if _winner(_parse(names)) != (self._generation, self._owner):  # or somebody has deleted it
            return False, frozenset()
        self._objects.write(self._name("beat"), b"")
        self._renewed = began
        return True, frozenset(names)

    def release(self) -> None:
        """Give it back.

        Raises:
            StorageError: the bucket can't be written.
        """
        for kind in ("claim", "beat"):
            self._objects.delete(self._name(kind))

    def _name(self, kind: str) -> str:
        return f"{_FOLDER}/{self._generation:08d}-{self._owner}.{kind}"
