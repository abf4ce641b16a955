"""Bring runs from a bucket into their working copies, and the other way a file at a time.

The journal and the small files come when a run is opened; a trial's checkpoints and logs, when
they are asked for. The journal here may be ahead of the bucket's, if this machine's driver was
killed before it had written the rest: then it stays. Where the two have parted, the bucket's counts
and the one here is put aside.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sweeper.run_files import delete_tree, is_regular, open_reading, open_regular
from sweeper.storage.address import address_of
from sweeper.storage.known import read_known, write_known
from sweeper.storage.objects import Entry, Objects
from sweeper.storage.parts import list_parts, read_parts

__all__ = [
    "CHAMPION",
    "FOLDERS",
    "JOURNAL",
    "JOURNAL_FILE",
    "bring_run",
    "bring_storage",
    "delete_stored_run",
    "is_small_file",
    "list_small_files",
    "publish",
]

_logger = logging.getLogger(__name__)

JOURNAL = "journal"
"""The folder with the journal's parts; a folder in a bucket that has one is a run."""

CHAMPION = "champion"
FOLDERS = (CHAMPION, "start")
"""The folders of a run whose files are mirrored, beside the files of the run's own folder."""

JOURNAL_FILE = "journal.jsonl"
_PART_OF_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COMPARED_BYTES = 2**16
_AT_A_TIME = 8


def is_small_file(name: str) -> bool:
    """Whether a file of this name, relative to the run's folder, is mirrored as it is."""
    parts = name.split("/")
    if not all(_PART_OF_NAME.fullmatch(part) for part in parts):
        return False
    if len(parts) == 1:
        return not name.startswith("journal")
    return parts[0] in FOLDERS


def list_small_files(objects: Objects) -> dict[str, Entry]:
    """The small files of a run in a bucket.

    Raises:
        StorageError: the bucket can't be read.
    """
    found = objects.find(recursive=False)
    for folder in FOLDERS:
        found.update(objects.find(folder))
    return {name: entry for name, entry in found.items() if is_small_file(name)}


def bring_storage(folder: Path) -> None:
    """Bring the runs of a storage in a bucket; does nothing for a folder of this machine.

    Raises:
        StorageError: the bucket can't be read.
    """
    address = address_of(folder)
    if address is None:
        return
    names = [name for name in Objects(address).folders() if _PART_OF_NAME.fullmatch(name)]
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        list(threads.map(lambda name: bring_run(folder / name), names))


def bring_run(root: Path) -> bool:
    """Bring what a bucket has of a run; does nothing for a folder of this machine.

    Returns:
        Whether the bucket has a run of this name.

    Raises:
        StorageError: the bucket can't be read.
        OSError: the working copy can't be written.
    """
    address = address_of(root)
    if address is None:
        return False
    objects = Objects(address)
    total = list_parts(objects, JOURNAL)
    if not total:
        return False
    root.mkdir(parents=True, exist_ok=True)
    _bring_journal(objects, root, total)
    _bring_small_files(objects, root)
    return True


def _bring_journal(objects: Objects, root: Path, total: int) -> None:
    path = root / JOURNAL_FILE
    size = path.stat().st_size if is_regular(path) else 0
    shared = min(size, total)
    begin = max(0, shared - _COMPARED_BYTES)
    if shared and _read(path, begin, shared) != read_parts(objects, JOURNAL, begin, shared):
        aside = _find_free(root)
        path.rename(aside)
        _logger.warning(
            "%s: the journal of its working copy had parted from the bucket's, which counts; it is "
            "now %s",
            objects.address,
            aside,
        )
        size = 0
    if total > size:
        data = read_parts(objects, JOURNAL, size, total)
        descriptor = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with os.fdopen(descriptor, "ab") as stream:
            stream.write(data)


def _read(path: Path, begin: int, end: int) -> bytes:
    with open_reading(path) as stream:
        stream.seek(begin)
        return stream.read(end - begin)


def _find_free(root: Path) -> Path:
    names = (f"journal_parted_{number}.jsonl" for number in range(1, 10_000))
    return next(root / name for name in names if not os.path.lexists(root / name))


def _bring_small_files(objects: Objects, root: Path) -> None:
    known, found = read_known(root), list_small_files(objects)
    news = [
        name
        for name, entry in found.items()
        if known.get(name) != entry or not is_regular(root / name)
    ]
    # An agent's description comes last: without it there is no agent.
    for name in sorted(news, key=lambda name: name.endswith("/agent.json")):
        objects.download(name, root / name)
    gone = [name for name in known if name not in found and is_small_file(name)]
    for name in gone:
        (root / name).unlink(missing_ok=True)
    if news or gone:
        write_known(root, found)


def publish(paths: Iterable[Path], root: Path) -> None:
    """Write files of a run, changed by another than its driver, to its bucket if it has one.

    Raises:
        StorageError: the bucket can't be written.
    """
    address = address_of(root)
    if address is None:
        return
    objects = Objects(address)
    for path in paths:
        objects.upload(path, path.relative_to(root).as_posix())
    write_known(root, list_small_files(objects))


def delete_stored_run(root: Path) -> None:
    """Delete a run from its bucket, and its working copy; the journal first, which makes it a run.

    Raises:
        StorageError: the bucket can't be written.
    """
    address = address_of(root)
    if address is None:
        return
    objects = Objects(address)
    objects.delete_folder(JOURNAL)
    objects.delete_folder("")
    if root.is_dir():
        delete_tree(root)
