"""Where a tracking database has MLflow store the files of runs: at absolute addresses."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from sweeper.locks import has_live_run

__all__ = ["FILES", "find_moved", "find_place", "lies_in"]

FILES = "mlartifacts"
"""The folder beside a storage's database in which MLflow stores files."""


def find_place(address: object) -> Path | None:
    """The path that MLflow takes an address for; None if it is of a server, or none."""
    if not isinstance(address, str) or not address.startswith("file:///"):
        return None
    return Path(url2pathname(urlparse(address).path))


def find_moved(
    opened: sqlite3.Connection, experiment: str, folder: Path, *, besides: str
) -> list[Any]:
    """The addresses of an experiment's files in a database that was moved or copied with them.

    Such an address is one that launches give, of another storage, and files of the experiment's
    runs are in the folder at the same place as there. None counts while a run of the storage is
    live: in a container, or on another machine, it may know the storage by the other address.

    Args:
        opened: the database, with MLflow's tables.
        experiment: its name.
        folder: where the database's storage has its files now.
        besides: the name of a run that may be live.
    """
    where = "JOIN experiments USING (experiment_id) WHERE experiments.name = ?"
    query = f"SELECT artifact_uri FROM runs {where}"  # noqa: S608 - a text of our own
    runs = [str(place) for (place,) in opened.execute(query, (experiment,))]
    query = "SELECT artifact_location FROM experiments WHERE name = ?"
    moved = [
        before
        for (before,) in opened.execute(query, (experiment,))
        if _is_of_a_launch(before)
        and not lies_in(before, folder)
        and any(_is_there(run, before, folder) for run in runs)
    ]
    return [] if moved and has_live_run(folder.parent, besides) else moved


def _is_of_a_launch(address: object) -> bool:
    place = find_place(address)
    return place is not None and place.name == FILES


def _is_there(address: str, before: str, folder: Path) -> bool:
    """Whether a run that had its files below another folder has them below this one."""
    if not address.startswith(f"{before}/"):
        return False
    place = find_place(folder.absolute().as_uri() + address.removeprefix(before))
    try:
        return place is not None and place.is_dir()
    except (OSError, ValueError):
        return False


def lies_in(address: object, folder: Path) -> bool:
    """Whether MLflow takes an address for a folder's, or one below, once links are resolved."""
    place = find_place(address)
    if place is None or ".." in place.parts:
        return False
    try:
        return place.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a null byte, or links in a circle
        return False
