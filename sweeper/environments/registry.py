"""Find an environment by its id: import its modules, complete the id, explain a wrong one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import gymnasium

from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.hints import did_you_mean, show

__all__ = [
    "check_id",
    "complete_id",
    "explain_unknown_id",
    "find_spec",
    "import_module",
    "register",
    "summarise",
]

# Ids that only another package registers.
_OTHER_PACKAGES = {
    "ALE/": "; the Atari games need pip install 'sweeper[atari]', and environment.module: ale_py"
}


def import_module(name: str, search_paths: Sequence[str] = ()) -> ModuleType:
    """Import a module from the first folder that has it, else from Python's path.

    The folder stays on ``sys.path``, so the module can import its neighbours.

    Raises:
        EnvironmentBuildError: there is no such module, it fails to import, or another module of
            that name is already loaded in this process.
    """
    top = name.partition(".")[0]
    folder = next((path for path in search_paths if _has_module(Path(path), name)), None)
    if folder is not None:
        loaded = sys.modules.get(top)
        if loaded is not None and not _lies_in(loaded, Path(folder)):
            clash = f"another module named {top} is already loaded; rename yours"
            message = f"module {name} was found in {folder}, but {clash}"
            raise EnvironmentBuildError(("module",), message)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            looked = ", ".join([*search_paths, "Python's path"])
            message = f"no module named {name}; looked in {looked}"
        else:
            message = f"module {name} needs {error.name}, which is not installed"
        raise EnvironmentBuildError(("module",), message) from error
    except Exception as error:  # the user's module can raise anything
        message = f"importing module {name} failed: {summarise(error)}"
        raise EnvironmentBuildError(("module",), message) from error


def register(settings: EnvironmentSettings) -> None:
    """Import the modules that register the environment's id.

    Raises:
        EnvironmentBuildError: a module can't be imported.
    """
    module, colon, _ = settings.id.partition(":")  # gymnasium's own "module:id"
    for name in (settings.module, module if colon else None):
        if name is not None:
            import_module(name, settings.search_paths)


def find_spec(env_id: str) -> gymnasium.envs.registration.EnvSpec:
    """Return gymnasium's entry for an id whose modules are imported.

    Raises:
        gymnasium.error.Error: there is none.
    """
    return gymnasium.spec(_without_module(env_id))


def complete_id(settings: EnvironmentSettings) -> str:
    """Return the id; if it has no version, with the newest one that is installed.

    Raises:
        EnvironmentBuildError: a module can't be imported.
    """
    register(settings)
    before, colon, name = settings.id.rpartition(":")
    versions = [] if name in gymnasium.registry else _versions_of(name)
    return f"{before}{colon}{max(versions, key=_version)}" if versions else settings.id


def check_id(env_id: str) -> None:
    """Refuse an id that gymnasium can't read, or would complete with a version of its choice.

    Raises:
        EnvironmentBuildError: it is such an id.
    """
    name = _without_module(env_id)
    if gymnasium.envs.registration.ENV_ID_RE.fullmatch(name) is None:
        hint = did_you_mean(name, gymnasium.registry, cutoff=0.7)
        message = f"{show(env_id)} is not a gymnasium id, such as CartPole-v1{hint}"
        raise EnvironmentBuildError(("id",), message)
    if name not in gymnasium.registry and (versions := _versions_of(name)):
        # gymnasium would take the newest installed version: another one after an upgrade.
        newest = max(versions, key=_version)
        message = f"{name} comes in versions; name one: {newest} is the newest"
        raise EnvironmentBuildError(("id",), message)


def explain_unknown_id(env_id: str) -> str:
    """Say that the id is unknown, and name a version that exists or the nearest id."""
    name, _, version = env_id.rpartition("-v")
    known = list(gymnasium.registry)
    versions = [one for one in known if name and one.rpartition("-v")[0].lower() == name.lower()]
    if versions:
        newest = max(versions, key=_version)
        if version.isdecimal():
            *first, last = sorted(versions, key=_version)
            others = f"; there are {', '.join(first)} and {last}" if first else ""
            return f"{name} has no version {version}{others}; did you mean {newest}?"
        hint = f"; did you mean {newest}?"
    else:
        hint = did_you_mean(env_id, known, cutoff=0.7)
    packages = (text for prefix, text in _OTHER_PACKAGES.items() if env_id.startswith(prefix))
    return f"unknown environment {show(env_id)}" + (
        hint or next(packages, "; an environment of your own needs environment.module")
    )


def summarise(error: BaseException) -> str:
    """Describe an exception in one line."""
    # gymnasium.make appends where it was raised, with all its arguments.
    text = " ".join(str(error).split()).partition(" was raised from the environment creator")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _without_module(env_id: str) -> str:
    return env_id.rpartition(":")[2]


def _versions_of(name: str) -> list[str]:
    return [one for one in gymnasium.registry if one.rpartition("-v")[0] == name]


def _version(env_id: str) -> int:
    version = env_id.rpartition("-v")[2]
    return int(version) if version.isdecimal() else -1


def _has_module(folder: Path, name: str) -> bool:
    path = folder.joinpath(*name.split("."))
    return path.with_name(f"{path.name}.py").is_file() or path.is_dir()


def _lies_in(module: ModuleType, folder: Path) -> bool:
    paths = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(
        path is not None and Path(path).resolve().is_relative_to(folder.resolve()) for path in paths
    )
