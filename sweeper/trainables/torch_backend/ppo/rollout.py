"""Collects experience with all replicas: the same number of real env steps from each.

With gymnasium's NEXT_STEP autoreset a sub-environment spends one step on its reset. Such a step
is never counted and never part of a batch: its replica steps on until it has exactly the env steps
that it needs. In the last step more sub-environments may have acted than were needed. Their
surplus opens the next fragment, so nothing is thrown away or counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sweeper.environments.spaces import ObservationEncoder
from sweeper.trainables.torch_backend.distributions import ActionDistribution
from sweeper.trainables.torch_backend.envs import ReplicaEnvs
from sweeper.trainables.torch_backend.non_finite import find_non_finite, make_finite
from sweeper.trainables.torch_backend.normalisation import ObservationNormaliser, RewardNormaliser
from sweeper.trainables.torch_backend.progress import Episode, EpisodeCounter

__all__ = ["Fragment", "RolloutCollector"]

Array = NDArray[Any]
Mask = NDArray[np.bool_]
Act: TypeAlias = Callable[[Array], tuple[Array, Array | None]]


class Fragment(NamedTuple):
    """Steps of all replicas' environments; views of the collector's buffers.

    Attributes:
        observations: ``[replicas, steps + 1, envs, *shape]``, normalised; images may be bytes.
        actions: ``float32[replicas, steps, envs, columns]``.
        distribution: inputs of the distribution that the actions were drawn from,
            ``float32[replicas, steps, envs, inputs]``.
        rewards: ``float32[replicas, steps, envs]``, normalised; the masks have the same shape.
        terminated: the step ended its episode in a terminal state.
        ended: the step ended its episode, terminal or truncated.
        valid: the steps that belong to the fragment, equally many for each replica.
    """

    observations: Array
    actions: Array
    distribution: Array
    rewards: Array
    terminated: Mask
    ended: Mask
    valid: Mask

    def until(self, steps: int) -> Fragment:
        """Only the first steps."""
        return Fragment(
            self.observations[:, : steps + 1], *(array[:, :steps] for array in self[1:])
        )


class RolloutCollector:
    """Owns the current state of the environments, and buffers for one fragment.

    Attributes:
        has_failed: replicas whose policy is not finite any more, or whose environment returned
            something that isn't; they don't step.
        faults: what the environments of these replicas returned, by replica.
        values: of the latest fragment's observations but the last, ``float32[replicas, steps,
            envs]``; None if the policy does not give them.
    """

    def __init__(
        self,
        envs: ReplicaEnvs,
        *,
        steps: int,
        encoder: ObservationEncoder,
        distribution: ActionDistribution,
        action_generators: Sequence[np.random.Generator],
        env_generators: Sequence[np.random.Generator],
        observation_normaliser: ObservationNormaliser | None,
        reward_normaliser: RewardNormaliser | None,
    ) -> None:
        self._envs = envs
        self._encoder = encoder
        self._distribution = distribution
        self._action_generators = action_generators
        self._env_generators = env_generators
        self._observation_normaliser = observation_normaliser
        self._reward_normaliser = reward_normaliser
        replicas, num_envs = len(envs), envs.num_envs
        self._needed = steps * num_envs
        dtype = encoder.dtype if observation_normaliser is None else np.dtype(np.float32)

        def zeros(*inner: int, extra: int = 0, dtype: Any = np.float32) -> Array:
            # At worst every other step of each sub-environment is a reset, including the first
            # step after the carried one.
            return np.zeros((replicas, 2 * steps + 2 + extra, num_envs, *inner), dtype=dtype)

        self._buffers = Fragment(
            observations=zeros(*encoder.shape, extra=1, dtype=dtype),
            actions=zeros(distribution.columns),
            distribution=zeros(distribution.input_size),
            rewards=zeros(),
            terminated=zeros(dtype=np.bool_),
            ended=zeros(dtype=np.bool_),
            valid=zeros(dtype=np.bool_),
        )
        self._raw = np.zeros((replicas, num_envs, *encoder.shape), dtype=encoder.dtype)
        self._resetting = np.zeros((replicas, num_envs), dtype=np.bool_)
        self._carried = np.zeros((replicas, num_envs), dtype=np.bool_)
        self._last_step = np.zeros(replicas, dtype=np.int64)
        self._episodes = EpisodeCounter(replicas, num_envs)
        self._rewards = np.zeros((replicas, num_envs))
        self._scores = np.zeros((replicas, num_envs))
        self._terminated = np.zeros((replicas, num_envs), dtype=np.bool_)
        self._truncated = np.zeros((replicas, num_envs), dtype=np.bool_)
        self._noise = np.zeros((replicas, num_envs, distribution.columns), dtype=np.float32)
        self.has_failed = np.zeros(replicas, dtype=np.bool_)
        self.faults: dict[int, str] = {}
        self.values: Array | None = None
        self._values, self._gives_values = zeros(), False
        self._observations: Array = self._raw
        self._has_started = False

    def restart(self) -> None:
        """Begin new episodes everywhere, with seeds from the environments' generators."""
        seeds = [int(generator.integers(2**31)) for generator in self._env_generators]
        for replica, observations in enumerate(self._envs.reset(seeds)):
            self._raw[replica] = self._encoder.encode(observations)
        self._resetting[:] = False
        self._carried[:] = False
        self._episodes.forget()
        if self._reward_normaliser is not None:
            self._reward_normaliser.forget_episodes()
        self._observations = self._normalise(~self._resetting)
        self._has_started = True

    def collect(self, act: Act, is_frozen: Mask) -> Fragment:
        """Step every replica's environments for one fragment.

        Args:
            act: inputs of the action distribution for observations ``[replicas, envs, *shape]``,
                and their values, or None if these would take another pass.
            is_frozen: replicas that don't step; their part of the fragment is zeros.
        """
        if not self._has_started:
            self.restart()
        buffers = self._buffers
        self.values = None
        step = self._begin_with_carried(act)
        buffers.valid[:, step:] = False
        missing = np.where(is_frozen, 0, self._needed - buffers.valid[:, :step].sum(axis=(1, 2)))
        while missing.any():
            self._step(step, act, missing)
            step += 1
        step = max(step, self._needed // self._envs.num_envs)  # all may have failed earlier
        buffers.observations[:, step] = self._observations
        fragment = buffers.until(step)
        for replica in np.flatnonzero(is_frozen | self.has_failed).tolist():
            _fill_with_zeros(fragment, replica, self._needed)
            self._values[replica] = 0
        if self.values is not None:
            self.values = self._values[:, :step]
        return fragment

    def take_episodes(self) -> list[list[Episode]]:
        """The episodes that finished since the last call, one list per replica."""
        return self._episodes.take()

    def _begin_with_carried(self, act: Act) -> int:
        """Open the fragment with the last one's surplus, and return how many steps that takes."""
        if not self._carried.any():
            return 0
        buffers = self._buffers
        for replica in np.flatnonzero(self._carried.any(axis=1)):
            last = self._last_step[replica]
            for array in buffers:
                array[replica, 0] = array[replica, last]
        buffers.valid[:, 0] = self._carried
        self._carried[:] = False
        if self._gives_values:  # those of before the update are out of date
            self._keep_values(0, act(buffers.observations[:, 0])[1])
        return 1

    def _keep_values(self, step: int, values: Array | None) -> None:
        self._gives_values = values is not None
        if values is not None:
            self._values[:, step] = self.values = values

    def _step(self, step: int, act: Act, missing: Array) -> None:
        buffers = self._buffers
        buffers.observations[:, step] = self._observations
        inputs, values = act(self._observations)
        self._keep_values(step, values)
        active = self._drop_failed(np.flatnonzero(missing).tolist(), inputs, missing)
        for replica in active:
            self._distribution.draw_noise(self._action_generators[replica], self._noise[replica])
        actions = self._distribution.sample(inputs, self._noise)
        buffers.actions[:, step] = actions
        buffers.distribution[:, step] = inputs
        rewards: Array = self._rewards
        scores, terminated, truncated = self._scores, self._terminated, self._truncated
        are_all_active = len(active) == len(self._envs)
        if not are_all_active:
            for array in (rewards, scores, terminated, truncated):
                array[:] = 0
        env_actions = self._distribution.to_env(actions)
        for replica, outcome in zip(active, self._envs.step(env_actions, active), strict=True):
            observations, *flags, scores[replica] = outcome
            rewards[replica], terminated[replica], truncated[replica] = flags
            self._raw[replica] = self._encoder.encode(observations)
        self._drop_faulty(active, missing)
        real = ~self._resetting
        ended = terminated | truncated
        ended &= real  # a reset ends no episode
        self._resetting = ended
        acted_on = ~ended
        if not are_all_active:
            is_active = (missing > 0)[:, None]
            # The others keep their state.
            self._resetting = np.where(is_active, ended, ~real)
            real &= is_active
            acted_on &= is_active
        self._episodes.count(scores, real, ended)
        if self._reward_normaliser is not None:
            rewards = self._reward_normaliser.normalise(rewards, counted=real, ended=ended)
        self._observations = self._normalise(acted_on)
        buffers.rewards[:, step] = rewards
        buffers.terminated[:, step] = terminated
        buffers.ended[:, step] = ended
        buffers.valid[:, step] = self._keep_needed(step, real, missing)

    def _drop_failed(self, active: list[int], inputs: Array, missing: Array) -> list[int]:
        """Leave out replicas whose policy is not finite: environments may crash on NaN actions."""
        is_finite: Array = np.asarray(np.isfinite(inputs).all(axis=(1, 2)))
        if is_finite.all():
            return active
        self.has_failed |= ~is_finite
        missing[~is_finite] = 0
        return [replica for replica in active if is_finite[replica]]

    def _drop_faulty(self, active: list[int], missing: Array) -> None:
        """Leave out replicas whose environments returned what is not finite."""
        lengths = self._episodes.lengths
        rewards = self._rewards, self._scores
        faults = find_non_finite(rewards, self._raw, replicas=active, lengths=lengths)
        for replica in faults:
            self.has_failed[replica], missing[replica] = True, 0
            self._rewards[replica] = self._scores[replica] = 0
            make_finite(self._raw[replica])
        self.faults |= faults

    def _keep_needed(self, step: int, real: Mask, missing: Array) -> Mask:
        """Mark the steps that this fragment still needs; carry the others into the next one."""
        if (missing > real.shape[1]).all():  # far from the end
            missing -= real.sum(axis=1)
            return real
        ordinal: Array = real.cumsum(axis=1)
        kept: Mask = real & (ordinal <= missing[:, None])
        is_last: Mask = (missing > 0) & (ordinal[:, -1] >= missing)
        self._carried[is_last] = (real & ~kept)[is_last]
        self._last_step[is_last] = step
        missing -= kept.sum(axis=1)
        return kept

    def _normalise(self, acted_on: Mask) -> Array:
        """The policy's next observations; the moments count each one it will act on once."""
        if self._observation_normaliser is None:
            return self._raw  # copied into the buffers before it changes
        self._observation_normaliser.moments.update(self._raw, acted_on)
        return self._observation_normaliser.normalise(self._raw)


def _fill_with_zeros(fragment: Fragment, replica: int, rows: int) -> None:
    """Give a replica that does not train as many rows as the others, all zero."""
    for array in fragment:
        array[replica] = 0
    fragment.valid[replica].reshape(-1)[:rows] = True
