"""Build the gymnasium environment that a spec names, with its wrappers; in `plan` or a worker."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium

from sweeper.environments.registry import (
    check_id,
    explain_unknown_id,
    find_spec,
    import_module,
    register,
    summarise,
)
from sweeper.environments.settings import (
    EnvironmentBuildError,
    EnvironmentSettings,
    WrapperSettings,
)
from sweeper.hints import did_you_mean, show

__all__ = ["EnvironmentDescription", "build_env", "describe", "stdout_to_stderr"]

# What gymnasium reports as missing, and our extra that has a wheel of it.
_EXTRAS = {"Box2D": "; or pip install 'sweeper[box2d]', which needs no compiler"}


@dataclass(frozen=True)
class EnvironmentDescription:
    """Spaces and time limit of a built environment; ``max_episode_steps`` is None if unlimited."""

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    max_episode_steps: int | None


def build_env(
    settings: EnvironmentSettings, *, enforces_order: bool = True
) -> gymnasium.Env[Any, Any]:
    """Build one environment with its wrappers.

    Args:
        settings: the environment.
        enforces_order: add gymnasium's `OrderEnforcing`. A caller that never steps before a reset
            can do without: it takes a hundredth of a step of the slower classic tasks.

    Raises:
        EnvironmentBuildError: the id is unknown, an argument is refused, or a module or a wrapper
            can't be found.
    """
    register(settings)
    constructors = [
        _find_wrapper(wrapper, position, settings.search_paths)
        for position, wrapper in enumerate(settings.wrappers)
    ]
    check_id(settings.id)
    env = _make(settings, enforces_order=enforces_order)
    for position, wrapper in enumerate(settings.wrappers):
        try:
            constructor = constructors[position]
            env = constructor(env, **_with_tuples(constructor, wrapper.kwargs))
        except Exception as error:
            env.close()
            around = f"wrapper {wrapper.name} can't be put around {settings.id}"
            message = f"{around}: {summarise(error)}"
            raise EnvironmentBuildError(("wrappers", position), message) from error
    return env


def describe(settings: EnvironmentSettings) -> EnvironmentDescription:
    """Build the environment once and read its spaces and time limit.

    Raises:
        EnvironmentBuildError: as `build_env`.
    """
    with stdout_to_stderr():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # gymnasium's advice is not about the spec
            env = build_env(settings)
        try:
            limit = env.spec.max_episode_steps if env.spec is not None else None
            return EnvironmentDescription(env.observation_space, env.action_space, limit)
        except Exception as error:
            message = f"environment {settings.id} has no spaces: {summarise(error)}"
            raise EnvironmentBuildError(("id",), message) from error
        finally:
            env.close()


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what a user's module or simulator prints to stderr: stdout is for our own output.

    The file descriptor is redirected too, because C libraries and child processes write to it.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    try:
        saved = os.dup(1)
    except OSError:  # closed, as in a daemon
        saved = None
    try:
        if saved is not None:
            with contextlib.suppress(OSError):
                os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def _make(settings: EnvironmentSettings, *, enforces_order: bool) -> gymnasium.Env[Any, Any]:
    made: Any = settings.id
    try:
        if not enforces_order:
            made = replace(find_spec(settings.id), order_enforce=False)
        return gymnasium.make(made, disable_env_checker=True, **settings.kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        extra = next((hint for name, hint in _EXTRAS.items() if name in str(error)), "")
        message = f"environment {settings.id} needs a package: {summarise(error)}{extra}"
        raise EnvironmentBuildError(("id",), message) from error
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
        raise EnvironmentBuildError(("id",), explain_unknown_id(settings.id)) from error
    except (gymnasium.error.Error, ImportError) as error:
        message = f"environment {settings.id} can't be made: {summarise(error)}"
        raise EnvironmentBuildError(("id",), message) from error
    except Exception as error:
        key = ("kwargs",) if settings.kwargs else ("id",)
        given = f" with {show(settings.kwargs)}" if settings.kwargs else ""
        message = _explain_unknown_argument(settings) or (
            f"environment {settings.id} can't be built{given}: {summarise(error)}"
        )
        raise EnvironmentBuildError(key, message) from error


def _explain_unknown_argument(settings: EnvironmentSettings) -> str | None:
    """Name an argument that the constructor does not have; None if there is none, or unknown."""
    entry = find_spec(settings.id).entry_point
    try:
        creator = (
            gymnasium.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
        )
        parameters = inspect.signature(creator).parameters
    except Exception:  # only the message would be better
        return None
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return None
    unknown = next((name for name in settings.kwargs if name not in parameters), None)
    if unknown is None:
        return None
    known = [name for name in parameters if name not in ("self", "render_mode")]
    allowed = f"it takes {', '.join(known)}" if known else "it takes none"
    return f"{settings.id} has no argument {show(unknown)}; {allowed}{did_you_mean(unknown, known)}"


def _with_tuples(constructor: Callable[..., Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, with a tuple for a list where the constructor asks for one: YAML has none."""
    try:
        parameters = inspect.signature(constructor).parameters
    except (TypeError, ValueError):
        return dict(kwargs)
    wants = {name for name, one in parameters.items() if "tuple" in str(one.annotation).lower()}
    return {
        name: tuple(value) if name in wants and isinstance(value, list) else value
        for name, value in kwargs.items()
    }


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
        place = module_name or "gymnasium.wrappers"
        raise EnvironmentBuildError(key, f"no wrapper {show(attribute)} in {place}{hint}")
    if not (isinstance(found, type) and issubclass(found, gymnasium.Env)):
        raise EnvironmentBuildError(key, f"{wrapper.name} is not a gymnasium.Wrapper")
    return found
