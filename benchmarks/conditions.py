"""The conditions of a measurement: versions, processor, cores, load, steal time."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

_QUIET_LOAD = 0.5
_STEAL = 8  # of the fields of /proc/stat's first line, see proc(5)


class Conditions:
    """The machine's state. Create it before the first measurement, describe it after the last.

    Args:
        packages: packages to list with their versions, if they are installed.
    """

    def __init__(self, packages: tuple[str, ...]) -> None:
        self._packages = packages
        self.load = os.getloadavg()[0]
        self._ticks = _cpu_ticks()
        if self.is_busy:
            print(
                f"warning: the load average is {self.load:.1f} before anything is measured; "
                f"above {_QUIET_LOAD} speeds by the clock mean little",
                file=sys.stderr,
            )

    @property
    def is_busy(self) -> bool:
        """Whether something else was running at the start."""
        return self.load > _QUIET_LOAD

    def describe(self) -> str:
        """A paragraph to print below a table."""
        busy = " (not quiet: don't quote the clock's figures)" if self.is_busy else ""
        return (
            f"{_processor()}, {os.cpu_count()} cores, load {self.load:.1f} at the start{busy}, "
            f"{os.getloadavg()[0]:.1f} at the end, {self._describe_steal()}; "
            f"Python {platform.python_version()}, {', '.join(self._versions())}"
        )

    def _versions(self) -> list[str]:
        found = []
        for name in self._packages:
            try:
                found.append(f"{name} {importlib.metadata.version(name)}")
            except importlib.metadata.PackageNotFoundError:
                continue
        return found

    def _describe_steal(self) -> str:
        now = _cpu_ticks()
        if not self._ticks or not now:
            return "steal time not visible"
        total = sum(now[1:]) - sum(self._ticks[1:])
        stolen = now[_STEAL] - self._ticks[_STEAL]
        return f"{100 * stolen / max(total, 1):.1f} % stolen by other machines"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _cpu_ticks() -> list[int]:
    """Ticks of all cores by kind, idle included, from index 1; empty without /proc/stat."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()
    except OSError:
        return []
    # The first field is a name. The last two, guest time, are part of user time.
    return [0, *map(int, fields[1:9])] if len(fields) > _STEAL else []
