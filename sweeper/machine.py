"""How many cores and how much memory this process may have: the machine's, or its cgroups' limits.

Where cgroups keep their limits: Linux' Documentation/admin-guide/cgroup-v2.rst, and of version 1
cgroup-v1/memory.rst and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["all_cores", "free_bytes", "total_bytes", "usable_cores"]

_ROOT = Path("/")


def all_cores() -> int:
    """The cores of the machine, whoever may use them."""
    return os.cpu_count() or 1


def usable_cores(root: Path = _ROOT) -> int:
    """The whole cores that this process may keep busy, at least 1.

    Args:
        root: of the file system with ``proc`` and ``sys``.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else all_cores()
    return max(1, int(min([allowed, *_core_quotas(root)])))


def total_bytes(root: Path = _ROOT) -> int | None:
    """The memory that all processes here may have together; None where Linux does not tell."""
    bounds = [limit for limit, _ in _memory_limits(root)]
    machine = _meminfo(root, "MemTotal")
    return min(bounds if machine is None else [*bounds, machine], default=None)


def free_bytes(root: Path = _ROOT) -> int | None:
    """How much of it may still be taken; pages that only cache files count as free."""
    bounds = [max(0, limit - used) for limit, used in _memory_limits(root)]
    machine = _meminfo(root, "MemAvailable")
    return min(bounds if machine is None else [*bounds, machine], default=None)


def _meminfo(root: Path, name: str) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _core_quotas(root: Path) -> Iterator[float]:
    """The limits on processor time, in cores."""
    for folder, is_v2 in _cgroups(root, "cpu"):
        if is_v2:
            words = [*" ".join(_lines(folder / "cpu.max")).split(), "", ""]
            quota, period = _whole(words[0]), _whole(words[1])
        else:
            quota = _number(folder / "cpu.cfs_quota_us")
            period = _number(folder / "cpu.cfs_period_us")
        if quota is not None and period:
            yield quota / period


def _memory_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limits and what is used of each, in bytes."""
    for folder, is_v2 in _cgroups(root, "memory"):
        limit = _number(folder / ("memory.max" if is_v2 else "memory.limit_in_bytes"))
        used = _number(folder / ("memory.current" if is_v2 else "memory.usage_in_bytes"))
        cache = "inactive_file" if is_v2 else "total_inactive_file"
        if limit is not None:
            yield limit, (used or 0) - _statistic(folder, cache)


def _cgroups(root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """The process's cgroup and those that hold it, and whether each is of version 2."""
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, place = line.split(":", 2)
        is_v2 = number == "0"
        if not is_v2 and controller not in controllers.split(","):
            continue
        # Version 1 mounts a controller under its own name, or under all that share the mount.
        top = root / "sys/fs/cgroup" / ("" if is_v2 else controllers)
        if not is_v2 and not top.is_dir():
            top = root / "sys/fs/cgroup" / controller
        # In a container the own cgroup is often mounted at the top, whatever its path says.
        inner = top / place.strip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(top):
                break
            yield folder, is_v2


def _statistic(folder: Path, name: str) -> int:
    for line in _lines(folder / "memory.stat"):
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return 0


def _number(path: Path) -> int | None:
    """A file's number; None where there is no file, or no limit (``max``, ``-1``)."""
    return _whole("".join(_lines(path)).strip())


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
