"""Have the system write files to the disk, so that no power loss takes what is said to be there."""

from __future__ import annotations

import errno
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["sync", "sync_tree"]

# Of files, folders and file systems that can't sync.
_NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EROFS})
# A run folder may come from someone else: no link is followed, and no named pipe waited for.
_SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"))
_AT_A_TIME = 8


def sync(descriptor: int, *, only_data: bool = False) -> None:
    """Have the system write a file or a folder; does nothing where the file system can't.

    Args:
        descriptor: of the open file or folder.
        only_data: leave out what nobody needs to read the file again, such as its time.

    Raises:
        OSError: it can't be written.
    """
    try:
        (getattr(os, "fdatasync", os.fsync) if only_data else os.fsync)(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_tree(folder: Path, *, below: Path) -> None:
    """Have the system write a folder with all that is in it, and the folders that lead to it.

    Several at a time: a file system then writes its own journal once for all, and not for each.

    Args:
        folder: without links in it.
        below: the folder from which on the way to it may be new; it is written, too.

    Raises:
        OSError: something can't be opened or written.
    """
    above = [below / part for part in folder.relative_to(below).parents]
    for _ in _threads().map(_sync_path, [folder, *folder.rglob("*"), *above]):
        pass


def _sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | _SAFELY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads that stay, since to start them takes longer than to sync some small files."""
    return ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="sweeper-sync")
