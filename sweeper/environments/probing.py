"""Try a few steps of an environment, to see whether it does what gymnasium asks."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from sweeper.environments.containment import USER_ERRORS, seed_process
from sweeper.environments.deviations import find_deviation
from sweeper.environments.modules import summarise
from sweeper.environments.outcomes import (
    OWN_REWARD,
    CheckedEnv,
    EnvironmentFault,
    RewardMeter,
    find_meter,
)
from sweeper.veil import veil

__all__ = ["NOTHING_FOUND", "Probe", "explain_state", "find_statistics", "probe"]

_STEPS = 8
_LIMIT_S = 0.5


class Probe(NamedTuple):
    """What a few steps of an environment showed.

    Attributes:
        fault: that it fails, or does what it must not.
        notes: what is unusual but harmless, a sentence each.
    """

    fault: str | None = None
    notes: tuple[str, ...] = ()


NOTHING_FOUND = Probe()


def probe(env: gymnasium.Env[Any, Any]) -> Probe:
    """Play the first steps of the same episode twice, and the first observation of a second one."""
    meters = list(_find_meters(env))
    notes: dict[str, None] = {}
    began = time.monotonic()
    try:
        first = _play(env, meters, notes)
        states = [_numbers(meter.env) for meter in meters]
        if time.monotonic() - began > _LIMIT_S / 2:
            return Probe(notes=tuple(map(veil, notes)))
        second = _play(env, meters, notes)
    except EnvironmentFault as fault:
        return Probe(veil(str(fault)))
    except _StepFailed as failed:
        return Probe(str(failed))
    # From the environment outwards: the first level that differs is what makes the difference.
    for number, what in enumerate([meter.env for meter in meters] or [env]):
        if _are_equal(first[number], second[number]):
            continue
        name = type(what).__name__
        if number and not _are_equal(states[number], _numbers(what)):
            return Probe(explain_state(name))
        who = f"the wrapper {name}" if number else "the environment"
        notes[f"reset again with the same seed, {who} gives another episode"] = None
        break
    return Probe(notes=tuple(map(veil, notes)))


class _StepFailed(Exception):  # noqa: N818 - carries the words of a user's error
    pass


def _play(
    env: gymnasium.Env[Any, Any], meters: list[RewardMeter], notes: dict[str, None]
) -> list[list[Any]]:
    """What every level returned, from the environment outwards; adds to the notes."""
    for meter in meters:
        meter.seen = []
    seen: list[Any] = []
    method, began = "reset()", time.monotonic()
    seed_process(0)
    try:
        checked = CheckedEnv(env, refuses_non_finite=True)
        env.action_space.seed(0)
        observation, _ = checked.reset(seed=0)
        seen.append(copy.deepcopy(observation))
        deviation = find_deviation(observation, env.observation_space)
        for _ in range(_STEPS):
            if time.monotonic() - began > _LIMIT_S / 2:
                break
            method = "step()"
            action = env.action_space.sample()
            observation, reward, terminated, truncated, info = checked.step(action)
            seen += [copy.deepcopy(observation), reward]
            deviation = deviation or find_deviation(observation, env.observation_space)
            if info.get(OWN_REWARD, reward) != reward:
                notes[
                    "its wrappers change what the agent is rewarded for; returns and scores are "
                    "in the environment's own rewards"
                ] = None
            if terminated or truncated:
                break
        if deviation is not None:
            notes[deviation] = None
        if time.monotonic() - began <= _LIMIT_S / 2:
            method = "reset()"
            seen.append(copy.deepcopy(checked.reset()[0]))
    except EnvironmentFault:
        raise
    except USER_ERRORS as error:
        raise _StepFailed(f"{method} fails: {summarise(error)}{_explain(error)}") from error
    return [meter.seen or [] for meter in meters] or [seen]


def _explain(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, TypeError) and ("keyword argument" in text or "keyword arguments" in text):
        return "; must be def reset(self, *, seed=None, options=None)"
    return ""


def explain_state(name: str) -> str:
    """Why a wrapper with a state is refused, and what to write instead."""
    kinds = {"Observation": "observations: true", "Reward": "rewards: true"}
    asked = [yaml for word, yaml in kinds.items() if word in name] or kinds.values()
    return (
        f"{name} keeps running statistics or another state from one episode to the next, which is "
        "in no checkpoint: evaluations and agents would see other observations or rewards than "
        f"training; use environment.normalize: {{{', '.join(asked)}}}, whose statistics are saved "
        "with the agent (PPO on backend torch)"
    )


def find_statistics(env: gymnasium.Env[Any, Any]) -> str | None:
    """The class of a wrapper that keeps running statistics, as gymnasium's NormalizeObservation."""
    while isinstance(env, gymnasium.Wrapper):
        if any("RunningMean" in type(one).__name__ for one in _parts(env)):
            return type(env).__name__
        env = env.env
    return None


def _find_meters(env: gymnasium.Env[Any, Any]) -> Iterator[RewardMeter]:
    """The meters of an environment, the innermost first."""
    meter = find_meter(env)
    if meter is not None:
        if meter.below is not None:
            yield from _find_meters(meter.below)
        yield meter


def _parts(wrapper: gymnasium.Env[Any, Any]) -> Iterator[object]:
    """A wrapper and the objects in its attributes."""
    yield wrapper
    for name, value in vars(wrapper).items():
        if name != "env" and not isinstance(value, gymnasium.Env | gymnasium.Space):
            yield value
            if isinstance(value, dict | list | tuple):  # e.g. one for each key of a Dict
                yield from value.values() if isinstance(value, dict) else value


def _numbers(wrapper: gymnasium.Env[Any, Any]) -> list[Any]:
    """Copies of the numbers and arrays in a wrapper's attributes, and in theirs."""
    found = []
    for part in _parts(wrapper):
        values = vars(part).values() if hasattr(part, "__dict__") else [part]
        found += [copy.copy(one) for one in values if isinstance(one, int | float | np.ndarray)]
    return found


def _are_equal(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        data_equivalence(a, b, exact=True) for a, b in zip(one, other, strict=True)
    )
