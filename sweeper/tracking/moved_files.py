"""Have a tracking database that was moved or copied with its storage store its files there.

MLflow stores the files of a run at the address that its database has for it, which is absolute: the
old place's. There nothing may change any more, and after a move nothing is left to show.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sweeper.stored_files import FILES, find_moved

__all__ = ["follow_move"]

_PATIENCE_S = 10.0
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow_move(database: Path, experiment: str, *, besides: str = "") -> None:
    """Correct the addresses of files, if a database was moved or copied with them.

    MLflow has no request for this, so the database itself is changed. What was stored elsewhere
    from the first, for another storage or by the user, stays there (`find_moved`).

    Args:
        database: of a storage, made by a launch; it may be missing or empty.
        experiment: whose address shows where the storage was.
        besides: the name of a run that may be live.

    Raises:
        sqlite3.Error: the database can't be read or changed.
    """
    if not database.is_file() or not database.stat().st_size:
        return
    here = database.absolute().parent / FILES
    with closing(sqlite3.connect(database, timeout=_PATIENCE_S, isolation_level=None)) as opened:
        columns = [one for one in _ADDRESSES if _has_column(opened, *one)]
        if _ADDRESSES[0] not in columns or _ADDRESSES[1] not in columns:
            return
        for before in find_moved(opened, experiment, here, besides=besides):
            _rewrite(opened, columns, before, here.as_uri())


def _has_column(opened: sqlite3.Connection, table: str, column: str) -> bool:
    query = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
    return opened.execute(query, (table, column)).fetchone() is not None


def _rewrite(
    opened: sqlite3.Connection, columns: list[tuple[str, str]], before: str, after: str
) -> None:
    opened.execute("BEGIN IMMEDIATE")
    try:
        for table, column in columns:
            opened.execute(
                f"UPDATE {table} "  # noqa: S608 - the names are our own
                f"SET {column} = :after || substr({column}, length(:before) + 1) "
                f"WHERE {column} = :before "
                f"OR substr({column}, 1, length(:before) + 1) = :before || '/'",
                {"before": before, "after": after},
            )
        opened.execute("COMMIT")
    except BaseException:
        opened.execute("ROLLBACK")
        raise
