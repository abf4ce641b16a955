"""What replay memories take: said by the plan, and refused where it can't be had."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium
from gymnasium import spaces

from sweeper.errors import UserError
from sweeper.machine_memory import free_bytes
from sweeper.trainables.observation_store import ObservationStore
from sweeper.trainables.replay import ReplayBuffer, ReplaySettings
from sweeper.trainables.spaces import build_observation_encoder

__all__ = ["REPLAY_FILE", "ReplayMemory", "describe_memory", "refuse_too_much"]

REPLAY_FILE = "replay.safetensors"


@dataclass(frozen=True)
class ReplayMemory:
    """The replay memories of one trial.

    Attributes:
        replay_bytes: of all replicas, once they are full; until then only what is used.
        saved_bytes: of a checkpoint with all of it.
        places: of one replica.
        observation_shape: of one observation as it is stored.
        observation_dtype: likewise.
    """

    replay_bytes: int
    saved_bytes: int
    places: int
    observation_shape: tuple[int, ...]
    observation_dtype: str


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
    return ReplayMemory(
        replay_bytes=ReplayBuffer.bytes_needed(store, replay, **shape),
        saved_bytes=ReplayBuffer.bytes_saved(store, replay, **shape),
        places=replay.capacity,
        observation_shape=store.shape,
        observation_dtype=str(store.dtype),
    )


def refuse_too_much(memory: ReplayMemory, replicas: int) -> None:
    """Say so before a process is killed for its memory.

    Raises:
        UserError: the replay memories don't fit into what is free.
    """
    free = free_bytes()
    if free is not None and memory.replay_bytes > free:
        raise UserError(
            f"the replay memories of {replicas} replicas take {memory.replay_bytes / 1e9:.1f} GB "
            f"({memory.places:,} places of {memory.observation_dtype}"
            f"{list(memory.observation_shape)} each), and {free / 1e9:.1f} GB are free; lower "
            "replay_buffer_config.capacity, or train fewer replicas"
        )
