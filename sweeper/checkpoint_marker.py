"""Whether a checkpoint is whole: a marker, written last, has the size and checksum of every file.

A kill, a full disk or a power loss can leave some files of a checkpoint missing, short or full of
zeros. Ray copies the files in any order, so that the marker is there says little; that all files
are as it says does. Checkpoints of earlier versions have no marker: they count as whole if their
files can be parsed.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sweeper.json_values import parse_json
from sweeper.paths import CheckpointPaths, write_atomically
from sweeper.run_files import open_reading, read_json, read_text
from sweeper.storage.checkpoints import bring_folder, stored_sizes

__all__ = ["find_damage", "mark_complete"]

_VERSION = 1
_CHUNK_BYTES = 2**20
# Of a larger file, a replay memory, only the size is compared: reading it takes seconds.
_MAX_READ_BYTES = 256 * 2**20

_Sums = Mapping[str, tuple[int, int | None]]


def mark_complete(folder: Path) -> None:
    """Write the marker of a checkpoint whose other files are written.

    Raises:
        OSError: it can't be written, or a file can't be read.
    """
    files = {
        path.relative_to(folder).as_posix(): [path.stat().st_size, _checksum(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({"version": _VERSION, "files": files}, indent=1)
    write_atomically(CheckpointPaths(folder).marker, text + "\n", syncs=False)


def find_damage(folder: Path, *, reads_all: bool = True) -> str | None:
    """What is wrong with a checkpoint, in words; None if it is whole.

    What only training needs may be missing, if all of it is: finished trials don't keep it.

    Args:
        folder: the checkpoint.
        reads_all: False to compare sizes only, which takes no time.
    """
    paths = CheckpointPaths(folder)
    stored = stored_sizes(folder)
    if stored is not None:
        return _find_damage_in_bucket(paths, stored, reads_all=reads_all)
    if not os.path.lexists(paths.marker):
        return _find_unreadable(paths)
    return _compare(paths, reads_all=reads_all)


def _find_damage_in_bucket(
    paths: CheckpointPaths, stored: Mapping[str, int], *, reads_all: bool
) -> str | None:
    """The same of one in a bucket; to read all, its files are brought here."""
    marker = paths.marker.name
    if marker not in stored:
        return f"{marker}, which is uploaded last, is missing"
    if reads_all:
        bring_folder(paths.root)
        return _compare(paths, reads_all=True)
    bring_folder(paths.root, lambda name: name == marker)
    return _compare(paths, reads_all=False, stored=stored)


def _compare(
    paths: CheckpointPaths, *, reads_all: bool, stored: Mapping[str, int] | None = None
) -> str | None:
    """Compare the files with the marker; only sizes if these are of files in a bucket."""
    folder = paths.root
    try:
        sums = _read_marker(paths.marker)
    except OSError as error:
        return f"{paths.marker.name}: {error.strerror}"
    except ValueError as error:
        return f"{paths.marker.name}: {error}"
    has_trainer = paths.has_trainer if stored is None else paths.state.name in stored
    left_out = () if has_trainer else CheckpointPaths.TRAINER_FILES
    for name, (size, checksum) in sums.items():
        if name in left_out:
            continue
        if stored is not None:
            if name not in stored:
                return f"{name} is missing"
            if stored[name] != size:
                return f"{name} has {stored[name]:,} of {size:,} bytes"
            continue
        try:
            with open_reading(folder / name) as stream:
                found = os.fstat(stream.fileno()).st_size
            if found != size:
                return f"{name} has {found:,} of {size:,} bytes"
            if reads_all and checksum != _checksum(folder / name):
                return f"the contents of {name} have changed"
        except OSError as error:
            return f"{name}: {error.strerror}"
    return None


def _read_marker(path: Path) -> _Sums:
    document = parse_json(read_text(path), keeps_halves=True)
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, dict) or not files:
        raise ValueError("it lists no files")
    for name, entry in files.items():
        is_pair = isinstance(entry, list) and len(entry) == 2
        if not _is_name(name) or not is_pair or not isinstance(entry[0], int):
            raise ValueError("it is damaged")
    return {name: (size, checksum) for name, (size, checksum) in files.items()}


def _is_name(name: str) -> bool:
    """Whether a name can be that of a file in the checkpoint."""
    try:
        data = os.fsencode(name)
    except UnicodeEncodeError:
        return False
    place = PurePosixPath(name)
    return b"\0" not in data and not place.is_absolute() and ".." not in place.parts


def _checksum(path: Path) -> int | None:
    """The CRC-32 of a file; None for one that is too large to be read again."""
    checksum = 0
    with open_reading(path) as stream:
        if os.fstat(stream.fileno()).st_size > _MAX_READ_BYTES:
            return None
        while chunk := stream.read(_CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def _find_unreadable(paths: CheckpointPaths) -> str | None:
    """What of a checkpoint without a marker can't be parsed, of the files that are there."""
    documents = [paths.state, paths.agent]
    documents += [CheckpointPaths(replica).rllib_metadata for replica in paths.replicas]
    tensors = (paths.weights, paths.trainer, paths.replay)
    for path in [*documents, *tensors]:
        if not os.path.lexists(path):
            continue
        name = path.relative_to(paths.root).as_posix()
        try:
            if path in tensors:
                _check_tensors(path)
            elif not isinstance(read_json(path), dict):
                return f"{name} is no mapping"
        except OSError as error:
            return f"{name}: {error.strerror}"
        except (ValueError, TypeError, AttributeError, KeyError, IndexError):
            return f"{name} can't be parsed"
    if os.path.lexists(paths.agent) != os.path.lexists(paths.weights):
        return "agent.json or weights.safetensors is missing"
    return None


def _check_tensors(path: Path) -> None:
    """Check that a safetensors file is as long as its header says.

    Raises:
        ValueError: it is not; also other errors of what is no header.
    """
    with open_reading(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if length > size:
            raise ValueError("the header is cut off")
        header = parse_json(stream.read(length).decode("utf-8"))
    header.pop("__metadata__", None)
    ends = [entry["data_offsets"][1] for entry in header.values()]
    if 8 + length + max(ends, default=0) != size:
        raise ValueError("it is cut off")
