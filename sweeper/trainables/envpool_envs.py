"""envpool's environments behind gymnasium's interface for vector environments.

envpool (an extra) is another implementation of the same tasks, in C++: chosen by name, never by
``auto``. Its sub-environments have a seed each, so one replica's never depend on another's.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from sweeper.environments import EnvironmentSettings
from sweeper.errors import UserError

__all__ = ["EnvpoolVectorEnv"]


class EnvpoolVectorEnv(VectorEnv):  # type: ignore[misc]
    """A pool of one thread; it is made anew when it is reset with a seed.

    Raises:
        UserError: envpool is not installed, has no such environment, or can't carry out what
            the settings ask for.
    """

    def __init__(self, settings: EnvironmentSettings, num_envs: int) -> None:
        self._pool: Any = None  # close() is called of one that was refused, too
        if settings.wrappers or settings.module is not None:
            raise UserError(
                "vectorization: envpool takes neither environment.wrappers nor "
                "environment.module; use sync"
            )
        self._id, self._kwargs = settings.id, dict(settings.kwargs)
        self.num_envs = num_envs
        self._pool = _make_pool(self._id, self._kwargs, list(range(num_envs)))
        self.single_observation_space = self._pool.observation_space
        self.single_action_space = self._pool.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes everywhere; envpool takes seeds only when a pool is made."""
        del options
        if seed is not None:
            seeds = np.random.SeedSequence(seed).generate_state(self.num_envs) >> 1
            self._pool.close()
            self._pool = _make_pool(self._id, self._kwargs, seeds.tolist())
        observations, _ = self._pool.reset()
        return observations, {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of every sub-environment."""
        observations, rewards, terminated, truncated, _ = self._pool.step(actions)
        return observations, rewards, terminated, truncated, {}

    def close_extras(self, **_: Any) -> None:
        """Free the pool."""
        if self._pool is not None:
            self._pool.close()


def _make_pool(env_id: str, kwargs: Mapping[str, Any], seeds: list[int]) -> Any:
    try:
        envpool = importlib.import_module("envpool")
    except ImportError as error:
        raise UserError(
            f"vectorization: envpool needs the package: pip install 'sweeper[envpool]' ({error})"
        ) from error
    known = envpool.list_all_envs()
    if env_id not in known:
        near = difflib.get_close_matches(env_id, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"envpool has no environment {env_id!r}{hint}; use vectorization: sync")
    try:
        return envpool.make(
            env_id,
            env_type="gymnasium",
            num_envs=len(seeds),
            num_threads=1,
            seed=seeds,
            **kwargs,
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"envpool can't make {env_id} with {dict(kwargs)}: {error}") from error
