"""Step all replicas' environments and store the steps in their replay memories.

Gymnasium's NEXT_STEP autoreset uses one step of a sub-environment for its reset. Reset steps are
neither counted nor stored. A replica with one sub-environment makes the reset step at once; with
several, it is made while the others take real steps. Such a replica can take a few steps more
than requested: they are stored at once and counted in the next call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.trainables.torch_backend.dqn.actions import EpsilonGreedy, choose_actions
from sweeper.trainables.torch_backend.envs import ReplicaEnvs
from sweeper.trainables.torch_backend.non_finite import find_non_finite, make_finite
from sweeper.trainables.torch_backend.progress import Episode, EpisodeCounter
from sweeper.trainables.torch_backend.replay.buffer import ReplayBuffer
from sweeper.trainables.torch_backend.replay.observation_store import ObservationStore
from sweeper.trainables.torch_backend.schedules import Schedule

__all__ = ["ReplayCollector"]

Array = NDArray[Any]
Mask = NDArray[np.bool_]


class ReplayCollector:
    """Collects steps; owns the current observations of the environments.

    Attributes:
        steps: env steps requested so far, of each replica that is not frozen.
        faults: what the environments of some replicas returned that is not finite, by replica.
    """

    def __init__(
        self,
        envs: ReplicaEnvs,
        buffer: ReplayBuffer,
        store: ObservationStore,
        *,
        epsilon: Schedule,
        distribution: EpsilonGreedy,
        action_generators: Sequence[np.random.Generator],
        env_generators: Sequence[np.random.Generator],
    ) -> None:
        self._envs, self._buffer, self._store = envs, buffer, store
        self._epsilon, self._distribution = epsilon, distribution
        self._action_generators, self._env_generators = action_generators, env_generators
        shape = len(envs), envs.num_envs
        self._observations: Array = np.zeros((*shape, *store.shape), dtype=store.dtype)
        self._lanes = np.arange(shape[0] * shape[1]).reshape(shape)
        self._resetting = np.zeros(shape, dtype=np.bool_)
        self._episodes = EpisodeCounter(*shape)
        self._taken = np.zeros(len(envs), dtype=np.int64)
        self.steps = 0
        self.faults: dict[int, str] = {}
        self._has_started = False

    def restart(self, steps: int) -> None:
        """Begin new episodes in all environments, at ``steps`` env steps.

        The seeds are drawn from the environments' generators.
        """
        seeds = [int(generator.integers(2**31)) for generator in self._env_generators]
        for replica, observations in enumerate(self._envs.reset(seeds)):
            self._observations[replica] = self._store.pack(observations)
        self._resetting[:] = False
        self._episodes.forget()
        self._taken[:] = self.steps = steps
        self._begin(np.ones_like(self._resetting))
        self._has_started = True

    def collect(self, values: Callable[[Array], Array], steps: int, is_frozen: Mask) -> None:
        """Take ``steps`` more env steps with every replica that is not frozen.

        ``values`` computes Q values of observations ``float32[replicas, envs, *shape]``.
        """
        if not self._has_started:
            self.restart(self.steps)
        self.steps += steps
        while True:
            behind = np.flatnonzero((self._taken < self.steps) & ~is_frozen).tolist()
            active = [replica for replica in behind if replica not in self.faults]
            if not active:
                return
            self._step(values, active)

    def take_episodes(self) -> list[list[Episode]]:
        """Return each replica's episodes that finished since the last call."""
        return self._episodes.take()

    def _step(self, values: Callable[[Array], Array], active: list[int]) -> None:
        points = np.ones(self._resetting.shape)
        for replica in active:
            self._action_generators[replica].random(out=points[replica])
        # By each replica's own count: those with several sub-environments get out of step.
        epsilons = np.array([[self._epsilon.value(taken)] for taken in self._taken.tolist()])
        actions = choose_actions(values(self._store.unpack(self._observations)), points, epsilons)
        rewards, scores = np.zeros((2, *points.shape))
        terminated, ended, is_active = np.zeros((3, *points.shape), dtype=np.bool_)
        env_actions = self._distribution.to_env(actions[..., None])
        for replica, outcome in zip(active, self._envs.step(env_actions, active), strict=True):
            observations, rewards[replica], terminated[replica], truncated, scores[replica] = (
                outcome
            )
            self._observations[replica] = self._store.pack(observations)
            is_active[replica] = True
            ended[replica] = terminated[replica] | truncated
        self._drop_faulty(active, (rewards, scores), is_active)
        has_reset = self._resetting & is_active
        is_real = ~self._resetting & is_active
        ended &= is_real
        self._store_steps(is_real, actions, rewards, terminated, ended)
        self._episodes.count(scores, is_real, ended)
        self._resetting[is_active] = ended[is_active]
        if has_reset.any():
            self._begin(has_reset)
        if len(ended[0]) == 1 and ended.any():
            self._reset_at_once(ended)

    def _drop_faulty(
        self, active: list[int], rewards: tuple[Array, Array], is_active: Mask
    ) -> None:
        """Forget the step of replicas whose environments returned what is not finite."""
        lengths, seen = self._episodes.lengths, self._observations
        faults = find_non_finite(rewards, seen, replicas=active, lengths=lengths)
        for replica in faults:
            is_active[replica] = False
            for array in rewards:
                array[replica] = 0
            make_finite(seen[replica])
        self.faults |= faults

    def _reset_at_once(self, ended: Mask) -> None:
        replicas: list[int] = np.flatnonzero(ended[:, 0]).tolist()
        ignored = self._distribution.to_env(np.zeros((len(self._envs), 1, 1)))
        for replica, outcome in zip(replicas, self._envs.step(ignored, replicas), strict=True):
            self._observations[replica] = self._store.pack(outcome[0])
        self._resetting[ended] = False
        self._begin(ended)

    def _begin(self, chosen: Mask) -> None:
        self._buffer.begin(self._lanes[chosen], self._observations[chosen])

    def _store_steps(
        self, is_real: Mask, actions: Array, rewards: Array, terminated: Mask, ended: Mask
    ) -> None:
        self._taken += is_real.sum(axis=1)
        self._buffer.append(
            self._lanes[is_real],
            actions=actions[is_real],
            rewards=rewards[is_real],
            terminated=terminated[is_real],
            ended=ended[is_real],
            observations=self._observations[is_real],
        )
