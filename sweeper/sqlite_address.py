"""The address of an SQLite database: a path as a URI, and back.

Addresses are those of SQLAlchemy, which MLflow uses: percent signs encode characters of the path,
and a question mark ends it. In a spec a URI may refer to variables (`sweeper.references`). A path
must not do so by accident, so what would begin a reference is encoded, too.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from sweeper.storage.address import storage_folder

__all__ = ["default_tracking_uri", "place_in", "sqlite_path", "sqlite_query", "sqlite_uri"]

_SQLITE = "sqlite:///"


def sqlite_uri(path: Path, query: str = "") -> str:
    """The URI of a database's file; ``query`` begins with a question mark, or is empty."""
    return f"{_SQLITE}{_encode(path)}{query}"


def place_in(folder: Path, path: str) -> str:
    """The URI of what follows ``sqlite:///`` in another one; a relative path begins in a folder."""
    place, mark, options = path.partition("?")
    return f"{_SQLITE}{Path(_encode(folder)) / place}{mark}{options}"


def default_tracking_uri(storage: str) -> str:
    """The MLflow database of a spec that names none: in its storage.

    That of a storage in a bucket is in its working copy on this machine: a database can't be
    mirrored while it is written.
    """
    return sqlite_uri(storage_folder(storage).absolute() / "mlflow.db")


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite URI; None for any other URI."""
    if not uri.startswith(_SQLITE):
        return None
    return Path(unquote(uri.removeprefix(_SQLITE).partition("?")[0]))


def sqlite_query(uri: str) -> str:
    """The options of an SQLite URI, from the question mark on; empty if it has none."""
    _, mark, options = uri.partition("?")
    return f"{mark}{options}"


def _encode(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3F").replace("${", "%24{")
