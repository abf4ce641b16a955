"""Plays an evaluation's episodes with an agent, and holds them against what was reported.

A part of every exported agent: it needs numpy and gymnasium, and what the environment needs.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

__all__ = ["judge", "play"]

_OWN_REWARD = "own_reward"
_CLOSE = 1e-6
_REFERENCE = re.compile(r"\$\$\{|\$\{\s*env:([^${}]*)\}")


def play(policy: Any, evaluation: Mapping[str, Any]) -> list[float]:
    """Play an evaluation's episodes.

    Args:
        policy: acts on batches: ``act(observations, generator)``, greedily if that is None.
        evaluation: the contents of ``evaluation.json``.

    Returns:
        Each episode's return, in the rewards of the environment itself, below all wrappers.
    """
    seeds, generator = evaluation["seeds"], _make_generator(evaluation["actions"])
    with_vector = evaluation["vectorization"] == "vector_entry_point"
    envs = _build_native(evaluation) if with_vector else _build_single(evaluation)
    finished: list[list[float]] = [[] for _ in seeds]
    returns, is_resetting = np.zeros(len(seeds)), np.zeros(len(seeds), dtype=bool)
    first = seeds[0][0] if with_vector else [own[0] for own in seeds]
    observations, _ = envs.reset(seed=first)
    while any(len(done) < len(own) for done, own in zip(finished, seeds, strict=True)):
        actions = policy.act(observations, generator)
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        # The step after an episode's end only resets, and belongs to no episode.
        returns += np.where(is_resetting, 0.0, infos.get(_OWN_REWARD, rewards))
        has_ended = (terminated | truncated) & ~is_resetting
        for index in np.flatnonzero(has_ended):
            finished[index].append(float(returns[index]))
        returns[has_ended], is_resetting = 0.0, has_ended
    envs.close()
    played = zip(finished, seeds, strict=True)
    # As many of each environment as it has seeds: the first to finish would be the short ones.
    return [value for done, own in played for value in done[: len(own)]]


def judge(returns: Sequence[float], evaluation: Mapping[str, Any]) -> tuple[str, bool]:
    """What was reported, in words, and whether the returns land where that was.

    Where no interval was reported, they do if their mean is the same. Where not even the single
    returns were, also if the reported mean lies in the 95 % interval of the episodes played.
    """
    reported, mean = evaluation["reported"], math.fsum(returns) / len(returns)
    if reported is None:
        return "no evaluation of this agent was reported", True
    lands = is_same = _is_close(mean, reported["mean"])
    words = f"reported {reported['mean']:.6g}: {reported['of']}"
    if reported["returns"] is not None:
        pairs = list(zip(returns, reported["returns"], strict=True))
        same = sum(_is_close(*pair) for pair in pairs)
        words += f"\n{same} of {len(pairs)} episodes came to the same return as reported"
    if reported["interval"] is not None:
        low, high = reported["interval"]
        lands, place = low <= mean <= high, f"in the reported interval, {low:.6g} to {high:.6g}"
    elif reported["returns"] is not None or len(returns) < 2:
        place = f"on the reported mean (it has no interval: {reported['interval_reason']})"
    else:
        half = float(evaluation["quantile"] * np.std(returns, ddof=1) / math.sqrt(len(returns)))
        lands = is_same or abs(mean - reported["mean"]) <= half
        place = "on the reported mean"
        if not is_same:
            place = "so near it that the 95 % interval of these episodes holds it"
    return f"{words}\n{'lands' if lands else 'does NOT land'} {place}", lands


def _is_close(first: float, second: float) -> bool:
    return math.isclose(first, second, rel_tol=_CLOSE, abs_tol=_CLOSE)


def _make_generator(actions: Mapping[str, Any] | None) -> np.random.Generator | None:
    if actions is None:
        return None
    root = np.random.SeedSequence(actions["entropy"], spawn_key=tuple(actions["spawn_key"]))
    return np.random.default_rng(root)


# --- environments ----------------------------------------------------------------------------


def _build_native(evaluation: Mapping[str, Any]) -> VectorEnv:
    settings = evaluation["environment"]
    return gymnasium.make_vec(
        settings["id"],
        num_envs=len(evaluation["seeds"]),
        vectorization_mode="vector_entry_point",
        **_resolve(settings["kwargs"]),
    )


def _build_single(evaluation: Mapping[str, Any]) -> VectorEnv:
    return SyncVectorEnv(
        [lambda own=own: _build_env(evaluation, own) for own in evaluation["seeds"]],
        autoreset_mode=AutoresetMode.NEXT_STEP,
    )


def _build_env(evaluation: Mapping[str, Any], seeds: Sequence[int]) -> gymnasium.Env[Any, Any]:
    settings, cap = evaluation["environment"], evaluation["max_episode_steps"]
    for module in (settings["module"], settings["id"].rpartition(":")[0]):
        if module:
            _import(module)
    kwargs = _resolve(settings["kwargs"])
    env = _Meter(gymnasium.make(settings["id"], disable_env_checker=True, **kwargs))
    for wrapper in settings["wrappers"]:
        place, _, name = wrapper["name"].rpartition(".")
        kwargs = _resolve(wrapper["kwargs"])
        if not place:  # gymnasium's own take tuples
            kwargs = {key: tuple(one) if type(one) is list else one for key, one in kwargs.items()}
        env = _Meter(getattr(_import(place or "gymnasium.wrappers"), name)(env, **kwargs))
    if cap is not None:
        env = gymnasium.wrappers.TimeLimit(env, max_episode_steps=cap)
    return _Episodes(env, seeds)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"the environment needs the module {error.name}; install it, or put it beside play.py\n"
        )
        sys.exit(2)


class _Meter(gymnasium.Wrapper):  # type: ignore[misc]
    """Adds up the rewards of what it is put around."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._sum, self._are_numbers = 0.0, True

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # not set yet
            raise AttributeError(name)
        return getattr(self.env, name)

    def step(self, action: Any) -> Any:
        outcome = self.env.step(action)
        if np.ndim(outcome[1]) == 0:
            self._sum += float(outcome[1])
        else:  # of several objectives, which a wrapper weighs
            self._are_numbers = False
        return outcome

    def take(self) -> float | None:
        """The sum since the last call; None if the rewards were no numbers."""
        own = self._sum if self._are_numbers else None
        self._sum, self._are_numbers = 0.0, True
        return own


class _Episodes(gymnasium.Wrapper):  # type: ignore[misc]
    """Seeds every episode, and has what was earned below the wrappers in the infos."""

    def __init__(self, env: gymnasium.Env[Any, Any], seeds: Sequence[int]) -> None:
        super().__init__(env)
        self._seeds = iter(seeds)
        self._meters = list(_find_meters(env))

    def reset(self, **arguments: Any) -> Any:
        outcome = self.env.reset(**{**arguments, "seed": next(self._seeds, None)})
        self._take()  # of steps that a wrapper takes in its reset
        return outcome

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, infos = self.env.step(action)
        own = self._take()
        infos = {**infos, _OWN_REWARD: float(reward) if own is None else own}
        return observation, float(reward), terminated, truncated, infos

    def _take(self) -> float | None:
        """Of the lowest meter whose rewards were numbers."""
        sums = [meter.take() for meter in self._meters]
        return next((one for one in reversed(sums) if one is not None), None)


def _find_meters(env: gymnasium.Env[Any, Any]) -> Iterator[_Meter]:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, _Meter):
            yield env
        env = env.env


def _resolve(value: Any) -> Any:
    """Arguments with ``${env:NAME}`` replaced by the variable, and ``$${`` by ``${``."""
    if isinstance(value, dict):
        return {key: _resolve(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_resolve(one) for one in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    text = _REFERENCE.sub(_look_up, value)
    if whole is None or whole[1] is None:
        return text
    try:  # a number, true, false or null
        return json.loads(text)
    except ValueError:
        return text


def _look_up(reference: re.Match[str]) -> str:
    if reference[1] is None:
        return "${"
    name = reference[1].strip()
    if name not in os.environ:
        sys.stderr.write(f"the environment needs the variable {name}, which is not set\n")
        sys.exit(2)
    return os.environ[name]
