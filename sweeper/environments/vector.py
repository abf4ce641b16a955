"""Build one vector environment per replica: its native version if registered, else a loop.

Every vector environment here follows gymnasium's NEXT_STEP autoreset: the step after an
episode's end ignores the action and returns the next episode's first observation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array

from sweeper.environments.instances import build_in_processes, build_side_by_side
from sweeper.environments.registry import find_spec, register
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError

__all__ = ["build_vector_env", "choose_vectorization", "has_native_vector_env"]


def has_native_vector_env(settings: EnvironmentSettings) -> bool:
    """Whether gymnasium registers a vector entry point and no wrapper is in its way."""
    if settings.wrappers:
        return False
    spec = _find_spec(settings)
    return spec.vector_entry_point is not None and not spec.additional_wrappers


def choose_vectorization(
    settings: EnvironmentSettings, num_envs: int, min_native_envs: int = 1
) -> str:
    """``settings.vectorization``, with ``auto`` resolved for a number of environments.

    Args:
        settings: of the environment.
        num_envs: environments of one replica.
        min_native_envs: with fewer, gymnasium's native ones are not chosen.
    """
    if settings.vectorization != "auto":
        return settings.vectorization
    is_enough = num_envs >= min_native_envs
    return "vector_entry_point" if is_enough and has_native_vector_env(settings) else "sync"


def build_vector_env(
    settings: EnvironmentSettings, num_envs: int, *, is_first: bool = True
) -> VectorEnv:
    """Build one vector environment according to ``settings.vectorization``.

    Args:
        settings: of the environment.
        num_envs: its sub-environments.
        is_first: whether this process has no instance of the environment yet.

    Raises:
        UserError: a vector entry point was asked for and there is none, or its autoreset mode is
            not NEXT_STEP.
        EnvironmentBuildError: as `build_env`.
    """
    mode = choose_vectorization(settings, num_envs)
    if mode == "vector_entry_point":
        return _build_native(settings, num_envs)
    if mode == "async":
        return build_in_processes(settings, num_envs)
    if mode == "sync":
        envs = build_side_by_side(settings, num_envs, is_first=is_first)
        return SerialVectorEnv([functools.partial(lambda env: env, env) for env in envs])
    raise UserError(f"unknown vectorization {mode!r}")


def _build_native(settings: EnvironmentSettings, num_envs: int) -> VectorEnv:
    if not has_native_vector_env(settings):
        because = "wrappers are asked for" if settings.wrappers else "it has none"
        what = f"vectorization: vector_entry_point is not possible for {settings.id}"
        raise UserError(f"{what}: {because}; use sync")
    envs = gymnasium.make_vec(
        _find_spec(settings).id,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        **settings.kwargs,
    )
    mode = envs.metadata.get("autoreset_mode")
    if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.NEXT_STEP.value):
        envs.close()
        raise UserError(
            f"the vector environment of {settings.id} does not say that it resets at the next "
            f"step (its metadata's autoreset_mode is {mode}); use vectorization: sync"
        )
    if isinstance(envs.action_space, spaces.MultiDiscrete):
        envs.action_space = _Unchecked(envs.action_space.nvec, start=envs.action_space.start)
    return envs


class SerialVectorEnv(SyncVectorEnv):  # type: ignore[misc]
    """Gymnasium's `SyncVectorEnv` with half of its overhead and without infos.

    Returns observations in one buffer that the next step overwrites; callers copy what they keep.
    """

    def __init__(self, functions: Sequence[functools.partial[gymnasium.Env]]) -> None:
        super().__init__(functions, copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
        self._has_ended = [False] * self.num_envs
        self._seen = create_empty_array(self.single_observation_space, self.num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode in every sub-environment."""
        self._has_ended = [False] * self.num_envs
        observations, _ = super().reset(seed=seed, options=options)
        return observations, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step every sub-environment; one whose episode has ended is reset instead."""
        seen: list[Any] = []
        rewards = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=np.bool_)
        for i, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            if self._has_ended[i]:
                seen.append(env.reset()[0])
                self._has_ended[i] = False
                continue
            observation, reward, is_terminal, is_cut, _ = env.step(action)
            seen.append(observation)
            rewards[i] = reward
            if is_terminal or is_cut:
                terminated[i], truncated[i] = is_terminal, is_cut
                self._has_ended[i] = True
        if isinstance(self.single_observation_space, spaces.Box):
            for i, observation in enumerate(seen):
                self._seen[i] = observation
        else:
            self._seen = concatenate(self.single_observation_space, seen, self._seen)
        return self._seen, rewards, terminated, truncated, {}


class _Unchecked(spaces.MultiDiscrete):  # type: ignore[misc]
    """A batched action space that skips the check which native environments make at every step.

    The actions are drawn from the space itself, and the check takes a third of a CartPole step.
    """

    def contains(self, x: Any) -> bool:  # noqa: ARG002
        """Always True."""
        return True


def _find_spec(settings: EnvironmentSettings) -> gymnasium.envs.registration.EnvSpec:
    register(settings)
    return find_spec(settings.id)
