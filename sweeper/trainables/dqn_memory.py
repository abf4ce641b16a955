"""What memory a DQN configuration takes: told by the plan, and refused where it can't be had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from sweeper.errors import UserError
from sweeper.trainables.dqn_actions import build_epsilon_greedy
from sweeper.trainables.dqn_settings import read_settings
from sweeper.trainables.observation_store import ObservationStore
from sweeper.trainables.replay import ReplayBuffer
from sweeper.trainables.spaces import build_observation_encoder

__all__ = ["ReplayMemory", "describe_memory", "free_bytes", "refuse_too_much"]


@dataclass(frozen=True)
class ReplayMemory:
    """The replay memories of one trial.

    Attributes:
        replay_bytes: of all replicas, once they are full; until then only what is used.
        places: of one replica.
        observation_shape: of one observation as it is stored.
        observation_dtype: likewise.
    """

    replay_bytes: int
    places: int
    observation_shape: tuple[int, ...]
    observation_dtype: str


def describe_memory(
    configuration: Mapping[str, Any],
    *,
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
    replicas: int,
) -> ReplayMemory:
    """What a trial's replay memories take.

    Raises:
        ConfigurationRefusedError: the configuration or a space is not taken.
    """
    settings = read_settings(configuration)
    store = ObservationStore(build_observation_encoder(observation_space))
    return ReplayMemory(
        replay_bytes=ReplayBuffer.bytes_needed(
            store,
            settings.replay,
            replicas=replicas,
            envs=settings.envs,
            actions=build_epsilon_greedy(action_space).input_size,
        ),
        places=settings.replay.capacity,
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


def free_bytes() -> int | None:
    """Memory that processes may still take, or None where Linux does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return found[0] if found else None
