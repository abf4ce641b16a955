"""Resolve and check the MLflow URI of a record, and connect a client to it."""

from __future__ import annotations

import logging
import os
import re
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
from sweeper.tracking.moved_files import follow_move
from sweeper.tracking.variables import variables_added
from sweeper.veil import veil

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
    "mlflow_uri",
    "resolve_uri",
    "translated_failures",
]

_PROBE_S = 3.0

_SETTINGS = {
    # MLflow would retry for four minutes, warning each time, and might create a run twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # Our standard output is for data.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

# The server refuses this request; trying again later won't help.
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
    """The destination does not answer now, but may later."""


class RefusedError(Exception):
    """MLflow refuses a request, now and later."""


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
        if parts.scheme in ("http", "https") and parts.hostname:
            port = parts.port or (443 if parts.scheme == "https" else 80)
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
    with _creation_lock(sqlite_path(destination.uri)):
        uri = mlflow_uri(destination.uri)
        return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


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


def _explain_database(message: str) -> str:
    """SQLAlchemy's words for a database that is not what it was, in ours."""
    found = _SQLITE_ERROR.search(message)
    if found is None or not _LOST.search(found[1]):
        return message
    return (
        f"the tracking database was deleted, moved or replaced ({found[1].strip()}); if it can't "
        "be put back, delete what is left of it, and a new one is made"
    )


_SQLITE_ERROR = re.compile(r"\(sqlite3\.\w+\) ([^\[\n]*)")
# SQLite's words (src/main.c, sqlite3ErrStr) when the file is another one, or none.
_LOST = re.compile(
    r"no such table|readonly database|unable to open database|malformed|not a database|disk I/O"
)


@contextmanager
def translated_failures() -> Iterator[None]:
    """Raise MLflow's exceptions as ours.

    Raises:
        RefusedError: MLflow refuses the request.
        UnreachableError: MLflow can't be reached, or can't answer now.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        text = str(error).strip().splitlines()
        message = veil(_explain_database(text[0]) if text else type(error).__name__)
        if error.error_code in _REFUSALS:
            raise RefusedError(message) from error
        raise UnreachableError(message) from error
    except OSError as error:
        raise UnreachableError(veil(str(error))) from error
