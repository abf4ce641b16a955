"""Building the gymnasium environment that a spec names, anywhere: in `plan` or in a worker."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium

from sweeper.environments.settings import (
    EnvironmentBuildError,
    EnvironmentSettings,
    WrapperSettings,
)
from sweeper.hints import did_you_mean, show

__all__ = [
    "EnvironmentDescription",
    "build_env",
    "complete_id",
    "describe",
    "import_module",
    "make_registered",
]


# What gymnasium says is missing, and our extra that has it as a ready wheel.
_EXTRAS = {"Box2D": "; or pip install 'sweeper[box2d]', which needs no compiler"}
# Ids that only another package registers.
_ELSEWHERE = {
    "ALE/": "; the Atari games need pip install 'sweeper[atari]', and environment.module: ale_py"
}


@dataclass(frozen=True)
class EnvironmentDescription:
    """What one built environment says of itself; ``max_episode_steps`` is None if unlimited."""

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    max_episode_steps: int | None


def import_module(name: str, search_paths: Sequence[str] = ()) -> ModuleType:
    """Import a module from the first of the folders that has it, else from Python's path.

    The folder stays on ``sys.path``, so that the module's own imports of its neighbours work.

    Raises:
        EnvironmentBuildError: there is no such module, it fails to import, or its name is already
            taken by another module of this process.
    """
    top = name.partition(".")[0]
    folder = next((path for path in search_paths if _has_module(Path(path), name)), None)
    if folder is not None:
        loaded = sys.modules.get(top)
        if loaded is not None and not _lies_in(loaded, Path(folder)):
            raise EnvironmentBuildError(
                ("module",),
                f"module {name} was found in {folder}, but another module named {top} is already "
                "loaded; rename yours",
            )
        if folder not in sys.path:
            sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            looked = ", ".join([*search_paths, "Python's path"])
            raise EnvironmentBuildError(
                ("module",), f"no module named {name}; looked in {looked}"
            ) from error
        raise EnvironmentBuildError(
            ("module",), f"module {name} needs {error.name}, which is not installed"
        ) from error
    except Exception as error:  # any line of the user's module may fail in its own way
        raise EnvironmentBuildError(
            ("module",), f"importing module {name} failed: {_summary(error)}"
        ) from error


def build_env(
    settings: EnvironmentSettings, render_mode: str | None = None, *, enforces_order: bool = True
) -> gymnasium.Env[Any, Any]:
    """Build one environment with its wrappers.

    Args:
        settings: which.
        render_mode: gymnasium's.
        enforces_order: put gymnasium's `OrderEnforcing` around it. Whoever never steps before a
            reset does without, which is a hundredth of a step of the slower classic tasks.

    Raises:
        EnvironmentBuildError: the id is unknown, an argument is refused, or a module or a wrapper
            can't be found.
    """
    kwargs = _kwargs(settings, render_mode)
    return make_registered(settings, kwargs, enforces_order=enforces_order)


def make_registered(
    settings: EnvironmentSettings, kwargs: Mapping[str, Any], *, enforces_order: bool = True
) -> gymnasium.Env[Any, Any]:
    """Like `build_env`, but with the constructor's whole arguments given.

    Raises:
        EnvironmentBuildError: as `build_env`.
    """
    _register(settings)
    constructors = [
        _find_wrapper(wrapper, position, settings.search_paths)
        for position, wrapper in enumerate(settings.wrappers)
    ]
    _check_id(settings.id)
    env = _make(settings, kwargs, enforces_order=enforces_order)
    for position, (wrapper, constructor) in enumerate(
        zip(settings.wrappers, constructors, strict=True)
    ):
        try:
            env = constructor(env, **wrapper.kwargs)
        except Exception as error:
            env.close()
            raise EnvironmentBuildError(
                ("wrappers", position),
                f"wrapper {wrapper.name} can't be put around {settings.id}: {_summary(error)}",
            ) from error
    return env


def complete_id(settings: EnvironmentSettings) -> str:
    """The id as it is, or with the newest version that is installed where it names none.

    Raises:
        EnvironmentBuildError: a module can't be imported.
    """
    _register(settings)
    before, colon, name = settings.id.rpartition(":")
    versions = [] if name in gymnasium.registry else _versions_of(name)
    return f"{before}{colon}{max(versions, key=_version)}" if versions else settings.id


def _register(settings: EnvironmentSettings) -> None:
    """Import what has the environment's id registered."""
    registering, colon, _ = settings.id.partition(":")  # gymnasium's own "module:id"
    for module in (settings.module, registering if colon else None):
        if module is not None:
            import_module(module, settings.search_paths)


def describe(settings: EnvironmentSettings) -> EnvironmentDescription:
    """Build the environment once and read its spaces and time limit.

    Raises:
        EnvironmentBuildError: as `build_env`.
    """
    with _kept_off_stdout():
        return _describe(settings)


def _describe(settings: EnvironmentSettings) -> EnvironmentDescription:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the plan is about the spec, not gymnasium's advice
        env = build_env(settings)
    try:
        limit = env.spec.max_episode_steps if env.spec is not None else None
        return EnvironmentDescription(env.observation_space, env.action_space, limit)
    except Exception as error:
        raise EnvironmentBuildError(
            ("id",), f"environment {settings.id} has no spaces: {_summary(error)}"
        ) from error
    finally:
        env.close()


@contextlib.contextmanager
def _kept_off_stdout() -> Iterator[None]:
    """What a user's module or simulator prints goes to stderr: stdout is the answer's, or JSON's.

    The file descriptor is turned too, which C libraries and child processes write to.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # closed, as in a daemon
        kept = None
    try:
        if kept is not None:
            with contextlib.suppress(OSError):
                os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def _kwargs(settings: EnvironmentSettings, render_mode: str | None) -> dict[str, Any]:
    kwargs = dict(settings.kwargs)
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    return kwargs


def _make(
    settings: EnvironmentSettings, kwargs: Mapping[str, Any], *, enforces_order: bool
) -> gymnasium.Env[Any, Any]:
    made: Any = settings.id
    try:
        if not enforces_order:
            spec = gymnasium.spec(settings.id.rpartition(":")[2])
            made = replace(spec, order_enforce=False)
        return gymnasium.make(made, disable_env_checker=True, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        extra = next((hint for name, hint in _EXTRAS.items() if name in str(error)), "")
        raise EnvironmentBuildError(
            ("id",), f"environment {settings.id} needs a package: {_summary(error)}{extra}"
        ) from error
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
        raise EnvironmentBuildError(("id",), _unknown_id(settings.id)) from error
    except (gymnasium.error.Error, ImportError) as error:
        raise EnvironmentBuildError(
            ("id",), f"environment {settings.id} can't be made: {_summary(error)}"
        ) from error
    except Exception as error:
        key = ("kwargs",) if settings.kwargs else ("id",)
        given = f" with {show(settings.kwargs)}" if settings.kwargs else ""
        if (unknown := _explain_arguments(settings.id, kwargs)) is not None:
            raise EnvironmentBuildError(key, unknown) from error
        raise EnvironmentBuildError(
            key, f"environment {settings.id} can't be built{given}: {_summary(error)}"
        ) from error


def _check_id(env_id: str) -> None:
    """Refuse what gymnasium can't read as an id, or would complete with a version of its own."""
    name = env_id.rpartition(":")[2]
    if gymnasium.envs.registration.ENV_ID_RE.fullmatch(name) is None:
        hint = did_you_mean(name, gymnasium.registry, cutoff=0.7)
        raise EnvironmentBuildError(
            ("id",), f"{show(env_id)} is no gymnasium id, such as CartPole-v1{hint}"
        )
    if name in gymnasium.registry:
        return
    versions = _versions_of(name)
    if versions:
        # gymnasium would take the newest one that is installed: another one after an upgrade.
        newest = max(versions, key=_version)
        raise EnvironmentBuildError(
            ("id",), f"{name} comes in versions; name one: {newest} is the newest"
        )


def _explain_arguments(env_id: str, given: Mapping[str, Any]) -> str | None:
    """Which arguments a constructor has, if it was given another; None if that can't be said."""
    entry = gymnasium.spec(env_id).entry_point
    try:
        creator = (
            gymnasium.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
        )
        taken = inspect.signature(creator).parameters
    except Exception:  # it was only for the message
        return None
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return None
    strange = [name for name in given if name not in taken]
    if not strange:
        return None
    known = [name for name in taken if name not in ("self", "render_mode")]
    hint = did_you_mean(strange[0], known)
    has = f"it takes {', '.join(known)}" if known else "it takes none"
    return f"{env_id} has no argument {show(strange[0])}; {has}{hint}"


def _unknown_id(env_id: str) -> str:
    """What to write instead: the version that there is, or the nearest name."""
    name, _, version = env_id.rpartition("-v")
    known = list(gymnasium.registry)
    versions = [one for one in known if name and one.rpartition("-v")[0].lower() == name.lower()]
    if versions:
        newest = max(versions, key=_version)
        if version.isdecimal():
            there = f"; there are {_listed(versions)}" if len(versions) > 1 else ""
            return f"{name} has no version {version}{there}; did you mean {newest}?"
        hint = f"; did you mean {newest}?"
    else:
        hint = did_you_mean(env_id, known, cutoff=0.7)
    package = next((words for begin, words in _ELSEWHERE.items() if env_id.startswith(begin)), "")
    return f"unknown environment {show(env_id)}" + (
        hint or package or "; an environment of your own needs environment.module"
    )


def _versions_of(name: str) -> list[str]:
    return [one for one in gymnasium.registry if one.rpartition("-v")[0] == name]


def _version(env_id: str) -> int:
    version = env_id.rpartition("-v")[2]
    return int(version) if version.isdecimal() else -1


def _listed(names: list[str]) -> str:
    *first, last = sorted(names, key=_version)
    return f"{', '.join(first)} and {last}"


def _find_wrapper(
    wrapper: WrapperSettings, position: int, search_paths: Sequence[str]
) -> Callable[..., gymnasium.Env[Any, Any]]:
    key = ("wrappers", position)
    module_name, _, attribute = wrapper.name.rpartition(".")
    if module_name:
        try:
            module = import_module(module_name, search_paths)
        except EnvironmentBuildError as error:
            raise EnvironmentBuildError(key, f"wrapper {wrapper.name}: {error}") from error
    else:
        module = importlib.import_module("gymnasium.wrappers")
    found = getattr(module, attribute, None)
    if not callable(found):
        names = getattr(module, "__all__", None) or [n for n in dir(module) if n[:1].isupper()]
        hint = did_you_mean(attribute, names, cutoff=0.5)
        raise EnvironmentBuildError(
            key, f"no wrapper {show(attribute)} in {module_name or 'gymnasium.wrappers'}{hint}"
        )
    if not (isinstance(found, type) and issubclass(found, gymnasium.Env)):
        raise EnvironmentBuildError(key, f"{wrapper.name} is no gymnasium.Wrapper")
    return found


def _has_module(folder: Path, name: str) -> bool:
    place = folder.joinpath(*name.split("."))
    return place.with_name(f"{place.name}.py").is_file() or place.is_dir()


def _lies_in(module: ModuleType, folder: Path) -> bool:
    places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
    return any(
        place is not None and Path(place).resolve().is_relative_to(folder.resolve())
        for place in places
    )


def _summary(error: BaseException) -> str:
    # gymnasium.make appends where it was raised, with everything that it was given.
    text = " ".join(str(error).split()).partition(" was raised from the environment creator")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
