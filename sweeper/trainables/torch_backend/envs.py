"""The environments that the replicas of a torch trainer play in, stepped together.

All of them follow gymnasium's NEXT_STEP autoreset: the step after an episode's end ignores the
action and returns the next episode's first observation.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import gymnasium
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from sweeper.environments.envpool import EnvpoolReplicaEnvs
from sweeper.environments.vector import build_vector_env, choose_vectorization
from sweeper.spec.keys.support import find_support
from sweeper.trainables.contract import TrialSettings

__all__ = ["ReplicaEnvs", "SeparateReplicaEnvs", "open_replica_envs"]

Array = NDArray[Any]


class ReplicaEnvs(Protocol):
    """Sub-environments of several replicas, equally many of each; its length is the replicas'.

    What a replica's do depends on its seed and its actions, not on the replicas beside it.
    """

    @property
    def single_observation_space(self) -> gymnasium.Space[Any]:
        """Of a sub-environment."""
        ...

    @property
    def single_action_space(self) -> gymnasium.Space[Any]:
        """Of a sub-environment."""
        ...

    @property
    def num_envs(self) -> int:
        """Sub-environments of a replica."""
        ...

    def __len__(self) -> int: ...

    def reset(self, seeds: Sequence[int]) -> Iterator[Any]:
        """Begin new episodes everywhere.

        Args:
            seeds: one a replica.

        Returns:
            Every replica's observations, batched; valid until the next call.
        """
        ...

    def step(
        self, actions: Array, replicas: Sequence[int]
    ) -> Iterator[tuple[Any, Array, Array, Array]]:
        """One step of some replicas' sub-environments; those of the others stay as they are.

        Args:
            actions: ``[replicas, envs, ...]``, of all replicas.
            replicas: which ones step, in ascending order.

        Returns:
            For each of these, in their order: observations, batched, valid until the next call;
            rewards, whether terminated, whether truncated, each ``[envs]``. All of it must be
            taken before the next call.
        """
        ...

    def close(self) -> None:
        """Free the environments."""
        ...


class SeparateReplicaEnvs:
    """A `ReplicaEnvs` of one vector environment a replica."""

    def __init__(self, vector_envs: Sequence[VectorEnv]) -> None:
        self.vector_envs = list(vector_envs)
        first = self.vector_envs[0]
        self.single_observation_space = first.single_observation_space
        self.single_action_space = first.single_action_space
        self.num_envs = first.num_envs

    def __len__(self) -> int:
        return len(self.vector_envs)

    def reset(self, seeds: Sequence[int]) -> Iterator[Any]:
        """Begin new episodes everywhere."""
        for envs, seed in zip(self.vector_envs, seeds, strict=True):
            yield envs.reset(seed=seed)[0]

    def step(
        self, actions: Array, replicas: Sequence[int]
    ) -> Iterator[tuple[Any, Array, Array, Array]]:
        """One step of some replicas' sub-environments."""
        for replica in replicas:
            yield self.vector_envs[replica].step(actions[replica])[:4]

    def close(self) -> None:
        """Close the environments."""
        for envs in self.vector_envs:
            envs.close()


@contextlib.contextmanager
def open_replica_envs(settings: TrialSettings, num_envs: int) -> Iterator[ReplicaEnvs]:
    """The environments of all replicas, in a block at whose end they are closed.

    Args:
        settings: which environment, and what for.
        num_envs: sub-environments of each replica.

    Raises:
        UserError: as `build_vector_env` or `EnvpoolReplicaEnvs`; what was built by then is closed.
    """
    environment, replicas = settings.environment, len(settings.seeds)
    support = find_support(settings.backend, settings.algorithm)
    mode = choose_vectorization(environment, num_envs, support.min_native_envs)
    if mode == "envpool":
        threads = max(1, int(settings.cpus))
        pooled = EnvpoolReplicaEnvs(
            environment, replicas=replicas, num_envs=num_envs, threads=threads
        )
        with contextlib.closing(pooled):
            yield pooled
        return
    environment = dataclasses.replace(environment, vectorization=mode)
    with contextlib.ExitStack() as opened:
        yield SeparateReplicaEnvs(
            [
                opened.enter_context(contextlib.closing(build_vector_env(environment, num_envs)))
                for _ in settings.seeds
            ]
        )
