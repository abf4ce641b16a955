"""A user's module is imported from its folder: itself, nothing else, and its failures are said."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeper.environments import modules
from sweeper.environments.building import build_env, describe
from sweeper.environments.modules import import_module
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings


@pytest.fixture(autouse=True)
def _restored(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    # Another file's tests may have loaded modules of these names from folders of theirs, which are
    # on Python's path since.
    temporary = str(tmp_path_factory.getbasetemp())
    kept = [path for path in sys.path if not path.startswith(temporary)]
    monkeypatch.setattr(sys, "path", kept)
    monkeypatch.setattr(modules, "_added", [])
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(temporary):
            monkeypatch.delitem(sys.modules, name)
    loaded = set(sys.modules)
    yield
    for name in set(sys.modules) - loaded:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder of installed packages, with the module `borrowed`."""
    folder = tmp_path / "site"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    write(folder, "borrowed", "WHOSE = 'installed'")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


def write(folder: Path, name: str, text: str) -> None:
    path = folder / f"{name.replace('.', '/')}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def refusal(name: str, *folders: Path) -> str:
    with pytest.raises(EnvironmentBuildError) as raised:
        import_module(name, [str(folder) for folder in folders])
    assert raised.value.key == ("module",)
    return str(raised.value)


def test_a_neighbour_does_not_hide_a_library(installed: Path, own: Path) -> None:
    write(own, "my_env", "import helper_of_mine")
    write(own, "helper_of_mine", "")
    write(own, "borrowed", "raise SystemExit('a script')")
    import_module("my_env", [str(own)])
    assert importlib.import_module("borrowed").WHOSE == "installed"


def test_a_module_with_a_librarys_name_is_refused(installed: Path, own: Path) -> None:
    write(own, "borrowed", "")
    said = refusal("borrowed", own)
    assert said == (
        f"module borrowed was found in {own}, but borrowed is also the name of the installed "
        f"{installed / 'borrowed.py'}; rename yours"
    )
    assert str(own) not in sys.path


def test_a_module_with_the_name_of_pythons_own_is_refused(own: Path) -> None:
    write(own, "antigravity", "")
    assert "a module of Python's own library; rename yours" in refusal("antigravity", own)


@pytest.mark.parametrize(
    "text", ["import borrowed.part", "from borrowed import WHOSE", "import helper_of_mine"]
)
def test_a_module_that_imports_a_hidden_neighbour_is_refused(
    installed: Path, own: Path, text: str
) -> None:
    write(own, "my_env", text)
    write(own, "helper_of_mine", "def later():\n    import borrowed")
    write(own, "borrowed", "")
    said = refusal("my_env", own)
    assert "imports borrowed, but that is the name both of" in said
    assert said.endswith(f"the installed {installed / 'borrowed.py'}; rename yours")


@pytest.mark.parametrize("name", ["envs", "my_envs"])
def test_a_folder_that_is_no_package_hides_nothing(installed: Path, own: Path, name: str) -> None:
    """Neither a checkout beside the spec, nor a folder on Python's path."""
    (own / "borrowed").mkdir()
    (installed / "envs").mkdir()
    write(own, f"{name}.corridor", "import borrowed\nWHOSE = borrowed.WHOSE")
    assert import_module(f"{name}.corridor", [str(own)]).WHOSE == "installed"


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_link_is_followed(tmp_path: Path, own: Path, where: str) -> None:
    write(own, "linked_env", "import neighbour_of_link")
    write(own, "neighbour_of_link", "")
    place = tmp_path / "place"
    if where == "folder":
        place.symlink_to(own)
    else:
        place.mkdir()
        for name in ("linked_env", "neighbour_of_link"):
            (place / f"{name}.py").symlink_to(own / f"{name}.py")
    first = import_module("linked_env", [str(place)])
    assert import_module("linked_env", [str(place)]) is first


def test_the_folder_of_the_latest_spec_comes_first(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, f"env_{name}", "import shared_helper\nWHOSE = shared_helper.WHOSE")
        write(tmp_path / name, "shared_helper", f"WHOSE = {name!r}")
        found = import_module(f"env_{name}", [str(tmp_path / name)]).WHOSE
        assert found == name
        del sys.modules["shared_helper"]


# --- a script in place of a module -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("import sys\nsys.exit()", "sys.exit()"),
        ("raise SystemExit('usage: x')", "sys.exit('usage: x')"),
        ("import argparse\nargparse.ArgumentParser().parse_args(['--no'])", "sys.exit(2)"),
    ],
)
def test_a_module_that_ends_the_process_is_refused(own: Path, text: str, code: str) -> None:
    write(own, "script_env", text)
    assert refusal("script_env", own) == (
        f"importing module script_env failed: it ends the process with {code}; what it does as a "
        'script belongs under if __name__ == "__main__":'
    )


LEAVING = """
import gymnasium, sys
class Leaving(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Discrete(2)
    def __init__(self, where="constructor"):
        self.where = where
        if where == "constructor":
            sys.exit(3)
    @property
    def action_space(self):
        return sys.exit(3) if self.where == "spaces" else gymnasium.spaces.Discrete(2)
class LeavingWrapper(gymnasium.Wrapper):
    def __init__(self, env):
        sys.exit(3)
gymnasium.register("Leaving-v0", Leaving, order_enforce=False)
"""


@pytest.mark.parametrize("where", ["constructor", "spaces"])
def test_an_environment_that_ends_the_process_is_refused(own: Path, where: str) -> None:
    write(own, "leaving_env", LEAVING)
    settings = EnvironmentSettings(
        "Leaving-v0", {"where": where}, module="leaving_env", search_paths=(str(own),)
    )
    with pytest.raises(EnvironmentBuildError, match=r"it ends the process with sys\.exit\(3\)"):
        describe(settings)


def test_the_folder_comes_last_on_the_path(own: Path) -> None:
    write(own, "plain_env", "")
    before = list(sys.path)
    import_module("plain_env", [str(own)])
    assert sys.path == [*before, str(own)]
    with pytest.raises(EnvironmentBuildError, match="no module named absent_env"):
        build_env(EnvironmentSettings("X-v0", module="absent_env", search_paths=(str(own),)))
