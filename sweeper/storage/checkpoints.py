"""Checkpoints that may lie in a bucket: look for them, bring them, delete them, upload them.

A checkpoint's path is that of the working copy, where its files need not be. Every function takes
a path of this machine, too, and then looks there alone.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TypeVar

from sweeper.run_files import delete, is_regular, set_aside
from sweeper.storage.address import Address, address_of
from sweeper.storage.mirror import mirror_of
from sweeper.storage.objects import Objects, StorageError

__all__ = [
    "bring_folder",
    "bring_logs",
    "has_file",
    "list_folders",
    "patiently",
    "put_aside",
    "remove_file",
    "remove_folder",
    "store_log",
    "stored_sizes",
    "upload_folder",
]

_logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_AT_A_TIME = 4
_PAUSE_S = 2.0
_MAX_PAUSE_S = 30.0
_PATIENCE_S = 1800.0


def _objects(path: Path) -> Objects | None:
    """The objects of the folder that a path stands for; None if it stands for none in a bucket."""
    address = address_of(path)
    return None if address is None else Objects(address)


def stored_sizes(folder: Path) -> Mapping[str, int] | None:
    """The size of every file that a bucket has of a folder; None if it is of this machine alone.

    Raises:
        StorageError: the bucket can't be read.
    """
    objects = _objects(folder)
    if objects is None:
        return None
    return {name: entry.size for name, entry in objects.find().items()}


def has_file(path: Path) -> bool:
    """Whether there is a regular file, here or in the bucket.

    Raises:
        StorageError: the bucket can't be read.
    """
    objects = _objects(path.parent)
    if objects is None:
        return is_regular(path)
    return path.name in objects.find(recursive=False)


def list_folders(folder: Path, prefix: str) -> list[Path]:
    """The folders directly below one whose names begin with a prefix, here or in the bucket.

    Raises:
        StorageError: the bucket can't be read.
    """
    objects = _objects(folder)
    if objects is None:
        return [path for path in folder.glob(f"{prefix}*") if path.is_dir()]
    return [
        folder / name for name in objects.folders() if name.startswith(prefix) and "/" not in name
    ]


def bring_folder(folder: Path, names: Callable[[str], bool] = lambda _: True) -> None:
    """Have the files of a folder here that its bucket has.

    Args:
        folder: a checkpoint's. Its files never change once they are written, but for some that
            are deleted.
        names: which of them.

    Raises:
        StorageError: the bucket can't be read.
        OSError: a file can't be written here.
    """
    objects = _objects(folder)
    if objects is None:
        return
    found = {name: entry for name, entry in objects.find().items() if names(name)}
    for name in found:
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise StorageError(f"{objects.address}: {name!r} is no name of a checkpoint's file")
    missing = [
        name
        for name, entry in found.items()
        if not is_regular(folder / name) or (folder / name).stat().st_size != entry.size
    ]
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        list(threads.map(lambda name: objects.download(name, folder / name), missing))


def bring_logs(trials: Path, trial_id: str | None = None) -> None:
    """Have the logs of trials here as the bucket has them, unless those here have more.

    What can't be brought stays as it is.

    Args:
        trials: the folder with a folder for each trial.
        trial_id: the only one to bring.
    """
    objects = _objects(trials)
    if objects is None:
        return

    def bring(name: str) -> None:
        with contextlib.suppress(StorageError, OSError):
            path = trials / name
            if not is_regular(path) or path.stat().st_size < found[name].size:
                objects.download(name, path)

    with contextlib.suppress(StorageError):
        found = objects.find(trial_id or "")
        names = [name for name in found if PurePosixPath(name).match("*/log.txt")]
        with ThreadPoolExecutor(_AT_A_TIME) as threads:
            list(threads.map(bring, names))


def remove_folder(folder: Path, *, below: Path) -> None:
    """Delete a folder of a trial, here and in the bucket.

    While a driver mirrors the run, the bucket's is deleted once the journal says there what led to
    it: a driver that goes on from the bucket must find what its journal names.

    Args:
        folder: what to delete; a missing one is fine.
        below: the folder that it must lie in.

    Raises:
        OSError: it can't be deleted here, or lies elsewhere.
        StorageError: the bucket can't be written.
    """
    _remove(folder, below, lambda objects: objects.delete_folder(folder.name), folder)


def remove_file(path: Path, *, below: Path) -> None:
    """Delete a file of a trial's checkpoint, as `remove_folder` does a folder."""
    _remove(path, below, lambda objects: objects.delete(path.name), path.parent)


def store_log(path: Path) -> None:
    """Write a trial's log to the bucket, if the run lies in one.

    Raises:
        OSError: it can't be read.
        StorageError: the bucket can't be written.
    """
    objects = _objects(path.parent)
    if objects is not None:
        objects.upload(path, path.name)


def _remove(
    path: Path, below: Path, delete_stored: Callable[[Objects], None], checkpoint: Path
) -> None:
    objects = _objects(path.parent)
    if objects is not None:
        path.relative_to(below)
        mirror = mirror_of(path)
        if mirror is None:
            delete_stored(objects)
        elif mirror.takes_out(path, checkpoint):
            mirror.when_written(lambda: delete_stored(objects))
    delete(path, below=below)


def put_aside(path: Path, *, below: Path) -> Path:
    """Put a folder of a trial out of the way, here or in the bucket; returns where it is now.

    Raises:
        OSError: it can't be moved.
        StorageError: the bucket can't be written.
    """
    objects = _objects(path.parent)
    if objects is None:
        return set_aside(path, below=below)
    taken = objects.folders()
    names = (f"damaged_{number}_{path.name}" for number in range(1, 10_000))
    name = next(name for name in names if name not in taken)
    objects.move_folder(path.name, name)
    with contextlib.suppress(OSError):
        delete(path, below=below)
    return path.with_name(name)


def upload_folder(folder: Path, address: Address, last: str) -> None:
    """Upload the files of a folder to a bucket, in place of all that is there.

    Args:
        folder: of this machine.
        address: where they go.
        last: the name of the file that is uploaded once all others are there.

    Raises:
        OSError: a file can't be read.
        StorageError: the bucket can't be written.
    """
    objects = Objects(address)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if stale := objects.find():
        objects.delete(last)
        for name in stale.keys() - set(names):
            objects.delete(name)
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        others = (name for name in names if name != last)
        list(threads.map(lambda name: objects.upload(folder / name, name), others))
    objects.upload(folder / last, last)


def patiently(do: Callable[[], _Result], patience_s: float = _PATIENCE_S) -> _Result:
    """Do something that needs a bucket; while it is away, wait and try again.

    Raises:
        StorageError: it stayed away for too long.
    """
    deadline, pause_s = time.monotonic() + patience_s, _PAUSE_S
    while True:
        try:
            return do()
        except StorageError as error:
            if time.monotonic() + pause_s > deadline:
                raise
            _logger.warning("%s; trying again in %.0f s", error, pause_s)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)
