from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path

import pytest

from sweeper.errors import UserError
from sweeper.tracking import destination
from sweeper.tracking.destination import Destination
from sweeper.tracking.failures import UnreachableError, translated_failures


def probe(uri: str) -> None:
    Destination(uri, "experiment").probe()


def refused(path: Path) -> str:
    began = time.monotonic()
    with pytest.raises(UserError) as error:
        probe(f"sqlite:///{path}")
    assert time.monotonic() - began < 30  # MLflow itself would try for minutes
    return str(error.value)


def test_a_new_database_in_a_new_folder_can_be_written(tmp_path: Path) -> None:
    probe(f"sqlite:///{tmp_path}/new/mlflow.db")


def test_a_folder_that_takes_no_files_is_refused_at_once() -> None:
    # Not even root can create a file there, which permissions don't show.
    assert refused(Path("/proc/mlflow.db")).startswith("/proc")


def test_a_read_only_database_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mlflow.db"
    sqlite3.connect(path).execute("CREATE TABLE experiments (name)").connection.close()
    connect = sqlite3.connect
    monkeypatch.setattr(  # as on a file system that is mounted read-only
        sqlite3, "connect", lambda file, **rest: connect(f"file:{file}?mode=ro", uri=True, **rest)
    )
    assert refused(path) == f"{path} can't be written: attempt to write a readonly database"


def test_a_file_that_only_starts_like_a_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"SQLite format 3\0" + b"nonsense" * 1000)
    assert "is not an SQLite database" in refused(path)


def test_a_database_in_use_by_another_process_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destination, "_PROBE_S", 0.01)
    path = tmp_path / "mlflow.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    probe(f"sqlite:///{path}")
    other.close()


def test_a_missing_server_is_unreachable_for_now() -> None:
    with pytest.raises(
        UnreachableError, match=re.escape("no server answers at http://127.0.0.1:9")
    ):
        probe("http://127.0.0.1:9")


@pytest.mark.parametrize(
    "words",
    [
        "no such table: experiments",
        "attempt to write a readonly database",
        "unable to open database file",
        "file is not a database",
        "database disk image is malformed",
    ],
)
def test_a_lost_database_is_named_in_our_words(words: str) -> None:
    from mlflow.exceptions import MlflowException

    message = f"(sqlite3.OperationalError) {words}\n[SQL: PRAGMA x]"
    with pytest.raises(UnreachableError) as caught, translated_failures():
        raise MlflowException(message)
    assert str(caught.value) == (
        f"the tracking database was deleted, moved or replaced ({words}); if it can't be put "
        "back, delete what is left of it, and a new one is made"
    )


def test_other_words_of_a_database_stay() -> None:
    from mlflow.exceptions import MlflowException

    with (
        pytest.raises(UnreachableError, match="database is locked"),
        translated_failures(),
    ):
        raise MlflowException("(sqlite3.OperationalError) database is locked")
