"""The CPU time of all processes that descend from this one, whoever waits for them (Linux)."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_POLL_S = 0.5
# Fields of /proc/PID/stat after the command's name, see proc(5).
_PARENT, _USER, _SYSTEM, _STARTED = 1, 11, 12, 19


class DescendantsClock:
    """Adds up the CPU seconds of processes that start below this one, while they run.

    Ray's workers are waited for by nobody who would pass their time on, so it is read from /proc
    twice a second; what a process uses after the last reading is missed. Orphans become children
    of this process and stay in sight.
    """

    def __init__(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._seen: dict[tuple[int, int], float] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> DescendantsClock:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def read(self) -> float:
        """CPU seconds so far, of all that were seen."""
        self._look()
        with self._lock:
            return sum(self._seen.values())

    def _poll(self) -> None:
        while not self._end.wait(_POLL_S):
            self._look()

    def _look(self) -> None:
        processes: dict[int, list[str]] = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                text = path.read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended
                continue
            processes[int(path.parent.name)] = text.rpartition(")")[2].split()
        with self._lock:
            for pid in _below(os.getpid(), processes):
                fields = processes[pid]
                ticks = int(fields[_USER]) + int(fields[_SYSTEM])
                self._seen[pid, int(fields[_STARTED])] = ticks / _TICKS_PER_S


def _below(root: int, processes: dict[int, list[str]]) -> list[int]:
    children: dict[int, list[int]] = {}
    for pid, fields in processes.items():
        children.setdefault(int(fields[_PARENT]), []).append(pid)
    found, waiting = [], [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            found.append(pid)
            waiting.append(pid)
    return found
