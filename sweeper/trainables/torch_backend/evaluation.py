"""Plays whole episodes with all replicas, for evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.environments.outcomes import EnvironmentFault
from sweeper.environments.spaces import ObservationEncoder
from sweeper.trainables.contract import (
    NON_FINITE_POLICY,
    EnvironmentFailedError,
    EvaluationResult,
    EvaluationSettings,
    TrialSettings,
)
from sweeper.trainables.seeding import Purpose, derive_seed, seed_sequence
from sweeper.trainables.torch_backend.distributions import ActionDistribution
from sweeper.trainables.torch_backend.envs import ReplicaEnvs, open_replica_envs
from sweeper.trainables.torch_backend.non_finite import find_non_finite, make_finite

__all__ = ["HeldOutEpisodes"]

Array = NDArray[Any]

_LENGTHS_EVERY = 1000  # steps from one look at the episodes' lengths to the next


class HeldOutEpisodes:
    """The episodes that replicas are evaluated on: never trained on, always the same ones."""

    def __init__(self, settings: TrialSettings) -> None:
        self._evaluation = evaluation = settings.evaluation or EvaluationSettings()
        self._quotas = evaluation.quotas
        self._env_seeds = [
            derive_seed(seed, settings.stage, Purpose.EVALUATION_ENVIRONMENTS)
            for seed in settings.seeds
        ]
        self._settings = dataclasses.replace(
            settings, environment=evaluation.fix_episodes(settings.environment)
        )

    def open_envs(self) -> AbstractContextManager[ReplicaEnvs]:
        """New environments for one evaluation.

        In a used environment the same seed can begin another episode (BipedalWalker), and a
        wrapper can carry something on.
        """
        return open_replica_envs(self._settings, len(self._quotas), is_first=False)

    # What is not finite freezes a replica; numpy's warnings would add nothing.
    @np.errstate(all="ignore")
    def play(
        self,
        envs: ReplicaEnvs,
        policy: Callable[[Array], Array],
        *,
        encoder: ObservationEncoder,
        distribution: ActionDistribution,
        normalise: Callable[[Array], Array],
        skipped: NDArray[np.bool_],
    ) -> list[EvaluationResult | None]:
        """Play the held-out episodes with every replica.

        Args:
            envs: as `open_envs` gives them.
            policy: inputs of the distribution for ``float32[replicas, envs, *shape]``.
            encoder: encodes the environments' observations.
            distribution: draws or chooses the actions.
            normalise: normalises observations without updating its moments.
            skipped: ``bool[replicas]``, replicas that don't play.

        Returns:
            One result per replica; None if it was skipped. A replica diverged if its policy or
            what its environments returned was not finite.

        Raises:
            EnvironmentFailedError: an environment returned what it must not, or an episode that
                has a time limit does not end.
        """
        quotas, generators = self._quotas, None
        seeds, stage = self._settings.seeds, self._settings.stage
        if self._evaluation.explore:  # new generators for each evaluation
            generators = [
                np.random.default_rng(seed_sequence(seed, stage, Purpose.EVALUATION_ACTIONS))
                for seed in seeds
            ]
        raw = np.zeros((len(envs), len(quotas), *encoder.shape), dtype=encoder.dtype)
        for replica, observations in enumerate(envs.reset(self._env_seeds)):
            raw[replica] = encoder.encode(observations)
        playing = [replica for replica in range(len(envs)) if not skipped[replica]]
        finished: list[list[list[tuple[float, int]]]] = [
            [[] for _ in quotas] for _ in range(len(envs))
        ]
        returns, lengths = np.zeros(raw.shape[:2]), np.zeros(raw.shape[:2], dtype=np.int64)
        resetting = np.zeros(raw.shape[:2], dtype=np.bool_)
        rewards, own = np.zeros((2, *raw.shape[:2]))
        causes = self._find_faults((rewards, own), raw, playing, lengths - 1)
        steps = 0
        while playing := [
            replica
            for replica in playing
            if replica not in causes
            and any(len(p) < q for p, q in zip(finished[replica], quotas, strict=True))
        ]:
            inputs = policy(normalise(raw))
            for replica in playing:  # environments may crash on NaN actions
                if not np.isfinite(inputs[replica]).all():
                    causes[replica] = NON_FINITE_POLICY
            playing = [replica for replica in playing if replica not in causes]
            if generators is None:
                actions = distribution.mode(inputs)
            else:
                noise = np.zeros((*raw.shape[:2], distribution.columns), dtype=np.float32)
                for replica in playing:
                    distribution.draw_noise(generators[replica], noise[replica])
                actions = distribution.sample(inputs, noise)
            before = np.where(resetting, -1, lengths)
            outcomes = envs.step(distribution.to_env(actions), playing)
            for replica, outcome in zip(playing, outcomes, strict=True):
                observations, rewards[replica], terminated, truncated, own[replica] = outcome
                raw[replica] = encoder.encode(observations)
                real = ~resetting[replica]
                returns[replica] += own[replica] * real
                lengths[replica] += real
                resetting[replica] = ended = (terminated | truncated) & real
                for env in np.flatnonzero(ended):
                    episode = (float(returns[replica, env]), int(lengths[replica, env]))
                    finished[replica][env].append(episode)
                returns[replica][ended] = 0
                lengths[replica][ended] = 0
            causes |= self._find_faults((rewards, own), raw, playing, before)
            steps += 1
            if steps % _LENGTHS_EVERY == 0:
                self._refuse_endless(lengths)
        return [
            None
            if skipped[replica]
            else EvaluationResult.failed(causes[replica])
            if replica in causes
            else EvaluationResult.count(played, quotas, self._evaluation.max_episode_steps)
            for replica, played in enumerate(finished)
        ]

    def _refuse_endless(self, lengths: NDArray[np.int64]) -> None:
        environment, longest = self._settings.environment, lengths.max(axis=1)
        replica = int(longest.argmax())
        try:
            self._evaluation.refuse_endless(int(longest[replica]), environment)
        except EnvironmentFault as fault:
            seed = self._settings.seeds[replica]
            words = f"{environment.id}, seed {seed}, in an evaluation: {fault}"
            raise EnvironmentFailedError(words) from fault

    def _find_faults(
        self,
        rewards: tuple[Array, Array],
        observations: Array,
        replicas: Sequence[int],
        lengths: Array,
    ) -> dict[int, str]:
        """Whose environments returned what is not finite, and what; that is made finite."""
        faults = find_non_finite(rewards, observations, replicas=replicas, lengths=lengths)
        for replica in faults:
            for array in (*rewards, observations):
                make_finite(array[replica])
        settings = self._settings
        return {
            replica: f"{settings.environment.id} returned {fault} in an evaluation (seed "
            f"{settings.seeds[replica]})"
            for replica, fault in faults.items()
        }
