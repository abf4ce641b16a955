"""The largest replay memory that a trial can take, and whether it fits on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sweeper.environments.building import EnvironmentDescription
from sweeper.machine import total_bytes
from sweeper.planning.values import max_integer, possible_values
from sweeper.trainables.torch_backend.replay.memory import (
    ReplayMemory,
    bound_steps,
    describe_memory,
)
from sweeper.trainables.torch_backend.replay.settings import (
    PRIORITISED,
    REPLAY_DEFAULTS,
    ReplaySettings,
)

__all__ = ["explain_too_much", "find_largest_replay"]


def find_largest_replay(
    param_space: Mapping[str, Any],
    environment: EnvironmentDescription,
    replicas: int,
    stop: Mapping[str, float] | None = None,
    frames: int = 1,
) -> ReplayMemory:
    """The largest replay memories of the torch backend's DQN, over all configurations of a space.

    The criteria in ``stop`` may bound a trial's env steps; observations are stacks of ``frames``.

    Raises:
        ConfigurationRefusedError: the backend can't see the observations.
    """
    envs = max_integer(possible_values(param_space, ("num_envs_per_env_runner",), 1), 1)
    return max(
        (
            describe_memory(
                replace(replay, frames=frames),
                observation_space=environment.observation_space,
                action_space=environment.action_space,
                envs=envs,
                replicas=replicas,
            )
            for replay in _possible_settings(param_space, stop)
        ),
        key=lambda memory: memory.replay_bytes,
    )


def explain_too_much(memory: ReplayMemory, replicas: int, trials_at_once: int) -> str | None:
    """Why the replay memories of concurrent trials don't fit on this machine; None if they do."""
    total = total_bytes()
    if total is None or memory.needed_bytes * trials_at_once <= total:
        return None
    times = "" if trials_at_once == 1 else f", and {trials_at_once} trials run at a time"
    fewer = "seeds" if trials_at_once == 1 else "search.max_concurrent or seeds"
    return (
        f"the replay memories of a trial take {memory.describe_need(replicas)}{times}; this "
        f"machine has {total / 1e9:.1f} GB; {memory.remedy}, or {fewer}"
    )


def _possible_settings(
    param_space: Mapping[str, Any], stop: Mapping[str, float] | None
) -> Iterator[ReplaySettings]:
    iterations = possible_values(param_space, ("min_sample_timesteps_per_iteration",), 1000)
    max_steps = bound_steps(stop, max_integer(iterations, 1))
    n_steps = [
        max_integer(list(value) if isinstance(value, list | tuple) else [value], 1)
        for value in possible_values(param_space, ("n_step",), 1)
    ]
    for given in possible_values(param_space, ("replay_buffer_config",), {}):
        config = given if isinstance(given, Mapping) else {}
        for kind in possible_values(config, ("type",), PRIORITISED):
            # An unknown kind is a problem of the spec already.
            defaults = REPLAY_DEFAULTS.get(str(kind), REPLAY_DEFAULTS[PRIORITISED])
            usual = int(defaults["capacity"])
            yield ReplaySettings(
                capacity=max_integer(possible_values(config, ("capacity",), usual), usual),
                alpha=defaults.get("alpha"),
                beta=0.0,
                n_step=(1, max(n_steps)),
                gamma=1.0,
                max_steps=max_steps,
            )
