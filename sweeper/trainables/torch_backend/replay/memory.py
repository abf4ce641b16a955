"""How much memory the replay of a trial takes; refused if it is not free. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from sweeper.environments.settings import EnvironmentSettings
from sweeper.environments.spaces import build_observation_encoder
from sweeper.errors import UserError
from sweeper.machine import free_bytes
from sweeper.metrics import ENV_STEPS
from sweeper.trainables.torch_backend.replay.observation_store import ObservationStore
from sweeper.trainables.torch_backend.replay.settings import ReplaySettings, ring_size
from sweeper.trainables.torch_backend.replay.sum_tree import SumTree

__all__ = [
    "ReplayMemory",
    "bound_steps",
    "check_free_memory",
    "count_frames",
    "describe_memory",
]

_CAPACITY = "replay_buffer_config.capacity"
_FRAME_STACK = "FrameStackObservation"


@dataclass(frozen=True)
class ReplayMemory:
    """The replay memories of one trial.

    Attributes:
        replay_bytes: all replicas' memory once it is full; before, only what is used is taken.
        needed_bytes: the part that a trial of full length uses in any case. The rest is for the
            last observations of its episodes, if they are many.
        saved_bytes: size in a checkpoint once it is full.
        slots: slots of one replica.
        max_steps: env steps of a replica, if they bound the slots rather than the capacity.
        cause: the hyperparameter to lower for fewer slots.
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
        at_least = "" if self.needed_bytes == self.replay_bytes else "at least "
        return (
            f"{at_least}{self.needed_bytes / 1e9:.1f} GB ({replicas} replicas of {slots:,} slots "
            f"of {self.observation_dtype}{list(self.observation_shape)})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as in ``plan --json``, which keeps the keys of its first version."""
        document = asdict(self)
        names = {"slots": "places", "max_steps": "most_steps"}
        return {names.get(name, name): value for name, value in document.items()}

    @property
    def remedy(self) -> str:
        """What to lower; if it is not the capacity, also why."""
        if self.cause == _CAPACITY:
            return f"lower {_CAPACITY}"
        return f"lower {self.cause}: each environment has n_step + 2 slots, whatever the capacity"


def bound_steps(stop: Mapping[str, float] | None, iteration_steps: int) -> int | None:
    """Return the most env steps that a replica can take; None if nothing bounds them.

    The iteration of ``iteration_steps`` that meets a criterion of ``stop`` is completed.
    """
    bound = (stop or {}).get(ENV_STEPS, math.inf)
    return math.ceil(bound) + iteration_steps if math.isfinite(bound) else None


def count_frames(environment: EnvironmentSettings, space: gymnasium.Space[object]) -> int:
    """The frames of an observation that the last wrapper stacks; 1 if it does not."""
    last = environment.wrappers[-1] if environment.wrappers else None
    if last is None or last.name.rpartition(".")[2] != _FRAME_STACK or len(space.shape or ()) < 2:
        return 1
    return int(space.shape[0])


def describe_memory(
    replay: ReplaySettings,
    *,
    observation_space: gymnasium.Space[object],
    action_space: spaces.Discrete,
    envs: int,
    replicas: int,
) -> ReplayMemory:
    """Compute the memory of a trial's replay, with ``envs`` sub-environments per replica.

    Raises:
        ConfigurationRefusedError: the observations can't be stored.
    """
    store = ObservationStore(build_observation_encoder(observation_space))
    ring, by_capacity = ring_size(replay, envs), math.ceil(replay.capacity / envs)
    used, cause = ring, _CAPACITY
    if replay.max_steps is not None:
        used = min(ring, math.ceil(replay.max_steps / envs) + 1)
    if ring > by_capacity:
        cause = "n_step" if replay.n_step[1] > envs else "num_envs_per_env_runner"
    slots = envs * ring
    # An observation, an action, a float32 reward, and the byte that says what the slot holds.
    shape = store.shape if replay.frames == 1 else store.shape[1:]
    slot_bytes = math.prod(shape) * store.dtype.itemsize + 4 + 1
    slot_bytes += np.min_scalar_type(int(action_space.n) - 1).itemsize
    is_prioritised = replay.alpha is not None
    tree_bytes = SumTree.bytes_needed(replicas, slots) if is_prioritised else 0
    replay_bytes = replicas * slots * slot_bytes + tree_bytes
    return ReplayMemory(
        replay_bytes=replay_bytes,
        needed_bytes=replay_bytes * used // ring,
        saved_bytes=replicas * slots * (slot_bytes + (8 if is_prioritised else 0)),
        slots=slots,
        max_steps=replay.max_steps if ring < by_capacity else None,
        cause=cause,
        observation_shape=shape,
        observation_dtype=str(store.dtype),
    )


def check_free_memory(memory: ReplayMemory, replicas: int) -> None:
    """Refuse a replay memory that would get the process killed.

    Raises:
        UserError: it does not fit into the free memory.
    """
    free = free_bytes()
    if free is not None and memory.needed_bytes > free:
        raise UserError(
            f"the replay memories take {memory.describe_need(replicas)}, and {free / 1e9:.1f} GB "
            f"are free; {memory.remedy}, or train fewer replicas"
        )
