"""MLflow's own database in a storage from somebody else, and in one that was moved or linked."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from command_line import sweeper_here
from mlflow.tracking._tracking_service import utils
from run_mutations import change_spec, extract_run

from sweeper.paths import RunPaths
from sweeper.received_database import find_ways_out
from sweeper.relocation import relocate
from sweeper.spec import load_spec
from sweeper.trust import make_seals, without_default

SPEC_FILE = "spec.yaml"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with a run of somebody else and its record; making a database takes seconds."""
    place = tmp_path_factory.mktemp("at first")
    run = extract_run(place / "runs")
    change_spec(run, {"tracking: null": "tracking: {experiment: swept}"})
    done = sweeper_here("log", f"runs/{run.name}", cwd=place)
    assert done.returncode == 0, done.stderr
    return place / "runs"


@pytest.fixture
def storage(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


def logged(storage: Path, *options: str) -> str:
    """Log the run as a process of its own would; returns what was said."""
    # Where the files of a run were, which MLflow remembers in this process.
    utils._artifact_repos_cache.clear()
    done = sweeper_here("log", f"{storage.name}/torch-ppo", *options, cwd=storage.parent)
    assert done.returncode == 0, done.stderr
    return done.stderr


def change(storage: Path, statement: str, value: str) -> None:
    with closing(sqlite3.connect(storage / "mlflow.db")) as database, database:
        database.execute(statement, (value,))


def specs(folder: Path) -> list[Path]:
    return sorted(folder.rglob(SPEC_FILE))


def clear(storage: Path) -> None:
    """Delete a file of the record, so that it shows where it is written again."""
    for spec in specs(storage / "mlartifacts"):
        spec.unlink()


def seal(storage: Path) -> None:
    """Make the run one of this user's, as a launch does."""
    paths = RunPaths(storage / "torch-ppo")
    spec = relocate(paths, load_spec(paths.spec))
    document = json.loads(paths.environment.read_text())
    servers = without_default(spec.servers, paths)
    document["seals"] = make_seals(spec.environment.settings(), servers)
    paths.environment.write_text(json.dumps(document))


def test_mlflow_s_own_database_has_no_way_out(made: Path) -> None:
    assert find_ways_out(made / "mlflow.db", "swept") == []
    assert len(specs(made / "mlartifacts")) == 1
    logged(made)


def test_a_storage_that_was_moved_is_written_to_where_it_lies(storage: Path, made: Path) -> None:
    clear(storage)
    before = specs(made)
    logged(storage)
    assert len(specs(storage / "mlartifacts")) == 1
    assert specs(made) == before


def test_a_storage_behind_a_link_is_written_to(storage: Path, tmp_path: Path) -> None:
    kept = tmp_path / "disk" / "runs"
    kept.parent.mkdir()
    storage.rename(kept)
    storage.symlink_to(kept)
    for _ in range(2):
        clear(kept)
        logged(storage)
        assert len(specs(kept / "mlartifacts")) == 1
    logged(kept)


def test_files_go_elsewhere_only_where_that_is_trusted(storage: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    change(storage, "UPDATE runs SET artifact_uri = ?", victim.as_uri())
    done = sweeper_here("log", "runs/torch-ppo", cwd=tmp_path)
    assert done.returncode == 2
    assert f"write files to {victim.as_uri()}, which {storage}/mlflow.db names" in done.stderr
    assert not victim.exists()
    said = logged(storage, "--trust")
    assert f"write files to {victim.as_uri()}" in said
    assert len(specs(victim)) == 1


def test_an_own_run_is_written_where_its_database_is_a_link(storage: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (storage / "mlflow.db").rename(tmp_path / "mine" / "mlflow.db")
    (storage / "mlflow.db").symlink_to(tmp_path / "mine" / "mlflow.db")
    assert sweeper_here("log", "runs/torch-ppo", cwd=tmp_path).returncode == 2
    seal(storage)
    logged(storage)
    assert (storage / "mlflow.db").is_symlink()
