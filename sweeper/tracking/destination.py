"""Resolve and check the MLflow URI of a record, and connect a client to it."""

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
from sweeper.sqlite_address import sqlite_path, sqlite_query, sqlite_uri
from sweeper.stored_files import FILES
from sweeper.tracking.failures import UnreachableError
from sweeper.tracking.moved_files import follow_move
from sweeper.tracking.variables import variables_added

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Destination",
    "connect",
    "import_mlflow",
    "mlflow_settings",
    "mlflow_uri",
    "resolve_uri",
]

_PROBE_S = 3.0
_DATABASES = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_PORTS = {"http": 80, "https": 443, **_DATABASES}

_SETTINGS = {
    # MLflow would retry for four minutes, warning each time, and might create a run twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # By default two minutes, for which a sweep would wait at its end.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Our standard output is for data.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True)
class Destination:
    """An experiment on a tracking server or database.

    Attributes:
        uri: absolute, as `resolve_uri` returns it.
        experiment: created if missing.
        artifact_root: where a new experiment of an SQLite database stores its files; by default
            ``mlartifacts`` beside the database. A server decides for itself.
        shown: the URI for messages, without secrets; by default ``uri``.
    """

    uri: str
    experiment: str
    artifact_root: Path | None = None
    shown: str = ""

    @property
    def artifact_location(self) -> str | None:
        """The URI for a new experiment's files; None if the server decides."""
        database = sqlite_path(self.uri)
        if database is None:
            return None
        return (self.artifact_root or database.parent / FILES).absolute().as_uri()

    @property
    def place(self) -> str:
        """What a sentence about its server begins with."""
        is_server = urlsplit(self.uri).scheme in ("http", "https")
        return f"the server at {self.shown or self.uri}" if is_server else "the tracking database"

    def follow_move(self, run_name: str) -> None:
        """Have the database of a storage that was moved or copied store its files there.

        Args:
            run_name: of the run whose record this is.

        Raises:
            UnreachableError: the database can't be changed now.
        """
        database = sqlite_path(self.uri)
        if database is None or self.artifact_root is None:
            return
        if database.absolute().parent == self.artifact_root.absolute().parent:
            try:
                follow_move(database, self.experiment, besides=run_name)
            except sqlite3.Error as error:
                raise UnreachableError(f"{database} can't be changed: {error}") from error

    def probe(self) -> None:
        """Check within seconds whether the destination can be written.

        MLflow itself would retry for minutes: ten attempts with doubling waits on a database
        (``mlflow/store/db/utils.py``), seven on a server.

        Raises:
            UserError: it can't be written, and trying again later won't help.
            UnreachableError: it can't be written now.
        """
        database = sqlite_path(self.uri)
        if database is not None:
            _check_database(database)
            return
        parts = urlsplit(self.uri)
        port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
        if parts.hostname and port:
            try:
                socket.create_connection((parts.hostname, port), timeout=_PROBE_S).close()
            except OSError as error:
                reason = error.strerror or error
                raise UnreachableError(
                    f"no server answers at {self.shown or self.uri} ({reason})"
                ) from error


def resolve_uri(uri: str) -> str:
    """Make the path of an SQLite URI absolute; return any other URI as it is."""
    database = sqlite_path(uri)
    return uri if database is None else sqlite_uri(database.absolute(), sqlite_query(uri))


def mlflow_uri(uri: str) -> str:
    """A URI as MLflow can take it.

    Of ``sqlite:///`` MLflow makes the parent folder without decoding its name
    (``mlflow/store/db/utils.py``), so a path with an encoded character gets a name of its driver.
    """
    is_encoded = sqlite_path(uri) is not None and "%" in uri
    return uri.replace("sqlite:", "sqlite+pysqlite:", 1) if is_encoded else uri


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
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a named pipe or a device, not a database")
    if path.exists() and path.stat().st_size:
        with path.open("rb") as stream:
            if stream.read(16) != b"SQLite format 3\0":
                raise UserError(f"{path} is not an SQLite database")
    # Find what permissions don't show, such as a file system that is mounted read-only. This
    # creates an empty file if there is none, as MLflow would next.
    try:
        with closing(sqlite3.connect(path, timeout=_PROBE_S, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("CREATE TABLE sweeper_was_here (number)")
            database.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise UserError(f"{path} can't be written: {error}") from error
        # Another process is writing to it, so the database is writable.
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} is not an SQLite database: {error}") from error


def import_mlflow() -> Any:
    """Import MLflow with its telemetry off; takes one to three seconds."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    import mlflow

    return mlflow


@contextmanager
def mlflow_settings() -> Iterator[None]:
    """Make MLflow quiet, and let it fail fast, through environment variables.

    It has no other way to set these. Variables that the user has set stay as they are.
    """
    with variables_added(_SETTINGS):
        yield


def connect(destination: Destination) -> Any:
    """Connect an ``MlflowClient``; creates the database if there is none.

    The client has its own URI. MLflow's process-wide one, which may be the user's, is neither
    read nor set.
    """
    mlflow = import_mlflow()
    # It reports new tables at INFO, and logs every database error with a traceback.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    _log_in(destination.uri)
    with _creation_lock(sqlite_path(destination.uri)):
        uri = mlflow_uri(destination.uri)
        return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def _log_in(uri: str) -> None:
    """Connect once to a database that has a login; MLflow would try ten times, for two minutes."""
    if urlsplit(uri).scheme.partition("+")[0] not in _DATABASES:
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()


@contextmanager
def _creation_lock(database: Path | None) -> Iterator[None]:
    """Let one process at a time create the tables; two at once make each other fail."""
    if database is None or fcntl is None:
        yield
        return
    descriptor = os.open(database.parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
