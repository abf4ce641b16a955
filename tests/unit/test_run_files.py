"""A run folder from someone else can't reach anything outside of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from deep_trees import deep_tree
from run_folders import make_run

from sweeper.api import resume
from sweeper.errors import SweeperError, UserError
from sweeper.locks import is_locked, read_owner, run_lock
from sweeper.opened_run import open_run
from sweeper.paths import RunPaths, write_atomically
from sweeper.run_files import (
    copy_tree,
    delete,
    make_empty,
    open_reading,
    open_regular,
    read_json,
    read_text,
    walk_files,
)
from sweeper.upkeep.cleaning import choose_runs, delete_run
from sweeper.upkeep.overview import describe_runs
from sweeper.views.logs import describe_log, tail_lines

PRECIOUS = "keep this\n"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder beside the storage; nothing may change in it."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "file").write_text(PRECIOUS)
    return folder


def is_untouched(victim: Path) -> bool:
    return [path.name for path in victim.iterdir()] == ["file"] and (
        (victim / "file").read_text() == PRECIOUS
    )


def make_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim / "file")


def make_pipe(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def make_folder(path: Path, victim: Path) -> None:
    path.mkdir()


def make_socket(path: Path, victim: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        before = Path.cwd()
        os.chdir(path.parent)  # a socket's address is short
        one.bind(path.name)
        os.chdir(before)


KINDS = [make_link, make_pipe, make_folder, make_socket]
Make = Callable[[Path, Path], None]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    "act",
    [
        lambda path: open_reading(path),
        lambda path: open_regular(path, os.O_RDWR | os.O_CREAT),
        lambda path: open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        make_empty,
        read_text,
        read_json,
    ],
)
def test_only_a_regular_file_is_opened(
    tmp_path: Path, victim: Path, make: Make, act: Callable[[Path], object]
) -> None:
    make(tmp_path / "x", victim)
    with pytest.raises(OSError, match=r"it is a (link to|named pipe|folder|socket)"):
        act(tmp_path / "x")
    assert is_untouched(victim)


def test_a_file_with_a_second_name_is_read_but_not_written(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "x").hardlink_to(victim / "file")
    assert read_text(tmp_path / "x") == PRECIOUS
    with pytest.raises(OSError, match="a second name"):
        open_regular(tmp_path / "x", os.O_WRONLY)


def test_a_record_nested_without_end_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "x")


def test_a_record_without_end_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(OSError, match="more than 64 MiB"):
        read_text(tmp_path / "x")


@pytest.mark.parametrize("name", ["..", "../victim", "a/../../victim", ".", "a/.."])
def test_nothing_outside_is_deleted(tmp_path: Path, victim: Path, name: str) -> None:
    (tmp_path / "own" / "a").mkdir(parents=True)
    with pytest.raises(OSError, match="so it was not touched"):
        delete(tmp_path / "own" / name, below=tmp_path / "own")
    with pytest.raises(OSError, match="so it was not touched"):
        delete(victim, below=tmp_path / "own")
    assert is_untouched(victim)


@pytest.mark.parametrize("link", ["trials", "trials/t0001"])
def test_nothing_is_deleted_through_a_link(tmp_path: Path, victim: Path, link: str) -> None:
    (victim / "t0001" / "checkpoint_000000").mkdir(parents=True)
    (victim / "checkpoint_000000").mkdir()
    paths = RunPaths(tmp_path / "run")
    (paths.root / link).parent.mkdir(parents=True)
    (paths.root / link).symlink_to(victim)
    with pytest.raises(OSError, match="so it was not touched"):
        delete(paths.trial("t0001") / "checkpoint_000000", below=paths.trials)
    assert (victim / "t0001" / "checkpoint_000000").is_dir()
    assert (victim / "checkpoint_000000").is_dir()


def test_a_link_is_deleted_and_not_what_it_leads_to(tmp_path: Path, victim: Path) -> None:
    own = tmp_path / "own"
    (own / "folder").mkdir(parents=True)
    (own / "folder" / "inner").symlink_to(victim)
    (own / "link").symlink_to(victim)
    for name in ("folder", "link", "gone", "no/where"):
        delete(own / name, below=own)
    assert list(own.iterdir()) == []
    assert is_untouched(victim)


def test_a_run_that_is_reached_through_a_link_is_deleted_from(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path / "run")
    (paths.trial("t0001") / "checkpoint_000000").mkdir(parents=True)
    paths.tune.mkdir()
    (tmp_path / "link").symlink_to(paths.root)
    linked = RunPaths(tmp_path / "link")
    delete(linked.trial("t0001") / "checkpoint_000000", below=linked.trials)
    linked.delete_tune()
    assert list(paths.trial("t0001").iterdir()) == []
    assert not paths.tune.exists()


def test_tunes_folder_is_deleted_as_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tune").symlink_to(victim)
    RunPaths(tmp_path / "run").delete_tune()
    assert is_untouched(victim)


def test_a_folder_with_a_link_is_not_copied(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "weights").symlink_to(victim / "file")
    with pytest.raises(OSError, match="it is a link to"):
        copy_tree(tmp_path / "own", tmp_path / "copy")
    (tmp_path / "link").symlink_to(tmp_path / "own")
    with pytest.raises(OSError, match="it is a link to"):
        copy_tree(tmp_path / "link", tmp_path / "other")


def test_a_record_that_is_a_link_is_replaced_not_followed(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "spec.yaml").symlink_to(victim / "file")
    write_atomically(tmp_path / "spec.yaml", "name: x\n")
    assert is_untouched(victim)
    assert (tmp_path / "spec.yaml").read_text() == "name: x\n"


@pytest.mark.parametrize("make", KINDS)
def test_a_lock_that_is_no_file_is_neither_followed_nor_waited_for(
    tmp_path: Path, victim: Path, make: Make
) -> None:
    paths = make_run(tmp_path / "runs", "a-20260101-000000")
    make(paths.lock, victim)
    assert is_locked(paths.lock) is None
    assert read_owner(paths.lock) is None
    with (
        pytest.raises(UserError, match=r"can't write to the run folder .*\.lock: it is a"),
        run_lock(paths.lock),
    ):
        pass
    with pytest.raises(UserError, match="it is a"):
        resume(paths.root)
    with pytest.raises(UserError, match="it is a"):
        delete_run(paths.root)
    assert paths.journal.is_file()
    assert is_untouched(victim)


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    "name", ["journal.jsonl", "spec.yaml", "plan.json", "selection.json", "trials/t0001/log.txt"]
)
def test_every_verb_that_reads_answers_at_once(
    tmp_path: Path, victim: Path, make: Make, name: str
) -> None:
    paths = make_run(tmp_path / "runs", "a-20260101-000000")
    make_run(tmp_path / "runs", "b-20260102-000000")
    (paths.root / name).unlink(missing_ok=True)
    make(paths.root / name, victim)
    first, second = describe_runs(tmp_path / "runs")
    is_vital = name in ("journal.jsonl", "spec.yaml")
    assert (first.state == "damaged") == is_vital
    assert second.state == "finished"
    choose_runs(tmp_path / "runs", keep=1)
    if is_vital:
        with pytest.raises(SweeperError):
            open_run(paths.root)
    else:
        opened = open_run(paths.root)
        assert opened.best_trial == "t0001"
        assert opened.agent is None
        for record in opened.results.trials:
            log = describe_log(record, opened.results)
            assert PRECIOUS.strip() not in tail_lines(log.path, 10)
    assert is_untouched(victim)


@pytest.mark.parametrize("make", KINDS[:2])
@pytest.mark.parametrize(
    "name",
    [
        "trials",
        "trials/t0001",
        "trials/t0001/log.txt",
        "trials/t0009/checkpoint_000000/agent.json",
        "trials/c0001/checkpoint_000000/replica_0/learner_group/state.pkl",
        "tune",
        "tune/launch_1",
    ],
)
def test_a_run_whose_trials_are_links_does_not_go_on(
    tmp_path: Path, victim: Path, make: Make, name: str
) -> None:
    paths = make_run(tmp_path / "runs", "a-20260101-000000", reason=None)
    if (paths.root / name).is_dir():
        (paths.root / name).rename(tmp_path / "away")
    else:
        (paths.root / name).unlink(missing_ok=True)
    (paths.root / name).parent.mkdir(parents=True, exist_ok=True)
    make(paths.root / name, victim)
    with pytest.raises(UserError, match=r"(?s)it is a .*so nothing was touched"):
        resume(paths.root)
    assert is_untouched(victim)


def test_a_stop_request_is_not_made_through_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / ".stop").symlink_to(victim / "new")
    with pytest.raises(OSError, match="it is a link"):
        make_empty(tmp_path / ".stop")
    assert is_untouched(victim)


@pytest.mark.parametrize("depth", [1, 3, 1200, 2200])
def test_a_tree_of_any_depth_is_walked_and_deleted(tmp_path: Path, depth: int) -> None:
    run = tmp_path / "run"
    for name in ("a", "b/.0", "b/.1/c", ".0"):
        (run / name).mkdir(parents=True)
        (run / name / "file").write_text("x")
    (run / "link").symlink_to(tmp_path)
    with deep_tree(run / "b", depth):
        problems: list[OSError] = []
        found = [path for path, _ in walk_files(run, problems.append)]
        is_reachable = depth < 2000
        assert len(found) == 5 + is_reachable
        assert bool(problems) == (not is_reachable)
        delete(run, below=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_deep_tree_is_copied(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    with deep_tree(tmp_path / "from"), deep_tree(tmp_path / "to", 1):
        copy_tree(tmp_path / "from", tmp_path / "to" / "a" / "b")
        found = [path for path, _ in walk_files(tmp_path / "to" / "a" / "b")]
        assert [path.name for path in found] == ["file"]
