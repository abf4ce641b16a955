"""What replay memories take: said by the plan, and refused where it can't be had."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
from gymnasium import spaces

from sweeper.environments.spaces import build_observation_encoder
from sweeper.errors import UserError
from sweeper.machine import free_bytes
from sweeper.metrics import ENV_STEPS
from sweeper.trainables.torch_backend.dqn.observation_store import ObservationStore
from sweeper.trainables.torch_backend.dqn.replay import ReplayBuffer, ReplaySettings, ring_size

__all__ = ["ReplayMemory", "bound_steps", "describe_memory", "refuse_too_much"]

_CAPACITY = "replay_buffer_config.capacity"


@dataclass(frozen=True)
class ReplayMemory:
    """The replay memories of one trial.

    Attributes:
        replay_bytes: of all replicas, once they are full; until then only what is used.
        needed_bytes: of it what a trial of full length uses in any case; the rest is for the
            ends of its episodes, if they are many.
        saved_bytes: of a checkpoint with all of it.
        slots: of one replica.
        max_steps: env steps of a replica, where they and not the capacity bound the slots.
        cause: the hyperparameter to lower for fewer slots.
        observation_shape: of one observation as it is stored.
        observation_dtype: likewise.
    """

    replay_bytes: int
    needed_bytes: int
    saved_bytes: int
    slots: int
    max_steps: int | None
    cause: str
    observation_shape: tuple[int, ...]
    observation_dtype: str

    def describe_need(self, replicas: int) -> str:
        """``10.1 GB (5 replicas of 65,000,000 slots of float32[4])``."""
        slots = math.ceil(self.slots * self.needed_bytes / self.replay_bytes)
        least = "" if self.needed_bytes == self.replay_bytes else "at least "
        return (
            f"{least}{self.needed_bytes / 1e9:.1f} GB ({replicas} replicas of {slots:,} slots "
            f"of {self.observation_dtype}{list(self.observation_shape)})"
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``plan.json``, under the names of its first version."""
        document = asdict(self)
        names = {"slots": "places", "max_steps": "most_steps"}
        return {names.get(name, name): value for name, value in document.items()}

    @property
    def remedy(self) -> str:
        """What to lower, and why it is not the capacity where it is not."""
        if self.cause == _CAPACITY:
            return f"lower {_CAPACITY}"
        return f"lower {self.cause}: each environment has n_step + 2 slots, whatever the capacity"


def bound_steps(stop: Mapping[str, float] | None, iteration_steps: int) -> int | None:
    """Env steps that a replica takes at most; None where nothing bounds them.

    Args:
        stop: the trial's criteria.
        iteration_steps: of one iteration; the one that meets a criterion goes to its end.
    """
    bound = (stop or {}).get(ENV_STEPS, math.inf)
    return math.ceil(bound) + iteration_steps if math.isfinite(bound) else None


def describe_memory(
    replay: ReplaySettings,
    *,
    observation_space: gymnasium.Space[object],
    action_space: spaces.Discrete,
    envs: int,
    replicas: int,
) -> ReplayMemory:
    """What a trial's replay memories take.

    Args:
        replay: how steps are kept.
        observation_space: of one environment.
        action_space: of one environment.
        envs: sub-environments of each replica.
        replicas: of the trial.

    Raises:
        ConfigurationRefusedError: the observations can't be stored.
    """
    store = ObservationStore(build_observation_encoder(observation_space))
    shape = {"replicas": replicas, "envs": envs, "actions": int(action_space.n)}
    ring, by_capacity = ring_size(replay, envs), math.ceil(replay.capacity / envs)
    used, cause = ring, _CAPACITY
    if replay.max_steps is not None:
        used = min(ring, math.ceil(replay.max_steps / envs) + 1)
    if ring > by_capacity:
        cause = "n_step" if replay.n_step[1] > envs else "num_envs_per_env_runner"
    taken = ReplayBuffer.bytes_needed(store, replay, **shape)
    return ReplayMemory(
        replay_bytes=taken,
        needed_bytes=taken * used // ring,
        saved_bytes=ReplayBuffer.bytes_saved(store, replay, **shape),
        slots=envs * ring,
        max_steps=replay.max_steps if ring < by_capacity else None,
        cause=cause,
        observation_shape=store.shape,
        observation_dtype=str(store.dtype),
    )


def refuse_too_much(memory: ReplayMemory, replicas: int) -> None:
    """Say so before a process is killed for its memory.

    Raises:
        UserError: the replay memories don't fit into what is free.
    """
    free = free_bytes()
    if free is not None and memory.needed_bytes > free:
        raise UserError(
            f"the replay memories take {memory.describe_need(replicas)}, and {free / 1e9:.1f} GB "
            f"are free; {memory.remedy}, or train fewer replicas"
        )
