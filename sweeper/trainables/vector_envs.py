"""One vector environment per replica, native where gymnasium has one.

Every vector environment here follows gymnasium's NEXT_STEP autoreset: the step after an
episode's end ignores the action and returns the next episode's first observation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from sweeper.environments import EnvironmentSettings, build_env, import_module
from sweeper.errors import UserError
from sweeper.trainables.envpool_envs import EnvpoolVectorEnv

__all__ = ["build_vector_env", "has_native_vector_env"]


def has_native_vector_env(settings: EnvironmentSettings) -> bool:
    """Whether gymnasium registers a vector entry point, and no wrapper is in its way."""
    if settings.wrappers:
        return False
    spec = _find_spec(settings)
    return spec.vector_entry_point is not None and not spec.additional_wrappers


def build_vector_env(settings: EnvironmentSettings, num_envs: int) -> VectorEnv:
    """Build one vector environment, vectorised as ``settings.vectorization`` says.

    Raises:
        UserError: the environment has no vector entry point and one was asked for, or its
            vector environment resets itself in another way than the trainers expect.
        EnvironmentBuildError: as `build_env`.
    """
    mode = settings.vectorization
    if mode == "auto":
        mode = "vector_entry_point" if has_native_vector_env(settings) else "sync"
    if mode == "vector_entry_point":
        return _build_native(settings, num_envs)
    functions: Sequence[functools.partial[gymnasium.Env]] = [
        functools.partial(build_env, settings) for _ in range(num_envs)
    ]
    if mode == "async":
        return AsyncVectorEnv(functions, autoreset_mode=AutoresetMode.NEXT_STEP)
    if mode == "sync":
        # Observations are copied into the rollout anyway.
        return SyncVectorEnv(functions, copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
    if mode == "envpool":
        return EnvpoolVectorEnv(settings, num_envs)
    raise UserError(f"unknown vectorization {mode!r}")


def _build_native(settings: EnvironmentSettings, num_envs: int) -> VectorEnv:
    if not has_native_vector_env(settings):
        because = "wrappers are asked for" if settings.wrappers else "it has none"
        raise UserError(
            f"vectorization: vector_entry_point is not possible for {settings.id}: {because}; "
            "use sync"
        )
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


class _Unchecked(spaces.MultiDiscrete):  # type: ignore[misc]
    """The batched action space of a native environment, which asserts it at every step.

    The actions come from the space's own distribution, and the check is a third of a step of
    gymnasium's CartPole.
    """

    def contains(self, x: Any) -> bool:  # noqa: ARG002
        """Yes."""
        return True


def _find_spec(settings: EnvironmentSettings) -> gymnasium.envs.registration.EnvSpec:
    module, colon, name = settings.id.partition(":")
    for registering in (settings.module, module if colon else None):
        if registering is not None:
            import_module(registering, settings.search_paths)
    return gymnasium.spec(name if colon else settings.id)
