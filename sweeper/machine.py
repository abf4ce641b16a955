"""How much memory this machine lets a process have: what Linux counts, and its cgroups' limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

__all__ = ["free_bytes", "total_bytes"]

# Where the limits lie, what they are called, and whether a file of theirs is of version 2
# (Linux' Documentation/admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst).
_V2 = ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")
_V1 = (
    "sys/fs/cgroup/memory",
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "total_inactive_file",
)


def total_bytes(root: Path = Path("/")) -> int | None:
    """The memory that all processes here may have together; None where Linux does not tell.

    Args:
        root: of the file system with ``proc`` and ``sys``.
    """
    bounds = [limit for limit, _ in _cgroup_limits(root)]
    machine = _meminfo(root, "MemTotal")
    return min(bounds if machine is None else [*bounds, machine], default=None)


def free_bytes(root: Path = Path("/")) -> int | None:
    """What of it may still be taken; pages that only cache files count as free."""
    bounds = [max(0, limit - used) for limit, used in _cgroup_limits(root)]
    machine = _meminfo(root, "MemAvailable")
    return min(bounds if machine is None else [*bounds, machine], default=None)


def _meminfo(root: Path, name: str) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use, in bytes, of this process's memory cgroup and of those that hold it."""
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, place = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        base, limit_file, use_file, cache = _V2 if number == "0" else _V1
        top = root / base
        # In a container the own cgroup is often mounted at the top, whatever its path says.
        inner = top / place.strip("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(top):
                break
            limit, used = _number(folder / limit_file), _number(folder / use_file)
            if limit is not None:
                yield limit, (used or 0) - _statistic(folder, cache)


def _statistic(folder: Path, name: str) -> int:
    for line in _lines(folder / "memory.stat"):
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    return 0


def _number(path: Path) -> int | None:
    """A file's number; None where there is no file, or no limit (``max``)."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdecimal() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
