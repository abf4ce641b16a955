"""Find where a tracking database that came with a run leads out of its storage.

MLflow follows links, and copies a run's files to the addresses that the database holds. Whoever
made the database has chosen them. So it is looked at before anything is written to it.
"""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sweeper.run_files import check_writable, walk_files
from sweeper.stored_files import FILES, find_moved, lies_in

__all__ = ["find_ways_out"]

# What SQLite opens beside a database (https://sqlite.org/tempfiles.html).
_ENDINGS = ("", "-journal", "-wal", "-shm")
_PATIENCE_S = 5.0
_MAX_NAMED = 5
# MLflow's own, of a table that we don't write to (`1bd49d398cd23_add_secrets_tables.py`).
_OWN_TRIGGER = "CREATE TRIGGER prevent_secrets_aad_mutation BEFORE UPDATE ON secrets "
_LOCATIONS = "SELECT artifact_location FROM experiments WHERE name = ?"
_RUNS = (
    "SELECT artifact_uri FROM runs JOIN experiments USING (experiment_id) "
    "WHERE experiments.name = ?"
)


def find_ways_out(database: Path, experiment: str | None = None, *, besides: str = "") -> list[str]:
    """What writing to a database would do outside of its folder, in words; empty if nothing.

    Args:
        database: which may be missing. Its folder may itself be reached through a link.
        experiment: whose files are going to be stored; None if none are.
        besides: the name of the run that is looked at, which may be live.
    """
    artifacts = database.parent / FILES
    files = [database.with_name(database.name + ending) for ending in _ENDINGS]
    ways = [*_find_detours([*files, *_links_in(artifacts)])]
    if ways or not database.exists():
        return ways
    try:
        return [*_find_addresses(database, artifacts, experiment, besides)]
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            return []  # so nothing is written to it
        return [f"write to {database}, which can't be looked into: {error}"]


def _find_detours(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        try:
            check_writable(path)
        except OSError as error:
            if path.is_symlink():
                yield f"write to {path.readlink()} through the link {path}"
            else:
                yield f"write to {path}: {error.strerror}"


def _links_in(folder: Path) -> Iterator[Path]:
    """The first link in a folder; the folder itself if it is none."""
    if folder.is_symlink() or not folder.is_dir():
        yield folder
        return
    # What can't be read can't be written either.
    for path, status in walk_files(folder, on_error=lambda _: None):
        if stat.S_ISLNK(status.st_mode):
            yield path
            return


def _find_addresses(
    database: Path, artifacts: Path, experiment: str | None, besides: str
) -> Iterator[str]:
    address = f"{database.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE_S)) as connection:
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        tables = set()
        for kind, name, text in connection.execute("SELECT type, name, sql FROM sqlite_master"):
            words = " ".join(str(text).split())
            if kind in ("trigger", "view") and not words.startswith(_OWN_TRIGGER):
                yield f"run the {kind} {name} of {database}, which may change what is written"
            tables.add(str(name).lower())
        if experiment is None or not {"experiments", "runs"} <= tables:  # MLflow makes its own
            return
        folders = [place for (place,) in connection.execute(_LOCATIONS, (experiment,))]
        moved = find_moved(connection, experiment, artifacts, besides=besides)
        runs = [place for (place,) in connection.execute(_RUNS, (experiment,))]
        named: dict[Any, None] = {}
        for place in (*folders, *runs):
            is_named = any(_is_below(place, one) for one in [*named][:_MAX_NAMED])
            if not is_named and not lies_in(_correct(place, moved, artifacts), artifacts):
                named[place] = None
        where = f"which {database} names for {experiment!r}"
        yield from (f"write files to {place}, {where}" for place in [*named][:_MAX_NAMED])
        if len(named) > _MAX_NAMED:
            yield f"write files to {len(named) - _MAX_NAMED} more places, {where}"


def _is_below(address: Any, folder: Any) -> bool:
    """Whether an address is another one, or one below it."""
    return bool(address == folder) or str(address).startswith(f"{folder}/")


def _correct(address: Any, moved: list[Any], artifacts: Path) -> Any:
    """The address that a moved database is given (`sweeper.tracking.moved_files`)."""
    for before in moved:
        if _is_below(address, before):
            return artifacts.absolute().as_uri() + address.removeprefix(before)
    return address
