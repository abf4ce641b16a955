"""Play an environment with random actions, to see when its episodes end."""

from __future__ import annotations

import time
import warnings

from sweeper.environments.building import build_env
from sweeper.environments.containment import USER_ERRORS, close_quietly, contained
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings

__all__ = ["ends_within"]

_MAX_STEPS = 20_000
_MAX_S = 2.0


def ends_within(settings: EnvironmentSettings, steps: int) -> bool:
    """Whether a random agent's first episode is seen to end within so many steps.

    False says little: the environment may be too slow to tell, or a learned agent ends sooner.
    """
    with contained(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            env = build_env(settings)
        except EnvironmentBuildError:
            return False
        try:
            env.action_space.seed(0)
            env.reset(seed=0)
            until = time.monotonic() + _MAX_S
            for _ in range(min(steps, _MAX_STEPS)):
                _, _, terminated, truncated, _ = env.step(env.action_space.sample())
                if terminated or truncated:
                    return True
                if time.monotonic() > until:
                    break
        except USER_ERRORS:  # an environment can raise anything, and its trials will say so
            return False
        finally:
            close_quietly(env.close)
    return False
