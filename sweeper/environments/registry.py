"""Find an environment by its id: register it, complete the id, explain a wrong one."""

from __future__ import annotations

import gymnasium

from sweeper.environments.containment import contained
from sweeper.environments.modules import import_module
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.hints import did_you_mean, show

__all__ = [
    "check_id",
    "complete_id",
    "explain_unknown_id",
    "find_spec",
    "register",
]

# Ids that only another package registers.
_OTHER_PACKAGES = {
    "ALE/": "; the Atari games need pip install 'sweeper[atari]', and environment.module: ale_py"
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


def _without_module(env_id: str) -> str:
    return env_id.rpartition(":")[2]


def _versions_of(name: str) -> list[str]:
    return [one for one in gymnasium.registry if one.rpartition("-v")[0] == name]


def _version(env_id: str) -> int:
    version = env_id.rpartition("-v")[2]
    return int(version) if version.isdecimal() else -1
