"""A database that was moved or copied with its storage stores files where it lies now."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from run_folders import make_run

from sweeper.locks import run_lock
from sweeper.sqlite_address import sqlite_uri
from sweeper.tracking.destination import Destination, connect
from sweeper.tracking.moved_files import follow_move


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with a run, a model and a file in MLflow."""
    storage = tmp_path_factory.mktemp("at first") / "runs"
    storage.mkdir()
    destination = Destination(sqlite_uri(storage / "mlflow.db"), "swept")
    client: MlflowClient = connect(destination)
    experiment = client.create_experiment("swept", artifact_location=destination.artifact_location)
    run = client.create_run(experiment).info.run_id
    client.log_text(run, "first", "note.txt")
    model = client.create_logged_model(experiment, name="champion", source_run_id=run)
    client.create_registered_model("agent")
    client.create_model_version("agent", model.artifact_location, run_id=run)
    return storage


def addresses(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as opened:
        return [line for line in opened.iterdump() if "file://" in line]


def notes(storage: Path) -> list[str]:
    return [path.read_text() for path in sorted(storage.rglob("note*.txt"))]


@pytest.mark.parametrize("name", ["elsewhere", "with blank", "p%20c?#t", "ünï", "runs/inner"])
def test_files_of_a_copy_are_stored_in_the_copy(made: Path, tmp_path: Path, name: str) -> None:
    moved = Path(shutil.copytree(made, tmp_path / name))
    database = moved / "mlflow.db"
    before = addresses(made / "mlflow.db")
    follow_move(database, "swept")
    corrected = addresses(database)
    assert corrected
    assert not any(made.as_uri() + "/" in line for line in corrected)
    assert all((moved / "mlartifacts").as_uri() in line for line in corrected)
    follow_move(database, "swept")
    assert addresses(database) == corrected
    client = connect(Destination(sqlite_uri(database), "swept"))
    (run,) = client.search_runs([client.get_experiment_by_name("swept").experiment_id])
    (tmp_path / "note2.txt").write_text("second")
    # The client itself remembers where the files of a run were in this process.
    get_artifact_repository(run.info.artifact_uri).log_artifact(str(tmp_path / "note2.txt"))
    assert notes(moved) == ["first", "second"]
    assert notes(made) == ["first"]
    assert addresses(made / "mlflow.db") == before


def test_nothing_changes_where_the_storage_was(made: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(made)
    data = (made / "mlflow.db").read_bytes()
    for storage in (made, tmp_path / "link"):
        follow_move(storage / "mlflow.db", "swept")
        follow_move(storage / "mlflow.db", "another")
    assert (made / "mlflow.db").read_bytes() == data


def test_a_folder_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    client = connect(Destination(sqlite_uri(database), "own"))
    client.create_experiment("own", artifact_location=(tmp_path / "bucket").as_uri())
    client.create_experiment("server's", artifact_location="mlflow-artifacts:/5")
    before = addresses(database)
    for name in ("own", "server's"):
        follow_move(database, name)
    assert addresses(database) == before


def test_another_storage_s_files_stay_where_they_are(made: Path, tmp_path: Path) -> None:
    """Of a database alone that was copied, or that two storages share."""
    database = Path(shutil.copy(made / "mlflow.db", tmp_path))
    before = addresses(database)
    (tmp_path / "mlartifacts" / "of another run").mkdir(parents=True)
    follow_move(database, "swept")
    assert addresses(database) == before


def test_no_address_changes_below_a_live_run(made: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(made, tmp_path / "moved"))
    live = make_run(moved, "a-20260101-000000")
    before = addresses(moved / "mlflow.db")
    with run_lock(live.lock):
        follow_move(moved / "mlflow.db", "swept")
        assert addresses(moved / "mlflow.db") == before
        follow_move(moved / "mlflow.db", "swept", besides=live.root.name)
        assert addresses(moved / "mlflow.db") != before


def test_a_database_that_is_not_there_yet_is_left_to_mlflow(tmp_path: Path) -> None:
    follow_move(tmp_path / "mlflow.db", "x")
    assert not (tmp_path / "mlflow.db").exists()
    (tmp_path / "mlflow.db").touch()
    follow_move(tmp_path / "mlflow.db", "x")
