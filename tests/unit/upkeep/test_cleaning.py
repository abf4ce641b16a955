from __future__ import annotations

import os
from pathlib import Path

import pytest
from deep_trees import deep_tree
from run_folders import make_run

from sweeper.errors import SweeperError, UserError
from sweeper.locks import run_lock
from sweeper.upkeep import cleaning
from sweeper.upkeep.cleaning import (
    OldRun,
    choose_runs,
    delete_run,
    folder_bytes,
    parse_age,
)

DAY_S = 86400.0


def names(runs: list[OldRun]) -> list[str]:
    return [run.run.name for run in runs]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("90m", 5400), ("12h", DAY_S / 2), ("7d", 7 * DAY_S), ("1.5w", 10.5 * DAY_S)],
)
def test_an_age_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["7", "d", "-1d", "7 days", "", "1e9d"])
def test_other_texts_are_not_ages(text: str) -> None:
    with pytest.raises(UserError, match="is not an age"):
        parse_age(text)


def test_runs_are_chosen_by_age(tmp_path: Path) -> None:
    make_run(tmp_path, "old-20260101-000000", age_s=8 * DAY_S)
    make_run(tmp_path, "new-20260102-000000", age_s=6 * DAY_S)
    assert names(choose_runs(tmp_path, older_than_s=7 * DAY_S)) == ["old-20260101-000000"]


def test_a_run_interrupted_before_its_first_trial_has_not_failed(tmp_path: Path) -> None:
    make_run(tmp_path, "a-20260101-000000", [], reason="interrupted")
    make_run(tmp_path, "b-20260102-000000", [], reason="failed")
    chosen = choose_runs(tmp_path, only_failed=True)
    assert [run.run.name for run in chosen] == ["b-20260102-000000"]


def test_failed_runs_have_a_failed_launch_or_only_failed_trials(tmp_path: Path) -> None:
    make_run(tmp_path, "a-20260101-000000", ["ERROR", "ERROR"])
    make_run(tmp_path, "b-20260102-000000", ["ERROR", "TERMINATED"])
    make_run(tmp_path, "c-20260103-000000", ["PAUSED"], reason="interrupted")
    make_run(tmp_path, "d-20260104-000000", ["TERMINATED"], reason="failed")
    make_run(tmp_path, "e-20260105-000000", [])
    chosen = choose_runs(tmp_path, only_failed=True)
    assert [name[0] for name in names(chosen)] == ["a", "d", "e"]


def test_kept_runs_are_never_chosen(tmp_path: Path) -> None:
    for day in range(1, 5):
        make_run(tmp_path, f"a-2026010{day}-000000", ["ERROR"])
    chosen = choose_runs(tmp_path, keep=3)
    assert names(chosen) == ["a-20260101-000000"]
    assert choose_runs(tmp_path, keep=4, only_failed=True) == []
    assert len(choose_runs(tmp_path, keep=0)) == 4


@pytest.mark.parametrize("count", range(6))
def test_any_number_of_newest_runs_is_kept(tmp_path: Path, count: int) -> None:
    made = [f"a-2026010{day}-000000" for day in range(1, count + 1)]
    for name in made:
        make_run(tmp_path, name, [])
    for keep in range(2 * count + 2):
        assert names(choose_runs(tmp_path, keep=keep)) == made[: max(0, count - keep)]


def test_a_run_must_meet_all_conditions(tmp_path: Path) -> None:
    make_run(tmp_path, "a-20260101-000000", ["ERROR"], age_s=9 * DAY_S)
    make_run(tmp_path, "b-20260102-000000", ["TERMINATED"], age_s=9 * DAY_S)
    make_run(tmp_path, "c-20260103-000000", ["ERROR"])
    chosen = choose_runs(tmp_path, only_failed=True, older_than_s=DAY_S)
    assert names(chosen) == ["a-20260101-000000"]


def test_a_live_run_is_never_deleted(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000", ["RUNNING"], reason=None, pid=os.getpid())
    assert choose_runs(tmp_path, keep=0) == []
    with pytest.raises(UserError, match=r"a-20260101-000000 is not deleted: it is running"):
        choose_runs(tmp_path, names=(str(paths.root),))


def test_a_run_that_was_resumed_after_it_was_chosen_is_not_deleted(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000")
    (chosen,) = choose_runs(tmp_path, keep=0)
    with run_lock(paths.lock), pytest.raises(UserError, match="it is running"):
        delete_run(chosen.run)
    assert paths.journal.is_file()
    assert paths.trial_log("t0001").is_file()


def test_other_files_and_folders_are_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("")
    (tmp_path / "mlartifacts").mkdir()
    paths = make_run(tmp_path, "a-20260101-000000")
    for run in choose_runs(tmp_path, keep=0):
        delete_run(run.run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlartifacts", "mlflow.db"]
    assert not paths.root.exists()
    with pytest.raises(UserError, match="no run"):
        choose_runs(tmp_path, names=("mlartifacts",))


def test_a_folder_without_a_journal_is_not_deleted(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000")
    (chosen,) = choose_runs(tmp_path, keep=0)
    paths.journal.unlink()
    with pytest.raises(UserError, match="it is not a run: it has no journal"):
        delete_run(chosen.run)
    assert paths.spec.is_file()


def test_links_are_neither_followed_nor_deleted(tmp_path: Path) -> None:
    elsewhere = make_run(tmp_path / "elsewhere", "a-20260101-000000")
    storage = tmp_path / "runs"
    storage.mkdir()
    (storage / "b-20260102-000000").symlink_to(elsewhere.root)
    assert choose_runs(storage, keep=0) == []
    with pytest.raises(UserError, match="it is a link to"):
        choose_runs(storage, names=("b-20260102-000000",))
    outside = tmp_path / "precious"
    outside.mkdir()
    paths = make_run(storage, "c-20260103-000000")
    (paths.root / "link").symlink_to(outside)
    for run in choose_runs(storage, keep=0):
        delete_run(run.run)
    assert not paths.root.exists()
    assert outside.is_dir()
    assert elsewhere.journal.is_file()


def test_an_interrupted_deletion_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_run(tmp_path, "a-20260101-000000")
    (chosen,) = choose_runs(tmp_path, keep=0)

    def fail(path: Path) -> None:
        raise OSError(5, "Input/output error", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(cleaning, "delete_tree", fail)
        with pytest.raises(SweeperError, match=r"can't delete .*trials: Input/output error"):
            delete_run(chosen.run)
    (again,) = choose_runs(tmp_path, keep=0)
    delete_run(again.run)
    assert not paths.root.exists()


def test_a_run_named_twice_is_chosen_once(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "a-20260101-000000")
    chosen = choose_runs(tmp_path, names=("last", str(paths.root), "a-20260101-000000"))
    assert names(chosen) == ["a-20260101-000000"]


def test_the_size_counts_all_files_but_follows_no_links(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"x" * 1000)
    (tmp_path / "y").write_bytes(b"y" * 234)
    (tmp_path / "link").symlink_to("/")
    assert folder_bytes(tmp_path) == 1234


@pytest.mark.parametrize("depth", [1200, 2200])
def test_a_run_with_a_tree_without_an_end_is_deleted_like_others(
    tmp_path: Path, depth: int
) -> None:
    make_run(tmp_path, "a-20260101-000000")
    paths = make_run(tmp_path, "b-20260102-000000")
    paths.champion.mkdir()
    with deep_tree(paths.champion, depth):
        found = choose_runs(tmp_path)
        assert names(found) == ["a-20260101-000000", "b-20260102-000000"]
        delete_run(paths.root)
        assert names(choose_runs(tmp_path)) == ["a-20260101-000000"]
