"""A file that only grows, as objects: in parts of one size, of which only the last one changes.

Objects can't be appended to. A journal of a whole sweep has some 50 MB, and writing all of it every
few seconds would cost more than the sweep.
"""

from __future__ import annotations

import os
from pathlib import Path

from sweeper.run_files import open_reading
from sweeper.storage.objects import Objects, StorageError

__all__ = ["PART_BYTES", "list_parts", "read_parts", "write_parts"]

PART_BYTES = 2**20
_TRIES = 3


def _name(folder: str, number: int) -> str:
    return f"{folder}/{number:08d}"


def write_parts(objects: Objects, folder: str, path: Path, begin: int) -> int:
    """Write what a file has from a byte on.

    Args:
        objects: of the bucket.
        folder: where the parts are.
        path: the file.
        begin: how many of its bytes are there already.

    Returns:
        How many are there now.

    Raises:
        OSError: the file can't be read.
        StorageError: a part can't be written.
    """
    with open_reading(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        for number in range(begin // PART_BYTES, -(-size // PART_BYTES)):
            stream.seek(number * PART_BYTES)
            objects.write(_name(folder, number), stream.read(min(PART_BYTES, size - stream.tell())))
    return size


def list_parts(objects: Objects, folder: str) -> int:
    """How many bytes of a file are there; 0 if there is no such file.

    Raises:
        StorageError: the bucket can't be read, or a part is missing.
    """
    for _ in range(_TRIES):
        found = objects.find(folder, recursive=False)
        names = sorted(found)
        whole = [found[name].size == PART_BYTES for name in names[:-1]]
        if all(whole) and names == [_name(folder, number) for number in range(len(names))]:
            return sum(entry.size for entry in found.values())
        # A part was being written while the list was made.
    raise StorageError(f"{objects.address}/{folder}: a part is missing, or is not whole")


def read_parts(objects: Objects, folder: str, begin: int, end: int) -> bytes:
    """The bytes of a file from one to another.

    Raises:
        FileNotFoundError: a part is not there.
        StorageError: the bucket can't be read.
    """
    first, last = begin // PART_BYTES, -(-end // PART_BYTES)
    data = b"".join(objects.read(_name(folder, number)) for number in range(first, last))
    return data[begin - first * PART_BYTES : end - first * PART_BYTES]
