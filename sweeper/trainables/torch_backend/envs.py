"""The environments of a torch trainer's replicas, stepped together.

All of them follow gymnasium's NEXT_STEP autoreset: the step after an episode's end ignores the
action and returns the next episode's first observation.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from sweeper.environments.containment import close_quietly
from sweeper.environments.envpool import EnvpoolReplicaEnvs
from sweeper.environments.outcomes import OWN_REWARD, EnvironmentFault
from sweeper.environments.vector import build_vector_env, choose_vectorization
from sweeper.spec.keys.support import find_support
from sweeper.trainables.contract import EnvironmentFailedError, TrialSettings
from sweeper.trainables.generators import Generators
from sweeper.trainables.seeding import Purpose, derive_seed
from sweeper.veil import veil

__all__ = ["ReplicaEnvs", "SeparateReplicaEnvs", "open_replica_envs"]

Array = NDArray[Any]


# How many steps are watched for draws from the process-wide generators; later ones cost no time.
_WATCHED_STEPS = 32


class SeparateReplicaEnvs:
    """One vector environment per replica, with the same number of sub-environments each.

    A replica's sub-environments depend on its seed and actions, not on the other replicas. Some
    draw from the process-wide generators instead of their own. Then every replica has states of
    these, too, which are swapped in while its sub-environments are stepped.

    Attributes:
        num_envs: sub-environments per replica.

    Args:
        vector_envs: one per replica.
        names: of the replicas, for messages.
    """

    def __init__(self, vector_envs: Sequence[VectorEnv], names: Sequence[str] = ()) -> None:
        self.vector_envs = list(vector_envs)
        self._names = list(names) or [f"replica {i}" for i in range(len(self.vector_envs))]
        first = self.vector_envs[0]
        self.single_observation_space = first.single_observation_space
        self.single_action_space = first.single_action_space
        self.num_envs = first.num_envs
        self._generators: list[Generators] = []
        self._watched_steps = _WATCHED_STEPS
        self._is_swapping = True

    def __len__(self) -> int:
        return len(self.vector_envs)

    def reset(self, seeds: Sequence[int]) -> Iterator[Any]:
        """Begin new episodes everywhere.

        Args:
            seeds: one per replica.

        Returns:
            Each replica's batch of observations, valid until the next call.
        """
        are_used = any(one.are_used for one in self._generators)
        self._generators = [Generators(seed, are_used) for seed in seeds]
        for replica, seed in enumerate(seeds):
            try:
                with self._generators[replica].swapped_in():
                    observations, _ = self.vector_envs[replica].reset(seed=seed)
            except EnvironmentFault as fault:
                raise self._explain(replica, fault) from fault
            yield observations

    def step(
        self, actions: Array, replicas: Sequence[int]
    ) -> Iterator[tuple[Any, Array, Array, Array, Array]]:
        """Step the sub-environments of some replicas.

        Args:
            actions: ``[replicas, envs, ...]``, of all replicas.
            replicas: the ones to step, in ascending order.

        Returns:
            For each of these, in the same order: a batch of observations, rewards, whether
            terminated, whether truncated, the rewards below the wrappers; all but the first are
            ``[envs]``. Valid, and to be consumed, until the next call.

        Raises:
            EnvironmentFailedError: an environment returned what it must not.
        """
        if self._watched_steps:
            self._watched_steps -= 1
            is_watching = self._watched_steps > 0
            self._is_swapping = is_watching or any(one.are_used for one in self._generators)
        for replica in replicas:
            try:
                if self._is_swapping:
                    with self._generators[replica].swapped_in():
                        *outcome, infos = self.vector_envs[replica].step(actions[replica])
                else:
                    *outcome, infos = self.vector_envs[replica].step(actions[replica])
            except EnvironmentFault as fault:
                raise self._explain(replica, fault) from fault
            yield *outcome, infos.get(OWN_REWARD, outcome[1])

    def close(self) -> None:
        """Close the environments."""
        for envs in self.vector_envs:
            close_quietly(envs.close)

    def _explain(self, replica: int, fault: EnvironmentFault) -> EnvironmentFailedError:
        return EnvironmentFailedError(f"{self._names[replica]}: {veil(str(fault))}")


ReplicaEnvs = EnvpoolReplicaEnvs | SeparateReplicaEnvs


@contextlib.contextmanager
def open_replica_envs(
    settings: TrialSettings, num_envs: int, *, is_first: bool = True
) -> Iterator[ReplicaEnvs]:
    """Open ``num_envs`` environments for each replica; the end of the block closes them.

    Args:
        settings: the trial's settings.
        num_envs: sub-environments per replica.
        is_first: whether this process has no instance of the environment yet.

    Raises:
        UserError: an environment can't be built; those already built are closed.
    """
    environment = settings.environment
    support = find_support(settings.backend, settings.algorithm)
    # Modules and constructors may draw from the process-wide generators.
    generators = [
        Generators(derive_seed(seed, settings.stage, Purpose.TRAINING)) for seed in settings.seeds
    ]
    with generators[0].swapped_in():
        mode = choose_vectorization(environment, num_envs, support.min_native_envs)
    if mode == "envpool":
        threads = max(1, int(settings.cpus))
        pooled = EnvpoolReplicaEnvs(
            environment, replicas=len(settings.seeds), num_envs=num_envs, threads=threads
        )
        with contextlib.closing(pooled):
            yield pooled
        return
    environment = dataclasses.replace(environment, vectorization=mode)
    with contextlib.ExitStack() as opened:
        vector_envs: list[VectorEnv] = []
        for own in generators:
            with own.swapped_in():
                is_alone = is_first and not vector_envs
                envs = build_vector_env(environment, num_envs, is_first=is_alone)
            opened.callback(close_quietly, envs.close)
            vector_envs.append(envs)
        names = [f"{environment.id}, seed {seed}" for seed in settings.seeds]
        yield SeparateReplicaEnvs(vector_envs, names)
