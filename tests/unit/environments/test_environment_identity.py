"""What of an environment's code and spaces counts as a change."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import gymnasium
import pytest

from sweeper.environments.building import describe
from sweeper.environments.identity import (
    EnvironmentIdentity,
    find_changes,
    identify,
    refuse_changes,
)
from sweeper.environments.settings import EnvironmentSettings, WrapperSettings
from sweeper.errors import UserError

MAZE = """
import gymnasium, numpy
from maze_parts.walls import WIDTH

class Maze(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (WIDTH,), numpy.float32)
    action_space = gymnasium.spaces.Discrete(2)

gymnasium.register("Maze-v0", "maze_entry:Maze")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module, a package that it imports, and files that it does not."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "maze.py").write_text("from maze_core import Maze\n")
    (tmp_path / "maze_core.py").write_text(MAZE)
    (tmp_path / "maze_entry.py").write_text("from maze_core import Maze\n")
    parts = tmp_path / "maze_parts"
    parts.mkdir()
    (parts / "__init__.py").write_text("")
    (parts / "walls.py").write_text("from . import doors\nWIDTH = 4\n")
    (parts / "doors.py").write_text("def load():\n    from .late import LATE\n")
    (parts / "late.py").write_text("LATE = 1\n")
    (parts / "unused.py").write_text("1 / 0\n")
    (tmp_path / "other.py").write_text("1 / 0\n")
    return tmp_path


def identity_of(folder: Path, **settings: object) -> EnvironmentIdentity:
    """As a process of its own would find it: nothing of the folder is loaded yet."""
    for name in [one for one in sys.modules if one.startswith("maze")]:
        del sys.modules[name]
    gymnasium.registry.pop("Maze-v0", None)
    importlib.invalidate_caches()
    asked = {"id": "Maze-v0", "module": "maze", "search_paths": (str(folder),), **settings}
    chosen = EnvironmentSettings(**asked)  # type: ignore[arg-type]
    return identify(chosen, describe(chosen))


def test_the_sources_are_those_that_the_module_imports_from_its_folder(folder: Path) -> None:
    assert list(identity_of(folder).sources) == [
        "maze.py",
        "maze_core.py",
        "maze_entry.py",
        "maze_parts/__init__.py",
        "maze_parts/doors.py",
        "maze_parts/late.py",
        "maze_parts/walls.py",
    ]


def test_it_survives_the_journal(folder: Path) -> None:
    identity = identity_of(folder)
    assert EnvironmentIdentity.from_json(json.loads(json.dumps(identity.to_json()))) == identity
    assert EnvironmentIdentity.from_json({}) is None


def test_a_change_of_code_is_refused_by_the_names_of_the_files(folder: Path) -> None:
    before = identity_of(folder)
    (folder / "other.py").write_text("2 / 0\n")
    assert refuse_changes(before, identity_of(folder), allows_code=False) == ()
    (folder / "maze_parts" / "late.py").write_text("LATE = 2\n")
    (folder / "maze_parts" / "doors.py").write_text("from . import late, keys\n")
    (folder / "maze_parts" / "keys.py").write_text("")
    after = identity_of(folder)
    changed = (
        "maze_parts/doors.py was changed",
        "maze_parts/keys.py is new",
        "maze_parts/late.py was changed",
    )
    with pytest.raises(UserError) as refused:
        refuse_changes(before, after, allows_code=False)
    assert str(refused.value) == (
        "the environment is not the one that the run was trained in: " + "; ".join(changed) + "; "
        "values from before and after can't be compared; put it back, start a new run with "
        "`sweeper run`, or accept it with --allow-changed-environment"
    )
    assert refuse_changes(before, after, allows_code=True) == changed


def test_other_spaces_are_refused_always(folder: Path) -> None:
    before = identity_of(folder)
    walls = folder / "maze_parts" / "walls.py"
    walls.write_text(walls.read_text().replace("4", "5"))
    after = identity_of(folder)
    with pytest.raises(UserError, match="weights don't fit it") as refused:
        refuse_changes(before, after, allows_code=True)
    assert (
        "observations were Box(-1.0, 1.0, (4,), float32) and are Box(-1.0, 1.0, (5,), float32) now"
    ) in str(refused.value)


def test_line_ends_and_a_folder_of_another_name_are_no_change(folder: Path) -> None:
    before = identity_of(folder)
    core = folder / "maze_core.py"
    core.write_bytes(core.read_bytes().replace(b"\n", b"\r\n"))
    moved = folder.with_name("moved")
    folder.rename(moved)
    sys.path.remove(str(folder))
    assert find_changes(before, identity_of(moved)) == find_changes(before, before)
    moved.rename(folder)


def test_a_module_that_is_a_link_counts_as_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "real.py"
    real.parent.mkdir()
    (folder / "maze_core.py").rename(real)
    (folder / "maze_core.py").symlink_to(real)
    before = identity_of(folder)
    real.write_text(real.read_text() + "# another\n")
    assert find_changes(before, identity_of(folder)).code == ("maze_core.py was changed",)


def test_an_installed_module_counts_by_its_version() -> None:
    plain = EnvironmentSettings("CartPole-v1", wrappers=(WrapperSettings("FlattenObservation"),))
    identity = identify(plain, describe(plain))
    assert identity.sources == {}
    assert identity.packages == {"gymnasium": gymnasium.__version__}
    older = EnvironmentIdentity.from_json({**identity.to_json(), "packages": {"gymnasium": "1.0"}})
    assert older is not None
    (words,) = find_changes(older, identity).code
    assert words == f"gymnasium is {gymnasium.__version__} instead of 1.0"


def test_spaces_of_any_kind_are_recorded(folder: Path) -> None:
    core = folder / "maze_core.py"
    core.write_text(core.read_text().replace("Discrete(2)", "MultiBinary(3)"))
    before = identity_of(folder)
    core.write_text(core.read_text().replace("MultiBinary(3)", "MultiBinary(4)"))
    assert find_changes(before, identity_of(folder)).spaces == (
        "actions were MultiBinary(3) and are MultiBinary(4) now",
    )
