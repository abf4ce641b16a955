"""Builds RLlib's config object from a configuration, and refuses what RLlib would ignore."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import gymnasium
from ray import cloudpickle
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.registry import get_trainable_cls

from sweeper import references
from sweeper.environments import outcomes
from sweeper.environments.outcomes import OWN_REWARD, CheckedEnv, RewardMeter
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import ConfigurationRefusedError
from sweeper.spec.keys.foreign import SECOND_NAMES, dead_reason, explain_foreign_name, renamed_to
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.rllib_backend.connectors import connect_actions, connect_observations
from sweeper.veil import veil

__all__ = [
    "EPISODE_LENGTHS",
    "EPISODE_RETURNS",
    "build_algorithm_config",
    "make_return_counter",
    "set_environment",
]

# Keys in a result's env_runners: the episodes that ended in the iteration.
EPISODE_RETURNS = "finished_episode_returns"
EPISODE_LENGTHS = "finished_episode_lengths"

# The methods of AlgorithmConfig that take keys of the param space; None: all their arguments.
# Arguments that a spec sets elsewhere (environment, seeds, evaluation) are left out.
_METHODS: Mapping[str, frozenset[str] | None] = {
    "training": None,
    "env_runners": None,
    "learners": None,
    "reporting": None,
    "fault_tolerance": None,
    "rl_module": frozenset({"model_config"}),
    "environment": frozenset({"normalize_actions", "clip_actions", "clip_rewards"}),
    "debugging": frozenset({"log_level", "log_sys_usage"}),
    "framework": frozenset({"torch_skip_nan_gradients"}),
}


def build_algorithm_config(
    settings: TrialSettings, configuration: Mapping[str, Any], *, seed: int, env_steps: int = 0
) -> AlgorithmConfig:
    """RLlib's validated config object for one replica.

    Nothing in it refers to this package by name: RLlib's checkpoints load without it.

    Args:
        settings: the trial's settings.
        configuration: keys of RLlib's AlgorithmConfig methods; ``model_config`` is a mapping.
        seed: RLlib's seed, for its environments and the process-wide generators.
        env_steps: the replica's env steps so far; above 0 after a restore.

    Raises:
        ConfigurationRefusedError: RLlib refuses it; with RLlib's reason.
    """
    config: AlgorithmConfig = _algorithm_class(settings.algorithm).get_default_config()
    given = {
        "num_env_runners": 0,
        "num_learners": 0,
        # RLlib would restart a broken environment for hours; it must fail the trial.
        "restart_failed_env_runners": False,
        "log_level": "ERROR",
        "log_sys_usage": False,
        **({"num_gpus_per_learner": 1} if settings.gpus else {}),
        **_fix_iteration_length(config),
        **copy.deepcopy(dict(configuration)),
    }
    network = given.get("model_config")
    if isinstance(network, dict) and network.get("use_lstm"):
        network.setdefault("max_seq_len", 20)  # RLlib's default, missing in mappings
    if isinstance(given.get("n_step"), list):
        given["n_step"] = tuple(given["n_step"])  # a range; YAML has no tuples
    if given.get("grad_clip") == math.inf:
        given["grad_clip"] = None  # RLlib would divide an infinity by itself
    logging.getLogger("ray.rllib").setLevel(given["log_level"])  # before validate() logs advice
    in_others = given["num_env_runners"] > 0
    try:
        set_environment(config, settings.environment, in_other_processes=in_others)
        config.framework("torch")
        config.debugging(seed=seed)
        config.callbacks(on_episode_end=_make_episode_recorder())
        config.env_runners(env_to_module_connector=connect_observations)
        _apply_keys(config, settings.algorithm, given)
        _connect_actions(config)
        if env_steps and hasattr(config, "num_steps_sampled_before_learning_starts"):
            # The replay is not in the checkpoint: fill it before learning continues.
            config.num_steps_sampled_before_learning_starts += env_steps
        config.validate()
    except ConfigurationRefusedError:
        raise
    except Exception as error:  # RLlib raises ValueError, TypeError, KeyError, …
        advice = "To suppress all validation errors"  # of no use in a spec
        text = " ".join(veil(str(error)).partition(advice)[0].split())
        raise ConfigurationRefusedError(
            f"{settings.algorithm} refuses this configuration: {text[:400] or type(error).__name__}"
        ) from error
    return config


def set_environment(
    config: AlgorithmConfig, settings: EnvironmentSettings, *, in_other_processes: bool = False
) -> None:
    """Set a config's environment, and how several of it are stepped.

    Raises:
        ConfigurationRefusedError: that can't be done in this environment.
    """
    env, env_config = _describe_environment(settings, in_other_processes=in_other_processes)
    config.environment(env, env_config=env_config)
    mode = "sync" if settings.vectorization == "auto" else settings.vectorization
    config.env_runners(gym_env_vectorize_mode=mode)


def _connect_actions(config: AlgorithmConfig) -> None:
    config.env_runners(
        module_to_env_connector=functools.partial(
            connect_actions,
            normalize_actions=config.normalize_actions,
            clip_actions=config.clip_actions,
        ),
        add_default_connectors_to_module_to_env_pipeline=False,
    )


def _fix_iteration_length(config: AlgorithmConfig) -> dict[str, Any]:
    """Count env steps where SAC, APPO and IMPALA would end iterations by the clock."""
    if not config.min_time_s_per_iteration:
        return {}
    steps = max(1000, config.min_sample_timesteps_per_iteration or 0)
    return {"min_time_s_per_iteration": 0, "min_sample_timesteps_per_iteration": steps}


def _algorithm_class(name: str) -> type[Algorithm]:
    try:
        found = get_trainable_cls(name)
    except Exception as error:  # TuneError, or an import that the algorithm needs
        raise ConfigurationRefusedError(f"RLlib has no algorithm {name!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Algorithm)):
        raise ConfigurationRefusedError(f"{name!r} is no algorithm of RLlib")
    return found


def _apply_keys(config: AlgorithmConfig, algorithm: str, given: Mapping[str, Any]) -> None:
    """Pass each key to the method that takes it; ``update_from_dict`` would accept any typo."""
    methods = _methods_by_key(config)
    problems = []
    calls: dict[str, dict[str, Any]] = {}
    for key, value in given.items():
        # RLlib accepts many of these, at best with a warning.
        is_foreign = dead_reason(algorithm, key) or renamed_to(algorithm, key)
        explained = explain_foreign_name(algorithm, key)
        if explained and key not in SECOND_NAMES and (is_foreign or key not in methods):
            problems.append(f"{key}: {explained}")
        elif key not in methods:
            near = get_close_matches(key, methods, n=1)
            problems.append(f"unknown key {key}" + (f", did you mean {near[0]}?" if near else ""))
        else:
            calls.setdefault(methods[key], {})["lambda_" if key == "lambda" else key] = value
    if problems:
        raise ConfigurationRefusedError(f"{algorithm}: {'; '.join(problems)}")
    for method, arguments in calls.items():
        getattr(config, method)(**arguments)


def _methods_by_key(config: AlgorithmConfig) -> dict[str, str]:
    found: dict[str, str] = {}
    for method, allowed in _METHODS.items():
        for cls in type(config).__mro__:  # subclasses pass unknown keys to super()
            if method in vars(cls):
                names = inspect.signature(vars(cls)[method]).parameters
                keys = set(names) - {"self", "kwargs"}
                found.update(dict.fromkeys(keys if allowed is None else keys & allowed, method))
    if "lambda_" in found:
        found["lambda"] = found["lambda_"]
    return found


def _describe_environment(
    settings: EnvironmentSettings, *, in_other_processes: bool
) -> tuple[Any, dict[str, Any]]:
    """RLlib's ``env`` and ``env_config``: a class, or a gymnasium id for a native vector env."""
    if settings.vectorization != "vector_entry_point":
        return _make_environment_class(settings), {}
    if settings.wrappers or (settings.module is not None and in_other_processes):
        raise ConfigurationRefusedError(
            "environment.vectorization vector_entry_point goes with neither wrappers nor "
            "num_env_runners above 0; take auto, sync or async"
        )
    if settings.variables:  # RLlib would save their values
        raise ConfigurationRefusedError(
            "environment.vectorization vector_entry_point does not go with ${env:…} in "
            "environment.kwargs on RLlib; take auto, sync or async"
        )
    qualified = settings.module is not None and ":" not in settings.id
    env_id = f"{settings.module}:{settings.id}" if qualified else settings.id
    return env_id, settings.arguments


def _make_environment_class(settings: EnvironmentSettings) -> type[gymnasium.Env[Any, Any]]:
    """A class that builds the environment and its wrappers, pickled by value with the checkpoint.

    Does the same as `sweeper.environments.building.build_env`, which it can't call: a checkpoint
    must load without this package.
    """
    cloudpickle.register_pickle_by_value(outcomes)
    cloudpickle.register_pickle_by_value(references)
    env_id, module, paths = settings.id, settings.module, tuple(settings.search_paths)
    kwargs = dict(settings.kwargs)
    # Variables are put in place when the environment is built, so no checkpoint has their values.
    wrappers = [(wrapper.name, wrapper.kwargs) for wrapper in settings.wrappers]
    variables, resolve, look_up = settings.variables, references.resolve, references.look_up
    unset_error = references.UnsetError

    def build() -> gymnasium.Env[Any, Any]:
        import importlib
        import os
        import sys

        import gymnasium

        def load(name: str) -> Any:
            for path in paths:
                place = os.path.join(path, *name.split("."))  # noqa: PTH118
                if os.path.isdir(place) or os.path.isfile(place + ".py"):  # noqa: PTH112, PTH113
                    # Last: a neighbour called mlflow.py is not the library.
                    sys.path += [] if path in sys.path else [path]
                    break
            return importlib.import_module(name)

        if module is not None:
            load(module)
        env = gymnasium.make(env_id, disable_env_checker=True, **resolve(kwargs))
        if wrappers:
            env = RewardMeter(env)
        for name, given in wrappers:
            place, _, attribute = name.rpartition(".")
            arguments = resolve(given)
            if not place:  # gymnasium's own takes tuples
                arguments = {
                    key: tuple(one) if isinstance(one, list) else one
                    for key, one in arguments.items()
                }
            wrapped = getattr(load(place or "gymnasium.wrappers"), attribute)(env, **arguments)
            env = RewardMeter(wrapped)
        return env

    def find_veil() -> Callable[[Exception], Exception] | None:
        """Hide secrets in what this process prints from now on; returns what does so in errors.

        RLlib has processes of its own. They print to Ray's session, where Ray logs why one can't
        be begun. Without this package, as a checkpoint may be loaded, nothing is hidden.
        """
        import contextlib

        import ray

        if not variables or ray.get_runtime_context().get_actor_id() is None:
            return None
        try:
            from sweeper.veil import remember, veil_error, veil_output
        except ImportError:
            return None
        veil_output()
        for name in variables:
            with contextlib.suppress(unset_error):
                remember(look_up(name))
        return veil_error

    class Environment(CheckedEnv):
        def __init__(self, config: Any = None) -> None:  # noqa: ARG002 - RLlib's env context
            hide = find_veil()
            try:
                env = build()
            except Exception as error:
                veiled = error if hide is None else hide(error)
                if veiled is error:
                    raise
                raise veiled from None
            super().__init__(env, refuses_non_finite=True)

    return Environment


def _make_episode_recorder() -> Callable[..., None]:
    """A callback that logs each finished episode; local, so it is pickled by value."""
    returns, lengths, sum_rewards = EPISODE_RETURNS, EPISODE_LENGTHS, make_return_counter()

    def record(*, episode, metrics_logger, prev_episode_chunks=(), **_):  # type: ignore[no-untyped-def]
        total = sum_rewards([*prev_episode_chunks, episode])
        metrics_logger.log_value(returns, total, reduce="item_series")
        # The chunks' lengths are too long: PPO's learner adds a row (AddOneTsToEpisodes…).
        metrics_logger.log_value(lengths, episode.t, reduce="item_series")

    return record


def make_return_counter() -> Callable[[Sequence[Any]], float]:
    """A function that sums up an episode's rewards below the wrappers; pickled by value.

    It takes the chunks in which RLlib keeps the episode. The first info of a chunk belongs to its
    first observation, so to no step of it.
    """
    own_reward = OWN_REWARD

    def sum_rewards(chunks: Sequence[Any]) -> float:
        total = 0.0
        for chunk in chunks:
            rewards, infos = chunk.get_rewards(), chunk.get_infos()[1:]
            has_own = len(infos) >= len(rewards) and any(own_reward in info for info in infos)
            if has_own:
                total += sum(float(info.get(own_reward, 0.0)) for info in infos)
            else:
                total += float(sum(rewards))
        return total

    return sum_rewards
