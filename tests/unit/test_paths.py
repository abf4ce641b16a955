from __future__ import annotations

import os
import shlex
from datetime import datetime
from pathlib import Path

import pytest
from run_folders import NOBODY

from sweeper.errors import UserError
from sweeper.journal import LaunchStarted, encode_event
from sweeper.paths import (
    RunPaths,
    create_run_folder,
    find_run,
    list_runs,
    run_reference,
    write_atomically,
)
from sweeper.upkeep.cleaning import choose_runs

NOON = datetime(2026, 11, 23, 12, 0, 0)


def make_run(storage: Path, name: str, now: datetime = NOON) -> RunPaths:
    paths = create_run_folder(storage, name, now)
    paths.journal.touch()
    return paths


def test_a_run_folder_carries_the_name_and_the_time(tmp_path: Path) -> None:
    paths = create_run_folder(tmp_path / "deep" / "runs", "cartpole", NOON)
    assert paths.root == tmp_path / "deep" / "runs" / "cartpole-20261123-120000"
    assert paths.root.is_dir()


def test_two_runs_of_the_same_second_get_two_folders(tmp_path: Path) -> None:
    names = [create_run_folder(tmp_path, "x", NOON).root.name for _ in range(3)]
    assert names == ["x-20261123-120000", "x-20261123-120000-2", "x-20261123-120000-3"]


def test_a_run_folder_is_absolute_wherever_the_process_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert create_run_folder(Path("runs"), "x", NOON).root.is_absolute()


def test_a_file_in_place_of_the_storage_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(UserError, match="runs"):
        create_run_folder(tmp_path / "runs", "x", NOON)


def test_a_folder_without_a_journal_is_no_run(tmp_path: Path) -> None:
    create_run_folder(tmp_path, "started", NOON)
    run = make_run(tmp_path, "journalled")
    assert list_runs(tmp_path) == [run]
    assert list_runs(tmp_path / "nowhere") == []


def test_runs_are_listed_by_start_not_by_last_change(tmp_path: Path) -> None:
    later = make_run(tmp_path, "a", NOON.replace(hour=13))
    second = make_run(tmp_path, "z", NOON)
    tenth = [make_run(tmp_path, "z", NOON) for _ in range(9)][-1]
    os.utime(second.journal)
    second.journal.write_text("x")
    runs = list_runs(tmp_path)
    assert runs[0] == second
    assert runs[-2:] == [tenth, later]
    assert find_run("last", tmp_path) == later


def test_runs_are_ordered_by_their_journals_whatever_the_local_time_was(tmp_path: Path) -> None:
    """The clock went back by an hour; and a machine far in the east shares the folder."""
    began = {"x-20261025-023000": 100.0, "x-20261025-020500": 2000.0, "x-20261024-190000": 3000.0}
    for name, moment in began.items():
        (tmp_path / name).mkdir()
        event = LaunchStarted(moment + 1.8e9, 1, NOBODY, ("sweeper",))
        (tmp_path / name / "journal.jsonl").write_bytes(encode_event(event))
    assert [run.root.name for run in list_runs(tmp_path)] == list(began)
    assert find_run("last", tmp_path).root.name == "x-20261024-190000"
    kept = choose_runs(tmp_path, keep=1)
    assert [old.run.name for old in kept] == ["x-20261025-023000", "x-20261025-020500"]


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[1]", b'{"time": "noon"}', b'{"time": NaN}', b'{"time": 1e300}', b"\xff"]
)
def test_a_damaged_first_line_leaves_the_order_of_the_names(tmp_path: Path, line: bytes) -> None:
    first, last = make_run(tmp_path, "x"), make_run(tmp_path, "x", NOON.replace(hour=13))
    first.journal.write_bytes(line + b"\n")
    assert list_runs(tmp_path) == [first, last]


def test_a_run_is_found_by_path_by_name_and_as_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = tmp_path / "runs"
    first = make_run(storage, "x")
    last = make_run(storage, "x", NOON.replace(hour=13))
    monkeypatch.chdir(tmp_path)
    assert find_run(str(first.root), storage) == first
    assert find_run("runs/x-20261123-120000", Path("elsewhere")) == first
    assert find_run("x-20261123-120000", storage) == first
    assert find_run("last", storage) == last


def test_an_unknown_run_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    make_run(tmp_path, "x")
    with pytest.raises(UserError, match=r"no run 'y'.*x-20261123-120000"):
        find_run("y", tmp_path)


def test_the_last_of_no_runs_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sweeper run SPEC"):
        find_run("last", tmp_path)


def test_a_trials_files_are_under_its_own_folder(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    assert paths.trial_log("t0001").parent == paths.trial("t0001") == tmp_path / "trials" / "t0001"


def test_a_file_is_replaced_completely_without_a_temporary_left(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_atomically(path, "old")
    write_atomically(path, "nëw")
    assert path.read_text(encoding="utf-8") == "nëw"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("place", "here", "reference"),
    [
        ("runs/x", ".", "x"),
        ("elsewhere/x", ".", "elsewhere/x"),
        ("runs/deep/x", ".", "runs/deep/x"),
        ("runs/x", "runs", "x"),
        ("runs/x", "runs/x", "."),
        ("runs/x", "other", "../runs/x"),
        ("runs/last", ".", "runs/last"),
        ("runs/t0001", ".", "runs/t0001"),
        ("runs/t0001", "runs", "./t0001"),
        ("runs/-x", "runs", "./-x"),
        ("my runs/x's", ".", "'my runs/x'\"'\"'s'"),
        ("~/x", ".", "'~/x'"),
    ],
)
def test_a_reference_is_the_shortest_that_leads_to_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, here: str, reference: str
) -> None:
    for folder in (place, here):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "journal.jsonl").touch()
    monkeypatch.chdir(tmp_path / here)
    assert run_reference(tmp_path / place) == reference
    (text,) = shlex.split(reference)
    assert find_run(text, Path("runs")).root.samefile(tmp_path / place)


@pytest.mark.parametrize("other", ["another run", "a folder", "a file"])
def test_a_name_that_means_something_else_here_is_no_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    run = make_run(tmp_path / "runs", "x")
    name = run.root.name
    if other == "another run":
        make_run(tmp_path, "x")
    elif other == "a folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert run_reference(run.root) == f"runs/{name}"


def test_an_absolute_reference_is_given_where_it_is_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "/".join("abcdefghijklmnopqrstuvwxyz" * 3)
    deep.mkdir(parents=True)
    run = make_run(tmp_path / "runs", "x")
    monkeypatch.chdir(deep)
    assert run_reference(run.root) == str(run.root)
