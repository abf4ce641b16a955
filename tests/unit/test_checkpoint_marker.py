from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from run_mutations import extract_run

from sweeper.checkpoint_marker import find_damage, mark_complete
from sweeper.opened_run import open_run
from sweeper.paths import CheckpointPaths

Damage = Callable[[Path], object]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """The checkpoint of a paused trial, made by a version without markers."""
    return extract_run(tmp_path) / "trials" / "t0002" / "checkpoint_000008"


FILES = ["agent.json", "weights.safetensors", "trainer.json", "trainer.safetensors"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [truncate, empty, zero, flip, remove, link, pipe])
def test_what_was_written_otherwise_is_named(checkpoint: Path, name: str, damage: Damage) -> None:
    mark_complete(checkpoint)
    assert find_damage(checkpoint) is None
    damage(checkpoint / name)
    if name == "trainer.json" and damage in (remove, link, pipe):
        assert not CheckpointPaths(checkpoint).has_trainer
    else:
        assert name in (find_damage(checkpoint) or "")


@pytest.mark.parametrize("damage", [truncate, empty, zero, remove, link, pipe])
def test_a_glance_sees_what_sizes_show(checkpoint: Path, damage: Damage) -> None:
    mark_complete(checkpoint)
    damage(checkpoint / "trainer.safetensors")
    assert bool(find_damage(checkpoint, reads_all=False)) == (damage is not zero)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [truncate, empty, zero, link, pipe])
def test_without_a_marker_files_must_parse(checkpoint: Path, name: str, damage: Damage) -> None:
    assert find_damage(checkpoint) is None
    damage(checkpoint / name)
    assert name in (find_damage(checkpoint) or "")


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "[" * 700 + "]" * 700, '{"files": {"a": [' + "9" * 400 + ", 2]}}"),
        '{"files": {}}',
        '{"files": {"../x": [1, 2]}}',
        '{"files": {"a": 1}}',
    ],
)
def test_a_damaged_marker_is_damage(checkpoint: Path, text: str) -> None:
    mark_complete(checkpoint)
    CheckpointPaths(checkpoint).marker.write_text(text)
    assert (find_damage(checkpoint) or "").startswith("complete.json: ")


NAMES = ["a\0b", "\ud800", "a/\udfff/b", "\0", "/etc/passwd", "../x", "a" * 300, "a/" * 3000]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:8]))
def test_a_name_that_no_file_of_it_has_is_damage(checkpoint: Path, name: str) -> None:
    CheckpointPaths(checkpoint).marker.write_text(json.dumps({"files": {name: [1, 2]}}))
    damage = find_damage(checkpoint) or ""
    assert damage == "complete.json: it is damaged" or damage.endswith(": File name too long")


def test_a_file_whose_name_is_no_text_is_marked_like_others(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff")).write_bytes(b"x")
    mark_complete(tmp_path)
    assert find_damage(tmp_path) is None


def test_files_in_folders_are_marked_too(tmp_path: Path) -> None:
    deep = tmp_path / "replica_0" / "learner"
    deep.mkdir(parents=True)
    (deep / "state.pkl").write_bytes(b"x" * 100)
    mark_complete(tmp_path)
    truncate(deep / "state.pkl")
    assert find_damage(tmp_path) == "replica_0/learner/state.pkl has 95 of 100 bytes"


def test_a_trimmed_checkpoint_is_whole_as_an_agent(checkpoint: Path) -> None:
    mark_complete(checkpoint)
    for name in CheckpointPaths.TRAINER_FILES:
        (checkpoint / name).unlink(missing_ok=True)
    assert find_damage(checkpoint) is None
    truncate(checkpoint / "weights.safetensors")
    assert find_damage(checkpoint) == "weights.safetensors has 1,083 of 1,088 bytes"


def test_a_winner_whose_newest_checkpoint_is_damaged_is_shown_without_it(checkpoint: Path) -> None:
    run = checkpoint.parents[2]
    assert open_run(run).selection.checkpoint == str(checkpoint)
    truncate(checkpoint / "weights.safetensors")
    assert open_run(run).selection.checkpoint is None
    assert open_run(run).selection.checkpoint_note == "no checkpoint is left"


def test_the_marker_says_what_it_says_in_plain_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    mark_complete(tmp_path)
    document = json.loads(CheckpointPaths(tmp_path).marker.read_text())
    assert document == {"version": 1, "files": {"a": [5, 907060870]}}
    shutil.copytree(tmp_path, tmp_path / "copy")
    assert find_damage(tmp_path / "copy") is None
