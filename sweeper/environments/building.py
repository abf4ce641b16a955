"""Build the gymnasium environment that a spec names, with its wrappers; in `plan` or a worker."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium

from sweeper.environments.containment import (
    USER_ERRORS,
    close_quietly,
    contained,
    settings_restored,
)
from sweeper.environments.modules import import_module, summarise
from sweeper.environments.outcomes import RewardMeter
from sweeper.environments.probing import NOTHING_FOUND, Probe, explain_state, find_statistics, probe
from sweeper.environments.registry import check_id, explain_unknown_id, find_spec, register
from sweeper.environments.settings import (
    EnvironmentBuildError,
    EnvironmentSettings,
    WrapperSettings,
)
from sweeper.hints import did_you_mean, show
from sweeper.installation import install_extra, pip_install

__all__ = ["EnvironmentDescription", "build_env", "describe"]

# What gymnasium reports as missing, and our extra that has a wheel of it.
_EXTRAS = {"Box2D": "box2d"}
# Words of gymnasium's wrappers, and what to do about it in a spec or, else, which package has it.
_REMEDIES = {"Disable frame-skipping": "; set environment.kwargs: {frameskip: 1}"}
_PACKAGES = {"opencv": ("opencv-python-headless", "which needs no display")}


@dataclass(frozen=True)
class EnvironmentDescription:
    """What a built environment shows of itself.

    Attributes:
        max_episode_steps: its time limit; None if there is none.
        probe: what a few steps of it showed.
        reward_threshold: the return from which it counts as solved, as registered; None if that
            is not said.
    """

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    max_episode_steps: int | None
    probe: Probe = NOTHING_FOUND
    reward_threshold: float | None = None


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
    with settings_restored():
        env = _make(settings, enforces_order=enforces_order)
        if settings.wrappers:
            env = RewardMeter(env)
        for position, wrapper in enumerate(settings.wrappers):
            try:
                env = RewardMeter(constructors[position](env, **wrapper.arguments))
            except USER_ERRORS as error:
                close_quietly(env.close)
                around = f"wrapper {wrapper.name} can't be put around {settings.id}"
                message = f"{around}: {summarise(error)}{_find_remedy(error)}"
                raise EnvironmentBuildError(("wrappers", position), message) from error
    statistics = find_statistics(env)
    if statistics is not None:
        close_quietly(env.close)
        names = [wrapper.name.rpartition(".")[2] for wrapper in settings.wrappers]
        key = ("wrappers", names.index(statistics)) if statistics in names else ("id",)
        raise EnvironmentBuildError(key, explain_state(statistics))
    return env


def describe(settings: EnvironmentSettings) -> EnvironmentDescription:
    """Build the environment once, read its spaces and time limit, and try a few steps.

    Raises:
        EnvironmentBuildError: as `build_env`.
    """
    with contained():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # gymnasium's advice is not about the spec
            env = build_env(settings)
        try:
            limit = env.spec.max_episode_steps if env.spec is not None else None
            threshold = env.spec.reward_threshold if env.spec is not None else None
            spaces = env.observation_space, env.action_space
            return EnvironmentDescription(*spaces, limit, probe(env), threshold)
        except USER_ERRORS as error:
            message = f"environment {settings.id} has no spaces: {summarise(error)}"
            raise EnvironmentBuildError(("id",), message) from error
        finally:
            close_quietly(env.close)


def _make(settings: EnvironmentSettings, *, enforces_order: bool) -> gymnasium.Env[Any, Any]:
    made: Any = settings.id
    arguments = settings.arguments
    try:
        if not enforces_order:
            made = replace(find_spec(settings.id), order_enforce=False)
        return gymnasium.make(made, disable_env_checker=True, **arguments)
    except gymnasium.error.DependencyNotInstalled as error:
        extra = next((one for name, one in _EXTRAS.items() if name in str(error)), None)
        hint = f"; or {install_extra(extra)}, which needs no compiler" if extra else ""
        message = f"environment {settings.id} needs a package: {summarise(error)}{hint}"
        raise EnvironmentBuildError(("id",), message) from error
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.DeprecatedEnv) as error:
        message = explain_unknown_id(settings.id, settings.search_paths, settings.module)
        raise EnvironmentBuildError(("id",), message) from error
    except (gymnasium.error.Error, ImportError) as error:
        message = f"environment {settings.id} can't be made: {summarise(error)}"
        raise EnvironmentBuildError(("id",), message) from error
    except USER_ERRORS as error:
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


def _find_remedy(error: BaseException) -> str:
    text = str(error)
    packages = (
        f"; or {pip_install(package)}, {why}"
        for words, (package, why) in _PACKAGES.items()
        if words in text
    )
    hints = (hint for words, hint in _REMEDIES.items() if words in text)
    return next(hints, next(packages, ""))


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
