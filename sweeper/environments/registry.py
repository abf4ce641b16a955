"""Find an environment by its id: register it, complete the id, explain a wrong one."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import gymnasium

from sweeper.environments.containment import contained
from sweeper.environments.modules import import_module
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.hints import did_you_mean, join_words, nearest, show
from sweeper.installation import install_extra, pip_install

__all__ = [
    "check_id",
    "complete_id",
    "explain_unknown_id",
    "find_spec",
    "register",
]

# Of a folder that is searched for the module of an id.
_MAX_MODULES, _MAX_FOLDERS, _MAX_DEPTH, _MAX_MODULE_BYTES = 200, 200, 3, 1_000_000
# Ids that only another package registers: whose they are, our extra or the package, its module.
_OTHER_PACKAGES = {
    "ALE/": ("the Atari games", "[atari]", "ale_py"),
    "MiniGrid-": ("MiniGrid's environments", "minigrid", "minigrid"),
    "BabyAI-": ("BabyAI's environments", "minigrid", "minigrid"),
    "highway-": ("highway-env's environments", "highway-env", "highway_env"),
}


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
    with contained():
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


def explain_unknown_id(
    env_id: str, search_paths: Sequence[str] = (), given_module: str | None = None
) -> str:
    """Say that the id is unknown, and name its module, a version that exists or the nearest id.

    Args:
        env_id: the id, with or without a module.
        search_paths: folders whose modules are read, not imported, for one that registers it.
        given_module: what was imported beside the id's own module, if anything.
    """
    module, colon, bare = env_id.rpartition(":")
    if not colon and (hint := _find_registering(env_id, search_paths)):
        return f"unknown environment {show(env_id)}; {hint}"
    imported = module or given_module
    name, _, version = bare.rpartition("-v")
    known = list(gymnasium.registry)
    versions = [one for one in known if name and one.rpartition("-v")[0].lower() == name.lower()]
    if versions:
        newest = max(versions, key=_version)
        if version.isdecimal():
            *first, last = sorted(versions, key=_version)
            others = f"; there are {', '.join(first)} and {last}" if first else ""
            return f"{name} has no version {version}{others}; did you mean {module}{colon}{newest}?"
        near: str | None = newest
    else:
        near = nearest(bare, known, cutoff=0.7)
    hint = f"; did you mean {module}{colon}{near}?" if near else ""
    hint = hint or (f"; {imported} registers no such id" if imported else _name_package(env_id))
    return f"unknown environment {show(env_id)}{hint}"


def _name_package(env_id: str) -> str:
    """Which package registers an id, as far as is known."""
    for prefix, (whose, package, module) in _OTHER_PACKAGES.items():
        if env_id.startswith(prefix):
            if importlib.util.find_spec(module) is not None:
                return f"; {module} registers {whose}, so write {module}:{env_id}"
            extra = package.strip("[]")
            command = pip_install(package) if extra == package else install_extra(extra)
            return f"; {whose} need {command}; then write {module}:{env_id}"
    return f"; an environment of your own needs its module, as in my_envs:{show(env_id)[1:-1]}"


def _find_registering(name: str, search_paths: Sequence[str]) -> str:
    """Which module registers an id, or what a module of this name registers; empty if none.

    The modules are read and not imported: the user has not asked for any of them.
    """
    for folder in dict.fromkeys(map(Path, search_paths)):
        for file in itertools.islice(_modules_in(folder), _MAX_MODULES):
            place = file.relative_to(folder)
            ids, module = _registered_ids(file), _module_name(place)
            if name in ids:
                return f"{place} registers it, so write {module}:{name}"
            if name == module and ids:
                ids = sorted(ids)
                return f"{place} registers {join_words(ids[:5])}, so write {name}:{ids[0]}"
    return ""


def _module_name(place: Path) -> str:
    """The dotted name of a file below a folder that modules are looked up in."""
    parts = place.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


def _modules_in(root: Path) -> Iterator[Path]:
    """The modules of a folder and of its packages, those that lie higher first."""
    folders, seen = [root], 0
    while folders and seen < _MAX_FOLDERS:
        folder, seen = folders.pop(0), seen + 1
        try:
            entries = sorted(one for one in folder.iterdir() if one.stem.isidentifier())
        except OSError:
            continue
        yield from (one for one in entries if one.suffix == ".py")
        if len(folder.relative_to(root).parts) < _MAX_DEPTH:
            folders += [one for one in entries if not one.suffix and one.is_dir()]


def _registered_ids(file: Path) -> list[str]:
    """The ids that a module's calls of ``register`` name as texts; none if it can't be read."""
    ids: list[str] = []
    with contextlib.suppress(OSError, SyntaxError, ValueError, RecursionError):
        if not file.is_file() or file.stat().st_size > _MAX_MODULE_BYTES:
            return []
        for node in ast.walk(ast.parse(file.read_bytes())):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            named = [keyword.value for keyword in node.keywords if keyword.arg == "id"]
            for value in [*named, *node.args[:1]][:1]:
                if (
                    called == "register"
                    and isinstance(value, ast.Constant)
                    and isinstance(value.value, str)
                ):
                    ids.append(value.value)
    return ids


def _without_module(env_id: str) -> str:
    return env_id.rpartition(":")[2]


def _versions_of(name: str) -> list[str]:
    return [one for one in gymnasium.registry if one.rpartition("-v")[0] == name]


def _version(env_id: str) -> int:
    version = env_id.rpartition("-v")[2]
    return int(version) if version.isdecimal() else -1
