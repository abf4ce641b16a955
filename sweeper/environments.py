"""Building the gymnasium environment that a spec names, anywhere: in `plan` or in a worker."""

from __future__ import annotations

import difflib
import importlib
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium

from sweeper.errors import UserError

__all__ = [
    "EnvironmentBuildError",
    "EnvironmentDescription",
    "EnvironmentSettings",
    "WrapperSettings",
    "build_env",
    "describe",
    "import_module",
    "make_registered",
]


# What gymnasium says is missing, and our extra that has it as a ready wheel.
_EXTRAS = {"Box2D": "; or pip install 'sweeper[box2d]', which needs no compiler"}


@dataclass(frozen=True)
class WrapperSettings:
    """One wrapper: a name in ``gymnasium.wrappers`` or a dotted path, with its arguments."""

    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EnvironmentSettings:
    """Everything a worker needs to build the environment; plain data that survives JSON.

    Attributes:
        id: the gymnasium id.
        kwargs: passed to the environment's constructor.
        wrappers: applied in order, the last outermost.
        module: imported first, so that it can register the id.
        search_paths: absolute folders to look for modules in, before Python's own path.
        vectorization: ``auto``, ``sync``, ``async`` or ``vector_entry_point``.
    """

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    wrappers: tuple[WrapperSettings, ...] = ()
    module: str | None = None
    search_paths: tuple[str, ...] = ()
    vectorization: str = "auto"

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON's types."""
        return {
            **asdict(self),
            "kwargs": dict(self.kwargs),
            "wrappers": [{"name": w.name, "kwargs": dict(w.kwargs)} for w in self.wrappers],
            "search_paths": list(self.search_paths),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EnvironmentSettings:
        """The inverse of `to_json`."""
        return cls(
            **{
                **document,
                "wrappers": tuple(WrapperSettings(**wrapper) for wrapper in document["wrappers"]),
                "search_paths": tuple(document["search_paths"]),
            }
        )


@dataclass(frozen=True)
class EnvironmentDescription:
    """What one built environment says of itself; ``max_episode_steps`` is None if unlimited."""

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    max_episode_steps: int | None


class EnvironmentBuildError(UserError):
    """The environment can't be built.

    Attributes:
        key: where in the spec's ``environment`` the fault lies, e.g. ``("wrappers", 0)``.
    """

    def __init__(self, key: tuple[str | int, ...], message: str) -> None:
        self.key = key
        super().__init__(message)


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
    settings: EnvironmentSettings, render_mode: str | None = None
) -> gymnasium.Env[Any, Any]:
    """Build one environment with its wrappers.

    Raises:
        EnvironmentBuildError: the id is unknown, an argument is refused, or a module or a wrapper
            can't be found.
    """
    return make_registered(settings, _kwargs(settings, render_mode))


def make_registered(
    settings: EnvironmentSettings, kwargs: Mapping[str, Any]
) -> gymnasium.Env[Any, Any]:
    """Like `build_env`, but with the constructor's whole arguments given.

    Raises:
        EnvironmentBuildError: as `build_env`.
    """
    registering, colon, _ = settings.id.partition(":")  # gymnasium's own "module:id"
    for module in (settings.module, registering if colon else None):
        if module is not None:
            import_module(module, settings.search_paths)
    constructors = [
        _find_wrapper(wrapper, position, settings.search_paths)
        for position, wrapper in enumerate(settings.wrappers)
    ]
    env = _make(settings, kwargs)
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


def describe(settings: EnvironmentSettings) -> EnvironmentDescription:
    """Build the environment once and read its spaces and time limit.

    Raises:
        EnvironmentBuildError: as `build_env`.
    """
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


def _kwargs(settings: EnvironmentSettings, render_mode: str | None) -> dict[str, Any]:
    kwargs = dict(settings.kwargs)
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    return kwargs


def _make(settings: EnvironmentSettings, kwargs: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
    try:
        return gymnasium.make(settings.id, disable_env_checker=True, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        extra = next((hint for name, hint in _EXTRAS.items() if name in str(error)), "")
        raise EnvironmentBuildError(
            ("id",), f"environment {settings.id} needs a package: {_summary(error)}{extra}"
        ) from error
    except gymnasium.error.UnregisteredEnv as error:
        raise EnvironmentBuildError(("id",), _unknown_id(settings.id)) from error
    except (gymnasium.error.Error, ImportError) as error:
        raise EnvironmentBuildError(
            ("id",), f"environment {settings.id} can't be made: {_summary(error)}"
        ) from error
    except Exception as error:
        key = ("kwargs",) if settings.kwargs else ("id",)
        given = f" with {dict(settings.kwargs)}" if settings.kwargs else ""
        raise EnvironmentBuildError(
            key, f"environment {settings.id} can't be built{given}: {_summary(error)}"
        ) from error


def _unknown_id(env_id: str) -> str:
    known = list(gymnasium.registry)
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(env_id.lower(), folded, n=1, cutoff=0.7)
    hint = f"; did you mean {folded[near[0]]}?" if near else ""
    return f"unknown environment {env_id!r}: no gymnasium id of that name{hint}" + (
        "" if near else "; an environment of your own needs environment.module"
    )


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
        near = difflib.get_close_matches(attribute, names, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise EnvironmentBuildError(
            key, f"no wrapper {attribute!r} in {module_name or 'gymnasium.wrappers'}{hint}"
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
