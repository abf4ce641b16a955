"""What a cluster's nodes are sent of a user's folder, and when they take it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sweeper.environments import modules, packing
from sweeper.environments.modules import PACKED, find_folder, import_module
from sweeper.environments.packing import LeftOut, pack_modules
from sweeper.environments.settings import EnvironmentSettings, WrapperSettings


def lay(root: Path, files: Mapping[str, str]) -> None:
    """Write files by their path."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def settings(module: str | None, *folders: Path, wrapper: str = "") -> EnvironmentSettings:
    wrappers = (WrapperSettings(wrapper),) if wrapper else ()
    paths = tuple(map(str, folders))
    return EnvironmentSettings("My-v0", module=module, wrappers=wrappers, search_paths=paths)


def pack(given: EnvironmentSettings, into: Path) -> tuple[list[str], list[LeftOut]]:
    """The packed files by their path, and what was left out."""
    into.mkdir()
    packed, left_out = pack_modules(given, into, storage=into.parent / "project" / "runs")
    if packed is None:
        return [], left_out
    assert packed == into / PACKED
    files = (path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file())
    return sorted(files), left_out


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    code = {"my_envs.py": "X = 1", "helper.py": "", "maps/level.json": "{}"}
    others = ("runs/mlflow.db", "old/journal.jsonl", "old/best.txt", "venv/lib.py", ".git/config")
    lay(root, {**code, **dict.fromkeys(others, ""), "venv/pyvenv.cfg": "", ".env": "SECRET=1"})
    (root / "loop").symlink_to(root)
    return root


def test_a_module_takes_its_neighbours_along_and_no_run_no_secret_no_other_python(
    project: Path, tmp_path: Path
) -> None:
    files, left_out = pack(settings("my_envs", project), tmp_path / "into")
    assert files == ["0/helper.py", "0/maps/level.json", "0/my_envs.py"]
    assert left_out == []


def test_each_folder_that_has_a_module_is_packed_under_its_place(
    project: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    lay(other, {"my_wrappers/rewards.py": ""})
    given = settings(
        "my_envs", tmp_path / "none", project, other, wrapper="my_wrappers.rewards.Twice"
    )
    files, _ = pack(given, tmp_path / "into")
    assert [file for file in files if "helper" not in file and "maps" not in file] == [
        "1/my_envs.py",
        "2/my_wrappers/rewards.py",
    ]


def test_nothing_is_packed_of_what_is_installed(project: Path, tmp_path: Path) -> None:
    assert pack(settings("gymnasium", project), tmp_path / "into") == ([], [])


def test_what_is_too_large_is_left_out_and_said_and_code_comes_first(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "a.bin").write_bytes(bytes(11))
    (project / "b.bin").write_bytes(bytes(8))
    monkeypatch.setattr(packing, "_MAX_FILE_BYTES", 10)
    monkeypatch.setattr(packing, "_MAX_BYTES", 12)
    files, left_out = pack(settings("my_envs", project), tmp_path / "into")
    assert files == ["0/helper.py", "0/maps/level.json", "0/my_envs.py"]
    assert left_out == [LeftOut(project / "a.bin", 11), LeftOut(project / "b.bin", 8)]
    monkeypatch.setattr(packing, "_MAX_FILES", 2)
    files, left_out = pack(settings("my_envs", project), tmp_path / "again")
    assert files == ["0/helper.py", "0/my_envs.py"]
    assert left_out == [LeftOut(project / "a.bin", None)]


@pytest.fixture
def sent(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EnvironmentSettings]:
    """The environment on a node that was sent its modules."""
    given = settings("my_envs", project)
    pack(given, tmp_path / "into")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "into"))
    before = list(sys.path)
    modules._find_packed.cache_clear()
    modules._has_same_code.cache_clear()
    yield given
    sys.path[:] = before
    modules._added.clear()
    sys.modules.pop("my_envs", None)
    modules._find_packed.cache_clear()
    modules._has_same_code.cache_clear()


def test_a_node_with_the_same_code_takes_its_own_folder(
    sent: EnvironmentSettings, project: Path
) -> None:
    (project / "new.py").write_text("")
    assert find_folder("my_envs", sent.search_paths) == str(project)


@pytest.mark.parametrize("text", [None, "X = 2"], ids=["no code", "older code"])
def test_a_node_with_other_code_takes_what_it_was_sent(
    sent: EnvironmentSettings, project: Path, tmp_path: Path, text: str | None
) -> None:
    (project / "my_envs.py").unlink()
    if text is not None:
        (project / "my_envs.py").write_text(text)
    assert find_folder("my_envs", sent.search_paths) == str(tmp_path / "into" / PACKED / "0")
    assert import_module("my_envs", sent.search_paths).X == 1
