"""What was said to be on the disk is there, whatever happens then."""

from __future__ import annotations

import os
import posix
from pathlib import Path

import pytest

from sweeper.paths import write_atomically
from sweeper.syncing import sync, sync_tree


def test_a_folder_is_synced_with_all_in_it_and_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trials" / "t0001" / "c" / "inner").mkdir(parents=True)
    (tmp_path / "trials" / "t0002").mkdir()
    for name in ("c/a", "c/inner/b", "log.txt"):
        (tmp_path / "trials" / "t0001" / name).touch()
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda one: synced.append(str(Path(f"/proc/self/fd/{one}").readlink()))
    )
    sync_tree(tmp_path / "trials" / "t0001" / "c", below=tmp_path / "trials")
    names = ["t0001/c", "t0001/c/a", "t0001/c/inner", "t0001/c/inner/b", "t0001", ""]
    assert sorted(synced) == sorted(str(tmp_path / "trials" / name).rstrip("/") for name in names)


def test_a_link_in_a_folder_is_not_synced_through(tmp_path: Path) -> None:
    (tmp_path / "trials" / "c").mkdir(parents=True)
    (tmp_path / "trials" / "c" / "link").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="link"):
        sync_tree(tmp_path / "trials" / "c", below=tmp_path / "trials")


def test_what_can_t_be_synced_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fsync", "fdatasync"):  # the tests' own don't sync
        monkeypatch.setattr(os, name, getattr(posix, name))
    reading, writing = os.pipe()
    os.close(reading)
    sync(writing)  # EINVAL
    sync(writing, only_data=True)
    os.close(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync(writing)


def test_a_record_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.json"
    write_atomically(path, "old")
    synced = []

    def watch(descriptor: int) -> None:
        assert path.read_text() == "old"
        synced.append(Path(f"/proc/self/fd/{descriptor}").read_text())

    monkeypatch.setattr(os, "fsync", watch)
    write_atomically(path, "new")
    assert synced == ["new"]
    assert path.read_text() == "new"
