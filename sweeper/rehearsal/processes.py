"""The processes below another one: who they are, what they take, how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

__all__ = ["end_processes", "processes_below", "proportional_bytes"]


def processes_below(process: int) -> list[int]:
    """The children of a process and theirs, on Linux; elsewhere none are known."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may have any character in it.
            rest = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(rest[1])
    found, new = set[int](), {process}
    while new := {child for child, parent in parents.items() if parent in new} - found:
        found |= new
    return sorted(found)


def proportional_bytes(processes: Sequence[int]) -> int | None:
    """The memory that they take together, pages that they share counted once."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total or None


def end_processes(processes: Sequence[int]) -> None:
    """Kill those that are still there."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
