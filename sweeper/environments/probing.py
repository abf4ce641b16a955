"""Try a few steps of an environment, and look for wrappers with running statistics."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium

from sweeper.environments.containment import USER_ERRORS
from sweeper.environments.modules import summarise
from sweeper.environments.outcomes import CheckedEnv, EnvironmentFault, find_deviation

__all__ = ["NOTHING_FOUND", "Probe", "find_statistics", "probe"]

_STEPS = 8
_LIMIT_S = 0.5

# How running statistics name their parts, in gymnasium, Stable-Baselines3 and elsewhere.
_PARTS = (
    {"mean", "running_mean", "_mean"},
    {"var", "std", "running_var", "running_std", "_var", "_std", "m2", "_m2", "s", "_s"},
    {"count", "n", "num", "_count", "_n", "_num", "steps", "num_steps"},
)


class Probe(NamedTuple):
    """What a few steps of an environment showed.

    Attributes:
        fault: that it fails, or returns what it must not.
        deviation: what is unusual but harmless about its observations.
    """

    fault: str | None = None
    deviation: str | None = None


NOTHING_FOUND = Probe()


def probe(env: gymnasium.Env[Any, Any]) -> Probe:
    """Reset the environment and take a few random steps, always the same ones."""
    deviation, method = None, "reset()"
    began = time.monotonic()
    try:
        checked = CheckedEnv(env, refuses_non_finite=True)
        env.action_space.seed(0)
        observation, _ = checked.reset(seed=0)
        deviation = find_deviation(observation, env.observation_space)
        for _ in range(_STEPS):
            if time.monotonic() - began > _LIMIT_S:
                break
            method = "step()"
            observation, _, terminated, truncated, _ = checked.step(env.action_space.sample())
            deviation = deviation or find_deviation(observation, env.observation_space)
            if terminated or truncated:
                break
    except EnvironmentFault as fault:
        return Probe(str(fault))
    except USER_ERRORS as error:
        return Probe(f"{method} fails: {summarise(error)}{_explain(error)}")
    return Probe(deviation=deviation)


def _explain(error: BaseException) -> str:
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        return "; must be def reset(self, *, seed=None, options=None)"
    return ""


def find_statistics(env: gymnasium.Env[Any, Any]) -> str | None:
    """The class of a wrapper that keeps running statistics, as gymnasium's NormalizeObservation.

    Its state would be in no checkpoint: every environment has its own, an evaluation's begins
    anew, and what the agent sees is not what it was trained on.
    """
    while isinstance(env, gymnasium.Wrapper):
        if any(_is_statistics(one) for one in _states(env)):
            return type(env).__name__
        env = env.env
    return None


def _states(wrapper: gymnasium.Wrapper[Any, Any, Any, Any]) -> Iterator[object]:
    yield wrapper
    for name, value in vars(wrapper).items():
        if name != "env" and not isinstance(value, gymnasium.Env | gymnasium.Space):
            yield value
            if isinstance(value, dict | list | tuple):  # e.g. one for each key of a Dict
                yield from value.values() if isinstance(value, dict) else value


def _is_statistics(thing: object) -> bool:
    if "RunningMean" in type(thing).__name__ or "RunningStat" in type(thing).__name__:
        return True
    names = {name.lower() for name in getattr(thing, "__dict__", {})}
    return all(names & part for part in _PARTS)
