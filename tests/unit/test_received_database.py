"""A tracking database that came with a run writes nowhere but in its storage.

The database is made by hand here. MLflow's is in
``tests/integration/tracking/test_received_databases.py``.
"""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from command_line import sweeper_here
from run_mutations import change_spec, extract_run

from sweeper.errors import UserError
from sweeper.received_database import find_ways_out
from sweeper.run_files import is_regular
from sweeper.sqlite_address import default_tracking_uri
from sweeper.tracking.destination import Destination

EXPERIMENT = "swept"
TABLES = """
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT, artifact_location TEXT);
CREATE TABLE runs (run_uuid TEXT, name TEXT, experiment_id INTEGER, artifact_uri TEXT);
CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
"""


def make_database(path: Path, folder: object, *runs: object, name: str = EXPERIMENT) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(TABLES)
        database.execute("INSERT INTO experiments VALUES (1, ?, ?)", (name, folder))
        for number, run in enumerate(runs):
            database.execute("INSERT INTO runs VALUES (?, 'r', 1, ?)", (f"u{number}", run))


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage in a folder with a hostile name, and a folder beside it that nobody may change."""
    folder = tmp_path / "ru%20ns ü?"
    folder.mkdir()
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "mlflow.db").touch()
    return folder


# -- files -------------------------------------------------------------------------------------

ENTRIES = ("mlflow.db", "mlflow.db-journal", "mlflow.db-wal", "mlflow.db-shm", "mlartifacts")
INNER = ("mlartifacts/1", "mlartifacts/u0/artifacts/spec.yaml", "mlartifacts/models/m-1")
KINDS: dict[str, Callable[[Path, Path], None]] = {
    "link": lambda path, victim: path.symlink_to(victim / "mlflow.db"),
    "dangling link": lambda path, victim: path.symlink_to(victim / "missing"),
    "link to a folder": lambda path, victim: path.symlink_to(victim),
    "relative link": lambda path, victim: path.symlink_to(os.path.relpath(victim, path.parent)),
    "circle": lambda path, victim: path.symlink_to(path.name),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entry", [*ENTRIES, *INNER])
def test_a_link_is_a_way_out(storage: Path, entry: str, kind: str) -> None:
    path = storage / entry
    path.parent.mkdir(parents=True, exist_ok=True)
    KINDS[kind](path, storage.parent / "victim")
    (way,) = find_ways_out(storage / "mlflow.db", EXPERIMENT)
    assert way == f"write to {path.readlink()} through the link {path}"


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_no_file_of_its_own_is_a_way_out(storage: Path, entry: str) -> None:
    path = storage / entry
    os.mkfifo(path)
    assert find_ways_out(storage / "mlflow.db") == [
        f"write to {path}: it is a named pipe, not a file"
    ]
    path.unlink()
    os.link(storage.parent / "victim" / "mlflow.db", path)
    (way,) = find_ways_out(storage / "mlflow.db")
    assert "it has a second name (a hard link)" in way


def test_a_pipe_is_no_database_whoever_made_it(storage: Path) -> None:
    os.mkfifo(storage / "mlflow.db")
    with pytest.raises(UserError, match=r"mlflow\.db is a named pipe or a device, not a database"):
        Destination(default_tracking_uri(str(storage)), EXPERIMENT).probe()


@pytest.mark.parametrize("text", [None, b"", b"this is a text, and no database at all"])
def test_no_database_has_no_way_out(storage: Path, text: bytes | None) -> None:
    if text is not None:
        (storage / "mlflow.db").write_bytes(text)
    assert find_ways_out(storage / "mlflow.db", EXPERIMENT) == []


def test_a_journal_to_be_rolled_back_is_a_way_out(storage: Path) -> None:
    """SQLite would delete a file that such a journal names."""
    path = storage / "mlflow.db"
    make_database(path, (storage / "mlartifacts").as_uri())
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN")
        database.execute("INSERT INTO tags VALUES ('k', zeroblob(1000000), 'u')")
        journal = Path(f"{path}-journal").read_bytes()
        content = path.read_bytes()
        database.execute("ROLLBACK")
    path.write_bytes(content)
    Path(f"{path}-journal").write_bytes(journal)
    (way,) = find_ways_out(path, EXPERIMENT)
    assert way.startswith(f"write to {path}, which can't be looked into: ")
    assert Path(f"{path}-journal").read_bytes() == journal


# -- addresses ---------------------------------------------------------------------------------

ELSEWHERE = (
    "file://{victim}",
    "file://{victim}/mlartifacts2",
    "file://{here}/mlartifacts/../../victim",
    "file://{here}/mlartifacts/%2e%2e/%2E%2E/victim",
    "file://{here}/mlartifacts2",
    "file://{here}",
    "file://{here}/mlartifacts%00",
    "file://localhost{here}/mlartifacts",
    "FILE://{here}/mlartifacts",
    "file:{here}/mlartifacts",
    "{victim}",
    "mlartifacts",
    "s3://bucket/x",
    "sftp://h/x",
    "ftp://h{here}/mlartifacts",
    "mlflow-artifacts:/1",
    "runs:/u0/x",
    "https://h/x",
    "",
    None,
    7,
    b"file:///x",
)


def address(form: object, storage: Path) -> object:
    if not isinstance(form, str):
        return form
    here, victim = (Path(one).as_uri()[7:] for one in (storage, storage.parent / "victim"))
    return form.format(here=here, victim=victim)


@pytest.mark.parametrize("form", ELSEWHERE, ids=repr)
def test_an_address_elsewhere_is_a_way_out(storage: Path, form: object) -> None:
    place = address(form, storage)
    here = (storage / "mlartifacts").as_uri()
    for name, addresses in (("e.db", (place,)), ("r.db", (here, f"{here}/u0/artifacts", place))):
        make_database(storage / name, *addresses)
        (way,) = find_ways_out(storage / name, EXPERIMENT)
        assert way.startswith("write files to ")
        assert way.endswith(f", which {storage / name} names for '{EXPERIMENT}'")
        if isinstance(place, str):
            assert f"write files to {place}, " in way
        assert find_ways_out(storage / name) == [], "no files are going to be stored"
        assert find_ways_out(storage / name, "another") == []


def test_every_place_is_named_once_and_not_too_many_of_them(storage: Path) -> None:
    runs = [f"s3://bucket{number}/x" for number in (1, 1, *range(20))]
    make_database(storage / "mlflow.db", "s3://bucket", "s3://bucket/u0/artifacts", *runs)
    ways = find_ways_out(storage / "mlflow.db", EXPERIMENT)
    places = ["s3://bucket", *(f"s3://bucket{number}/x" for number in (1, 0, 2, 3))]
    assert [way.split(",")[0] for way in ways] == [
        *(f"write files to {place}" for place in places),
        "write files to 16 more places",
    ]


def test_addresses_in_the_storage_are_none(storage: Path) -> None:
    here = (storage / "mlartifacts").as_uri()
    make_database(storage / "mlflow.db", here, f"{here}/u0/artifacts", f"{here}/1/u1/artifacts")
    assert find_ways_out(storage / "mlflow.db", EXPERIMENT) == []
    link = storage.parent / "by a link"
    link.symlink_to(storage)
    assert find_ways_out(link / "mlflow.db", EXPERIMENT) == []
    (storage.parent / "old").symlink_to(storage)
    other = (storage.parent / "old" / "mlartifacts").as_uri()
    make_database(storage / "old.db", other, f"{other}/u0/artifacts")
    assert find_ways_out(storage / "old.db", EXPERIMENT) == []


def test_a_moved_storage_has_none_but_for_runs_that_did_not_move_with_it(storage: Path) -> None:
    """Its addresses are corrected before anything is written."""
    old = (storage.parent / "old" / "mlartifacts").as_uri()
    make_database(storage / "mlflow.db", old, f"{old}/u0/artifacts", f"{old}/u1/artifacts")
    (way, *_) = find_ways_out(storage / "mlflow.db", EXPERIMENT)
    assert f"write files to {old}" in way, "of another storage: no file has moved"
    (storage / "mlartifacts" / "u0" / "artifacts").mkdir(parents=True)
    assert find_ways_out(storage / "mlflow.db", EXPERIMENT) == []
    victim = (storage.parent / "victim").as_uri()
    for run in (f"{old}2/u0", f"{old}/../../victim", victim, f"{old}/%2e%2e/x"):
        change(storage / "mlflow.db", "UPDATE runs SET artifact_uri = ? WHERE rowid = 2", run)
        (way,) = find_ways_out(storage / "mlflow.db", EXPERIMENT)
        assert f"write files to {run}, " in way


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER t AFTER INSERT ON runs BEGIN UPDATE runs SET artifact_uri = 's3://b'; END",
        "CREATE TRIGGER prevent_secrets_aad_mutation AFTER INSERT ON runs BEGIN SELECT 1; END",
        "CREATE VIEW run AS SELECT * FROM runs",
        "CREATE VIEW other AS SELECT 1",
    ],
)
def test_what_a_database_does_by_itself_is_a_way_out(storage: Path, statement: str) -> None:
    path = storage / "mlflow.db"
    make_database(path, (storage / "mlartifacts").as_uri())
    change(path, statement)
    (way,) = find_ways_out(path, EXPERIMENT)
    assert way.startswith("run the ")
    assert way.endswith(f"of {path}, which may change what is written")


def test_looking_changes_nothing(storage: Path) -> None:
    path = storage / "mlflow.db"
    make_database(path, "s3://bucket")
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert find_ways_out(path, EXPERIMENT)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [entry.name for entry in storage.iterdir()] == ["mlflow.db"]


# -- verbs -------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[Path, bytes | int]:
    """What each file holds, and what kind of a thing anything else is."""
    found = (path for path in folder.rglob("*") if path.name != ".lock")
    return {path: path.read_bytes() if is_regular(path) else path.lstat().st_mode for path in found}


def lead_by_a_link(storage: Path, victim: Path) -> None:
    (storage / "mlflow.db").symlink_to(victim / "mlflow.db")


def lead_by_a_dangling_link(storage: Path, victim: Path) -> None:
    (storage / "mlflow.db").symlink_to(victim / "new.db")


def lead_by_a_pipe(storage: Path, victim: Path) -> None:
    os.mkfifo(storage / "mlflow.db")


def lead_by_a_folder(storage: Path, victim: Path) -> None:
    (storage / "mlartifacts").symlink_to(victim)


def lead_by_an_experiment(storage: Path, victim: Path) -> None:
    make_database(storage / "mlflow.db", victim.as_uri())


def lead_by_a_run(storage: Path, victim: Path) -> None:
    here = (storage / "mlartifacts").as_uri()
    make_database(storage / "mlflow.db", here, victim.as_uri())


LINKS = (lead_by_a_link, lead_by_a_dangling_link, lead_by_a_pipe, lead_by_a_folder)
ADDRESSES = (lead_by_an_experiment, lead_by_a_run)


@pytest.mark.parametrize(
    ("verb", "lead"),
    [
        *itertools.product(("log", "resume", "confirm", "ui"), LINKS),
        *itertools.product(("log", "resume", "confirm"), ADDRESSES),  # the UI stores no files
    ],
)
def test_a_verb_writes_nothing_elsewhere_and_names_what_would_be_written(
    tmp_path: Path, verb: str, lead: Callable[[Path, Path], None]
) -> None:
    run = extract_run(tmp_path / "runs")
    change_spec(run, {"tracking: null": f"tracking: {{experiment: {EXPERIMENT}}}"})
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "mlflow.db").touch()
    lead(tmp_path / "runs", victim)
    before = snapshot(tmp_path)
    done = sweeper_here(verb, f"runs/{run.name}", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "was not made by this user on this machine" in done.stderr
    (way,) = [line for line in done.stderr.splitlines() if line.endswith("(tracking.uri)")]
    assert way.startswith("  write ")
    assert str(victim if lead is not lead_by_a_pipe else tmp_path / "runs" / "mlflow.db") in way
    assert snapshot(tmp_path) == before
