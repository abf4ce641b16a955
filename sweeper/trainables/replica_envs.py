"""The environments that the replicas of a torch trainer play in."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from gymnasium.vector import VectorEnv

from sweeper.trainables.replicas import TrialSettings
from sweeper.trainables.vector_envs import build_vector_env, choose_vectorization

__all__ = ["open_replica_envs"]


@contextlib.contextmanager
def open_replica_envs(settings: TrialSettings, num_envs: int) -> Iterator[list[VectorEnv]]:
    """Vector environments, one a replica, in a block at whose end they are closed.

    Args:
        settings: which environment, and what for.
        num_envs: sub-environments of each.

    Raises:
        UserError: as `build_vector_env`; what was built by then is closed.
    """
    environment = settings.environment
    mode = choose_vectorization(environment, num_envs, settings.algorithm)
    environment = dataclasses.replace(environment, vectorization=mode)
    with contextlib.ExitStack() as opened:
        yield [
            opened.enter_context(contextlib.closing(build_vector_env(environment, num_envs)))
            for _ in settings.seeds
        ]
