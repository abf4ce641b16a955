"""Where the record goes: an MLflow URI made absolute and checked, and a client for it."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sweeper.errors import UserError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Destination",
    "RefusedError",
    "UnreachableError",
    "connect",
    "import_mlflow",
    "mlflow_settings",
    "resolve_uri",
    "sqlite_path",
    "translated_failures",
]

_SQLITE = "sqlite:///"
_PROBE_S = 3.0


_SETTINGS = {
    # It would retry for four minutes, warning each time, and might make a run twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # Standard output is for data.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

# The server understood and says no to this one request; waiting won't help.
_REFUSALS = frozenset(
    {
        "BAD_REQUEST",
        "ENDPOINT_NOT_FOUND",
        "INVALID_PARAMETER_VALUE",
        "INVALID_STATE",
        "PERMISSION_DENIED",
        "RESOURCE_ALREADY_EXISTS",
        "RESOURCE_DOES_NOT_EXIST",
        "UNAUTHENTICATED",
    }
)


class UnreachableError(Exception):
    """The destination does not answer now and may later."""


class RefusedError(Exception):
    """MLflow will not take this, now or later."""


@dataclass(frozen=True)
class Destination:
    """An experiment on a tracking server or database.

    Attributes:
        uri: absolute, as `resolve_uri` makes it.
        experiment: made if it is not there.
        artifact_root: where a new experiment of an SQLite database keeps its files; by default
            ``mlartifacts`` beside the database. A server decides for itself.
    """

    uri: str
    experiment: str
    artifact_root: Path | None = None

    @property
    def artifact_location(self) -> str | None:
        """The URI for a new experiment's files, or None where the server decides."""
        database = sqlite_path(self.uri)
        if database is None:
            return None
        return (self.artifact_root or database.parent / "mlartifacts").absolute().as_uri()

    def probe(self) -> None:
        """Find out in seconds whether writing can work.

        MLflow's own retries would take minutes: ten attempts with doubled waits on a database
        (``mlflow/store/db/utils.py``), seven on a server.

        Raises:
            UserError: it can't, and waiting won't help.
            UnreachableError: it can't now.
        """
        database = sqlite_path(self.uri)
        if database is not None:
            _check_database(database)
            return
        parts = urlsplit(self.uri)
        if parts.scheme in ("http", "https") and parts.hostname:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            try:
                socket.create_connection((parts.hostname, port), timeout=_PROBE_S).close()
            except OSError as error:
                reason = error.strerror or error
                raise UnreachableError(f"no server answers at {self.uri} ({reason})") from error


def resolve_uri(uri: str) -> str:
    """An SQLite URI with its path made absolute; any other as it is."""
    database = sqlite_path(uri)
    return uri if database is None else f"{_SQLITE}{database.absolute()}"


def sqlite_path(uri: str) -> Path | None:
    """The database's file, or None if the URI is not of SQLite."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def _check_database(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"can't make the folder {path.parent}: {error.strerror}") from error
    target = path if path.exists() else path.parent
    if not os.access(path.parent, os.W_OK) or not os.access(target, os.W_OK):
        raise UserError(f"{target} is not writable")
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a database")
    if path.exists() and path.stat().st_size:
        with path.open("rb") as stream:
            if stream.read(16) != b"SQLite format 3\0":
                raise UserError(f"{path} is not an SQLite database")
    _try_to_write(path)


def _try_to_write(path: Path) -> None:
    """What permissions don't tell: a folder that takes no files, a file system mounted read-only.

    Makes an empty file where there is none, as MLflow would in a moment.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_PROBE_S, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("CREATE TABLE sweeper_was_here (number)")
            database.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UserError(f"{path} can't be written: {error}") from error
        # Someone else writes there, so it can be written.
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} is not an SQLite database: {error}") from error


def import_mlflow() -> Any:
    """Import MLflow, with its telemetry off; takes one to three seconds."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import mlflow

    return mlflow


@contextmanager
def mlflow_settings() -> Iterator[None]:
    """MLflow silent and impatient for the length of the block.

    It takes these from the environment alone. What the user has set stays.
    """
    added = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def connect(destination: Destination) -> Any:
    """An ``MlflowClient``; makes the database if there is none.

    The client has its own URI: MLflow's process-wide one, which may be the user's, is neither
    read nor set.
    """
    mlflow = import_mlflow()
    # It announces the new tables at INFO, and logs every database error with a traceback.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    with _creation_lock(sqlite_path(destination.uri)):
        return mlflow.MlflowClient(tracking_uri=destination.uri, registry_uri=destination.uri)


@contextmanager
def _creation_lock(database: Path | None) -> Iterator[None]:
    """One process at a time: two that make the same tables fail each other."""
    if database is None or fcntl is None:
        yield
        return
    descriptor = os.open(database.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # not every network file system can
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def translated_failures() -> Iterator[None]:
    """MLflow's exceptions as ours.

    Raises:
        RefusedError: it does not take the request.
        UnreachableError: it can't be reached or can't answer now.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        text = str(error).strip().splitlines()
        message = text[0] if text else type(error).__name__
        if error.error_code in _REFUSALS:
            raise RefusedError(message) from error
        raise UnreachableError(message) from error
    except OSError as error:
        raise UnreachableError(str(error)) from error
