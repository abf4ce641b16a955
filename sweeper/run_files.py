"""Open, read and delete the files of a run folder, which may come from someone else.

A run folder is data that people hand on. So nothing in it is opened that is no regular file: a
link could lead to any file, and opening a named pipe waits for ever. Nothing is written or deleted
through a link either. `delete` is the only function that deletes what a journal names.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sweeper.json_values import parse_json

__all__ = [
    "check_tree",
    "check_writable",
    "copy_file",
    "copy_tree",
    "delete",
    "delete_tree",
    "is_inside",
    "is_regular",
    "make_empty",
    "open_reading",
    "open_regular",
    "read_json",
    "read_text",
    "set_aside",
    "walk_files",
]

# None of our records but the journal comes near this; a larger one is not read into memory.
_MAX_BYTES = 64 * 2**20
# Not on Windows. Without `O_NONBLOCK` opening a named pipe would wait for its other end.
_SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
_WRITING = os.O_WRONLY | os.O_RDWR
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def open_regular(path: Path, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    """Open a regular file, as `os.open` does, and never anything else.

    Raises:
        OSError: it can't be opened, or is a link, a named pipe or a device. A file that has a
            second name (a hard link) is not opened for writing.
    """
    try:
        _check_regular(path, path.lstat(), is_written=bool(flags & _WRITING))
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    descriptor = os.open(path, flags | _SAFELY, mode)
    try:
        # The name may mean another file by now.
        _check_regular(path, os.fstat(descriptor), is_written=bool(flags & _WRITING))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(path: Path, status: os.stat_result, *, is_written: bool) -> None:
    if stat.S_ISLNK(status.st_mode):
        what = f"it is a link to {path.readlink()}, which is not followed"
        raise OSError(errno.ELOOP, what, str(path))
    for is_kind, name in _KINDS:
        if is_kind(status.st_mode):
            raise OSError(errno.EINVAL, f"it is {name}, not a file", str(path))
    if is_written and status.st_nlink > 1:
        what = "it has a second name (a hard link), whose file would change, too; make it a copy"
        raise OSError(errno.EMLINK, what, str(path))


def check_writable(path: Path) -> None:
    """Check that `open_regular` would open a file for writing; a missing one is fine.

    The file is not opened: closing it would end the locks that this process has on it, and SQLite
    relies on them (https://sqlite.org/howtocorrupt.html, 2.2).

    Raises:
        OSError: it is a link, a named pipe or a device, or has a second name.
    """
    with contextlib.suppress(FileNotFoundError):
        _check_regular(path, path.lstat(), is_written=True)


def is_regular(path: Path) -> bool:
    """Whether there is a regular file of this name, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def is_inside(path: Path, below: Path) -> bool:
    """Whether there is a regular file of this name in a folder, with no link on the way to it."""
    try:
        root = below.resolve()  # which may itself be reached through a link
        return is_regular(_locate(root / path.relative_to(below), root))
    except (OSError, ValueError):
        return False


def open_reading(path: Path) -> BinaryIO:
    """Open a regular file for reading bytes.

    Raises:
        OSError: it can't be opened, or is something else.
    """
    return os.fdopen(open_regular(path), "rb")


def read_text(path: Path) -> str:
    """The text of one of our records.

    Raises:
        OSError: it can't be read, is no regular file, or has more than 64 MiB.
        ValueError: it is not UTF-8.
    """
    with open_reading(path) as stream:
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise OSError(errno.EFBIG, "it has more than 64 MiB", str(path))
    return data.decode("utf-8")


def read_json(path: Path) -> Any:
    """The document in one of our records.

    Raises:
        OSError: as `read_text`.
        ValueError: it is no JSON, or none that is ours (see `json_values.parse_json`).
    """
    return parse_json(read_text(path))


def make_empty(path: Path) -> None:
    """Make an empty file, or leave the one that is there.

    Raises:
        OSError: it can't be made, or something else has the name.
    """
    os.close(open_regular(path, os.O_WRONLY | os.O_CREAT))


def delete(path: Path, *, below: Path) -> None:
    """Delete a file, a link or a folder with all that is in it; a missing one is fine.

    Links in the folder are deleted, never followed.

    Args:
        path: what to delete.
        below: the folder that it must lie in, at any depth, without a link on the way.

    Raises:
        OSError: it can't be deleted, or it lies elsewhere, once links are resolved.
    """
    try:
        place = _locate(path, below)
        is_folder = stat.S_ISDIR(place.lstat().st_mode)
    except FileNotFoundError:
        return
    if is_folder:
        delete_tree(place)
    else:
        place.unlink()


def delete_tree(folder: Path) -> None:
    """Delete a folder with all that is in it; links are deleted, never followed.

    A hostile tree is deeper than a function may call itself, and than a path may be long. So what
    lies deeper is moved up before it is deleted.

    Raises:
        OSError: something can't be deleted.
    """
    numbers = itertools.count()
    while folders := _delete_files(folder):
        for inner in folders:
            for deeper in _delete_files(inner):
                names = (folder / f".{number}" for number in numbers)
                deeper.rename(next(name for name in names if not os.path.lexists(name)))
            inner.rmdir()
    folder.rmdir()


def _delete_files(folder: Path) -> list[Path]:
    """Delete what a folder holds but folders, and return these."""
    folders = []
    for entry in list(folder.iterdir()):
        if stat.S_ISDIR(entry.lstat().st_mode):
            folders.append(entry)
        else:
            entry.unlink()
    return folders


def walk_files(
    folder: Path, on_error: Callable[[OSError], object] | None = None
) -> Iterator[tuple[Path, os.stat_result]]:
    """All that a folder holds at any depth but folders, with its status; links are not followed.

    Args:
        folder: where to begin.
        on_error: is given what can't be read, which is raised by default.

    Raises:
        OSError: something can't be read, or lies so deep that its path is too long.
    """
    folders = [folder]
    while folders:
        try:
            found = [(entry, entry.lstat()) for entry in folders.pop().iterdir()]
        except OSError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        folders += [entry for entry, status in found if stat.S_ISDIR(status.st_mode)]
        yield from (pair for pair in found if not stat.S_ISDIR(pair[1].st_mode))


def set_aside(path: Path, *, below: Path) -> Path:
    """Rename a folder to ``damaged_…`` beside it, and return its new path.

    Args:
        path: what to rename.
        below: the folder that it must lie in, as for `delete`.

    Raises:
        OSError: it can't be renamed, or lies elsewhere.
    """
    place = _locate(path, below)
    for end in ("", *(f"_{number}" for number in range(2, 1000))):
        target = place.with_name(f"damaged_{place.name}{end}")
        if not os.path.lexists(target):
            break
    place.rename(target)
    return target


def _locate(path: Path, below: Path) -> Path:
    """The path with the links above ``below`` resolved; the last part is not looked at."""
    outside = OSError(errno.EPERM, f"it is not in {below}, so it was not touched", str(path))
    try:
        parts = path.relative_to(below).parts
    except ValueError:
        raise outside from None
    if not parts or ".." in parts:
        raise outside
    root = below.parent.resolve() / below.name
    parent = root.joinpath(*parts[:-1])
    if parent.resolve(strict=True) != parent:
        raise outside
    return parent / parts[-1]


def check_tree(root: Path, names: tuple[str, ...]) -> None:
    """Check that parts of a run folder are made of folders and regular files, at any depth.

    Ray writes there by paths that follow links, so it must not find any.

    Args:
        root: the run folder, which may itself be reached through a link.
        names: the entries of it to check; one may be missing.

    Raises:
        OSError: one is a link, a named pipe or a device, or a name is a file's.
    """
    for entry in (root / name for name in names):
        if not os.path.lexists(entry):
            continue
        status = entry.lstat()
        if not stat.S_ISDIR(status.st_mode):
            _check_regular(entry, status, is_written=False)
            raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder", str(entry))
        for path, inner in walk_files(entry):
            _check_regular(path, inner, is_written=False)


def copy_file(source: Path, target: Path) -> None:
    """Copy a regular file.

    Raises:
        OSError: it can't be copied, or is something else.
    """
    with open_reading(source) as reading, target.open("xb") as writing:
        shutil.copyfileobj(reading, writing)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder of regular files to a new place.

    Raises:
        OSError: it can't be copied, or holds something else, such as a link.
    """
    if source.is_symlink():
        _check_regular(source, source.lstat(), is_written=False)
    folders = [(source, target)]
    while folders:
        place, copied = folders.pop()
        copied.mkdir()
        for entry in sorted(place.iterdir()):
            if stat.S_ISDIR(entry.lstat().st_mode):
                folders.append((entry, copied / entry.name))
            else:
                copy_file(entry, copied / entry.name)
