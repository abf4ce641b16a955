"""A copy of the user's modules and of what lies beside them, for nodes that have none.

`sweeper.environments.modules` finds it in a process that has the copy's parent on its PYTHONPATH.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sweeper.environments.modules import PACKED, find_folder
from sweeper.environments.settings import EnvironmentSettings
from sweeper.paths import is_run

__all__ = ["LeftOut", "pack_modules"]

_MAX_FILE_BYTES = 20 * 2**20
_MAX_BYTES = 100 * 2**20  # which Ray keeps in the memory of the cluster's head
_MAX_FILES = 5000


@dataclass(frozen=True)
class LeftOut:
    """A file that is too large for the copy.

    Attributes:
        path: where it lies.
        size_bytes: its size; None if it is one of many that nobody has looked at.
    """

    path: Path
    size_bytes: int | None


def pack_modules(
    environment: EnvironmentSettings, into: Path, *, storage: Path
) -> tuple[Path | None, list[LeftOut]]:
    """Copy the environment's modules and the files beside them.

    Left out without a word are hidden files, compiled Python, virtual environments, runs and the
    storage.

    Args:
        environment: names the modules and the folders in which they are searched.
        into: an empty folder.
        storage: the folder for runs.

    Returns:
        The copy, whose name is `PACKED`, or None if no folder has any of the modules; and what
        was too large for it, beginning where the copy ended if that was full.
    """
    target, left_out = into / PACKED, list[LeftOut]()
    found = {find_folder(name, environment.search_paths) for name in environment.modules}
    room, files = _MAX_BYTES, 0
    for index, folder in enumerate(environment.search_paths):
        if folder not in found:
            continue
        (target / str(index)).mkdir(parents=True)
        for path in _walk(Path(folder), storage.absolute()):
            if files == _MAX_FILES:
                left_out.append(LeftOut(path, None))
                break
            size = path.stat().st_size
            if size > min(_MAX_FILE_BYTES, room):
                left_out.append(LeftOut(path, size))
                continue
            copy = target / str(index) / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                shutil.copyfile(path, copy)
            room, files = room - size, files + 1
    return (target if target.exists() else None), left_out


def _walk(root: Path, storage: Path) -> Iterator[Path]:
    """The files below a folder: Python's own first, then the others; what lies near comes first."""
    folders, others = deque([root]), list[Path]()
    while folders and len(others) <= _MAX_FILES:
        folder = folders.popleft()
        try:
            found = sorted(folder.iterdir())
        except OSError:  # which trials here could not read, either
            continue
        for path in found:
            if path.name.startswith(".") or path.name == "__pycache__":
                continue
            if path.is_dir():
                if not path.is_symlink() and not _is_other(path, storage):
                    folders.append(path)
            elif path.is_file():
                if path.suffix == ".py":
                    yield path
                else:
                    others.append(path)
    yield from others


def _is_other(folder: Path, storage: Path) -> bool:
    return folder == storage or is_run(folder) or (folder / "pyvenv.cfg").exists()
