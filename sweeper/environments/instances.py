"""Build several instances of an environment, in one process or each in its own."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from sweeper.environments.building import build_env
from sweeper.environments.containment import close_quietly, seed_process
from sweeper.environments.modules import summarise
from sweeper.environments.outcomes import CheckedEnv
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings

__all__ = ["build_in_processes", "build_side_by_side"]


def build_side_by_side(
    settings: EnvironmentSettings, number: int, *, is_first: bool = True
) -> list[gymnasium.Env[Any, Any]]:
    """Build a number of instances in this process.

    Args:
        settings: the environment.
        number: of instances.
        is_first: whether this process has no instance yet.

    Raises:
        EnvironmentBuildError: as `build_env`; those already built are closed. If only the first
            can be built, the message names the remedy.
    """
    with contextlib.ExitStack() as opened:
        envs: list[gymnasium.Env[Any, Any]] = []
        for _ in range(number):
            try:
                env = build_env(settings, enforces_order=False)
            except EnvironmentBuildError as error:
                if is_first and not envs:
                    raise
                message = (
                    f"only one instance of {settings.id} can be built in a process; "
                    "environment.vectorization: async gives each a process of its own; the second "
                    f"failed: {error}"
                )
                raise EnvironmentBuildError(("vectorization",), message) from error
            envs.append(env)
            opened.callback(close_quietly, env.close)
        opened.pop_all()
        return envs


def build_in_processes(settings: EnvironmentSettings, number: int) -> AsyncVectorEnv:
    """Build a number of instances, each in a process of its own.

    Raises:
        EnvironmentBuildError: as `build_env`, or a process ended while it built its instance.
    """
    functions = [functools.partial(_build_in_own_process, settings, i) for i in range(number)]
    try:
        return AsyncVectorEnv(functions, autoreset_mode=AutoresetMode.NEXT_STEP)
    except (EOFError, ConnectionError) as error:
        message = (
            f"{settings.id} can be built once, but not {number} times, each in a process of its "
            "own; the log of the trial has the traceback"
        )
        raise EnvironmentBuildError(("vectorization",), message) from error


def _build_in_own_process(settings: EnvironmentSettings, index: int) -> gymnasium.Env[Any, Any]:
    """Build the instance of a process that gymnasium's `AsyncVectorEnv` has started.

    The process is a copy of ours, and so are its process-wide generators: unless they are seeded
    anew, all instances draw the same numbers from them.
    """
    seed_process(
        int(np.random.SeedSequence([np.random.randint(2**31), index]).generate_state(1)[0])
    )
    return _OwnProcess(build_env(settings, enforces_order=False))


class _OwnProcess(CheckedEnv):
    """Seeds the process with its environment, checks it, and reports an exit as an error."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        """Begin a new episode."""
        if seed is not None:
            seed_process(seed)
        try:
            return super().reset(seed=seed, options=options)
        except SystemExit as error:
            raise RuntimeError(f"in reset, {summarise(error)}") from error

    def step(self, action: Any) -> Any:
        """Take a step."""
        try:
            return super().step(action)
        except SystemExit as error:
            raise RuntimeError(f"in step, {summarise(error)}") from error
