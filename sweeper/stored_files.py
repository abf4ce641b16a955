"""Where a tracking database has MLflow store the files of runs: at absolute addresses."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

__all__ = ["FILES", "find_place", "is_moved", "lies_in"]

FILES = "mlartifacts"
"""The folder beside a storage's database in which MLflow stores files."""


def find_place(address: object) -> Path | None:
    """The path that MLflow takes an address for; None if it is of a server, or none."""
    if not isinstance(address, str) or not address.startswith("file:///"):
        return None
    return Path(url2pathname(urlparse(address).path))


def is_moved(address: object, folder: Path) -> bool:
    """Whether an address is one that launches give, of another storage than a folder's."""
    place = find_place(address)
    return place is not None and place.name == FILES and not lies_in(address, folder)


def lies_in(address: object, folder: Path) -> bool:
    """Whether MLflow takes an address for a folder's, or one below, once links are resolved."""
    place = find_place(address)
    if place is None or ".." in place.parts:
        return False
    try:
        return place.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a null byte, or links in a circle
        return False
