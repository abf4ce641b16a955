"""A seal holds for what this user made, wherever it lies, and for nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shutil import copytree

import pytest
from deep_trees import deep_tree

from sweeper.seals import find_key, is_folder_sealed, is_sealed, key_path, seal, seal_folder


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without a key yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def make_checkpoint(folder: Path) -> Path:
    (folder / "replica_0" / "module").mkdir(parents=True)
    (folder / "replica_0" / "module" / "class.pkl").write_bytes(b"harmless")
    (folder / "agent.json").write_text('{"environment": {}}')
    (folder / "trainer.json").write_text("{}")
    (folder / "weights.safetensors").write_bytes(b"weights")
    seal_folder(folder)
    return folder


def test_the_key_can_be_read_by_its_user_alone() -> None:
    assert find_key() is None
    assert seal("environment", {"id": "A"}) is not None
    assert stat.S_IMODE(key_path().stat().st_mode) == 0o600
    assert stat.S_IMODE(key_path().parent.stat().st_mode) == 0o700
    assert len(find_key() or b"") == 32


def test_a_seal_is_of_one_kind_and_one_content() -> None:
    mark = seal("environment", {"id": "A", "module": None})
    assert is_sealed("environment", {"module": None, "id": "A"}, mark)
    assert not is_sealed("environment", {"id": "B", "module": None}, mark)
    assert not is_sealed("servers", {"id": "A", "module": None}, mark)
    for forged in (None, "", 0, [], "0" * 64, "\ud800", str(mark).upper()):
        assert not is_sealed("environment", {"id": "A", "module": None}, forged)


def test_another_users_seal_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mark = seal("environment", {})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert not is_sealed("environment", {}, mark)  # who has no key
    assert seal("environment", {}) != mark
    assert not is_sealed("environment", {}, mark)


def test_a_key_that_others_can_read_or_choose_is_none(tmp_path: Path) -> None:
    mark = seal("environment", {})
    key_path().chmod(0o640)
    assert not is_sealed("environment", {}, mark)
    key_path().chmod(0o600)
    assert is_sealed("environment", {}, mark)
    key_path().rename(tmp_path / "elsewhere")
    key_path().symlink_to(tmp_path / "elsewhere")
    assert not is_sealed("environment", {}, mark)
    key_path().unlink()
    key_path().write_bytes(b"")
    key_path().chmod(0o600)
    assert not is_sealed("environment", {}, mark)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_without_a_place_for_the_key_nothing_is_sealed(tmp_path: Path, state: Path) -> None:
    state.mkdir(mode=0o500)
    assert seal("environment", {}) is None
    (tmp_path / "agent.json").write_text("{}")
    seal_folder(tmp_path)
    assert not is_folder_sealed(tmp_path)


def test_a_state_folder_that_is_a_file_means_no_key(tmp_path: Path, state: Path) -> None:
    state.write_text("")
    assert seal("environment", {}) is None
    seal_folder(make_checkpoint(tmp_path / "checkpoint"))
    assert not is_folder_sealed(tmp_path / "checkpoint")


def test_a_checkpoint_stays_sealed_when_it_is_copied_or_its_data_are_deleted(
    tmp_path: Path,
) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint")
    assert is_folder_sealed(folder)
    assert is_folder_sealed(folder / "replica_0")
    copy = copytree(folder, tmp_path / "elsewhere" / "copy")
    (copy / "trainer.json").unlink()  # what only training needs
    (copy / "complete.json").write_text("{}")
    assert is_folder_sealed(copy)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("replica_0/module/class.pkl", b"harmful"),
        ("replica_0/more.pkl", b"harmful"),
        ("replica_0/complete.json", b"{}"),
        ("class.pkl", b"harmful"),
        ("agent.json", b'{"environment": {"module": "evil"}}'),
        ("seal.json", b'{"seal": "0"}'),
        ("seal.json", b"[]"),
        ("seal.json", b""),
    ],
)
def test_any_change_of_what_can_run_code_breaks_the_seal(
    name: str, content: bytes, tmp_path: Path
) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint")
    (folder / name).write_bytes(content)
    assert not is_folder_sealed(folder)
    assert not is_folder_sealed(folder / "replica_0")


def test_a_link_in_the_place_of_a_file_breaks_the_seal(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint")
    pickle = folder / "replica_0" / "module" / "class.pkl"
    pickle.rename(tmp_path / "same.pkl")
    pickle.symlink_to(tmp_path / "same.pkl")
    assert not is_folder_sealed(folder)


def test_a_tree_without_an_end_is_not_sealed(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint")
    for depth in (1200, 2200):
        with deep_tree(folder, depth):
            assert not is_folder_sealed(folder)
    assert is_folder_sealed(folder)
