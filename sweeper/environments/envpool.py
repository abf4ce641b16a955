"""Step envpool's environments: one pool for all replicas, a seed for each sub-environment.

envpool (an extra) implements the same tasks in C++. It must be asked for by name; ``auto`` never
chooses it. Its agents are evaluated in gymnasium's environment, so it is only accepted where both
have the same spaces and arguments.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from sweeper.environments.building import EnvironmentDescription, describe
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.hints import did_you_mean, show
from sweeper.installation import install_extra
from sweeper.veil import veil

__all__ = ["EnvpoolReplicaEnvs", "check_envpool", "has_envpool", "is_faster_in_envpool"]

Array = NDArray[Any]

# Environments that envpool steps several times as fast as gymnasium, and in which a random policy
# earns the same in both (tests/integration/environments/test_envpool_run.py).
_FASTER = {
    "Acrobot-v1", "BipedalWalker-v3", "BipedalWalkerHardcore-v3", "LunarLander-v3",
    "LunarLanderContinuous-v3", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1",
}  # fmt: skip
_KEY = ("vectorization",)  # the faulty key where nothing else is wrong
_NO_TIME_LIMIT = 2**31 - 1


def has_envpool() -> bool:
    """Whether envpool is installed; does not import it, which takes a second."""
    return importlib.util.find_spec("envpool") is not None


def is_faster_in_envpool(settings: EnvironmentSettings) -> bool:
    """Whether envpool is known to step this environment several times as fast as gymnasium."""
    is_plain = not (settings.wrappers or settings.module or settings.kwargs)
    return is_plain and settings.id in _FASTER


def check_envpool(settings: EnvironmentSettings, described: EnvironmentDescription) -> None:
    """Build a pool of one environment and compare it with gymnasium's.

    Args:
        settings: the environment.
        described: gymnasium's environment with these settings.

    Raises:
        EnvironmentBuildError: envpool is not installed, has no such environment, does not support
            the settings, or its environment has other spaces than gymnasium's.
    """
    if settings.wrappers or settings.module is not None:
        asked = "wrappers" if settings.wrappers else "module"
        message = f"envpool does not go with environment.{asked}; use auto or sync"
        raise EnvironmentBuildError(_KEY, message)
    pool = _make_pool(settings, described, seeds=[0], threads=1)
    for what, ours, theirs in (
        ("observations", described.observation_space, pool.observation_space),
        ("actions", described.action_space, pool.action_space),
    ):
        if not _is_same(ours, theirs, is_bounded=what == "actions"):
            found = f"envpool's {settings.id} has {what} {_one_line(theirs)}"
            message = f"{found}, gymnasium's {_one_line(ours)}; use auto or sync"
            raise EnvironmentBuildError(_KEY, message)


class EnvpoolReplicaEnvs:
    """A `ReplicaEnvs` of one pool, rebuilt at every reset: a pool takes seeds only when built.

    A replica's sub-environments are neighbours in the pool. Their episodes depend on their own
    seeds and actions only, not on other replicas.

    Args:
        settings: the environment.
        replicas: number of replicas.
        num_envs: sub-environments of each replica.
        threads: threads that step the pool.

    Raises:
        EnvironmentBuildError: as `check_envpool`.
    """

    def __init__(
        self, settings: EnvironmentSettings, *, replicas: int, num_envs: int, threads: int = 1
    ) -> None:
        self._settings, self._threads = settings, threads
        self._described = describe(settings)
        check_envpool(settings, self._described)
        self.single_observation_space = self._described.observation_space
        self.single_action_space = self._described.action_space
        self.num_envs = num_envs
        self._numbers = np.arange(replicas * num_envs, dtype=np.int32).reshape(replicas, num_envs)
        self._pool: Any = None

    def __len__(self) -> int:
        return len(self._numbers)

    def reset(self, seeds: Sequence[int]) -> Iterator[Array]:
        """Begin new episodes in every sub-environment, with one seed per replica."""
        spread = [np.random.SeedSequence(seed).generate_state(self.num_envs) for seed in seeds]
        self._pool = None  # ends the old pool's threads first
        self._pool = _make_pool(
            self._settings,
            self._described,
            seeds=(np.concatenate(spread) >> 1).tolist(),  # envpool takes 31 bits
            threads=self._threads,
        )
        return self._divide(self._pool.reset()[0], len(self))

    def step(
        self, actions: Array, replicas: Sequence[int]
    ) -> Iterator[tuple[Array, Array, Array, Array, Array]]:
        """Step the sub-environments of some replicas; the rewards are the environment's own."""
        which = slice(None) if len(replicas) == len(self) else list(replicas)
        chosen = actions[which]
        observations, rewards, terminated, truncated, _ = self._pool.step(
            chosen.reshape(-1, *chosen.shape[2:]), self._numbers[which].reshape(-1)
        )
        shape = len(replicas), self.num_envs
        return zip(
            self._divide(observations, len(replicas)),
            rewards.reshape(shape),
            terminated.reshape(shape),
            truncated.reshape(shape),
            rewards.reshape(shape),
            strict=True,
        )

    def close(self) -> None:
        """Drop the pool, which ends its threads."""
        self._pool = None

    def _divide(self, observations: Array, replicas: int) -> Iterator[Array]:
        shape = self.single_observation_space.shape or ()
        return iter(observations.reshape(replicas, self.num_envs, *shape))


def _make_pool(
    settings: EnvironmentSettings,
    described: EnvironmentDescription,
    *,
    seeds: list[int],
    threads: int,
) -> Any:
    try:
        envpool = importlib.import_module("envpool")
    except ImportError as error:
        message = f"envpool needs a package: {install_extra('envpool')} ({error})"
        raise EnvironmentBuildError(_KEY, message) from error
    known = envpool.list_all_envs()
    if settings.id not in known:
        hint = did_you_mean(settings.id, known, cutoff=0.7)
        raise EnvironmentBuildError(_KEY, f"envpool has no {settings.id}; use auto or sync{hint}")
    arguments = envpool.make_spec(settings.id).config._fields
    unknown = [name for name in settings.kwargs if name not in arguments]
    if unknown:
        lack = f"envpool's {settings.id} has no argument {show(unknown[0])}"
        raise EnvironmentBuildError(("kwargs",), f"{lack}; use vectorization: auto or sync")
    limit = described.max_episode_steps or _NO_TIME_LIMIT
    given_arguments = {**settings.arguments, "max_episode_steps": limit}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the precision of its spaces' bounds
            pool = envpool.make(
                settings.id,
                env_type="gymnasium",
                num_envs=len(seeds),
                num_threads=threads,
                seed=seeds,
                **given_arguments,
            )
            _ = pool.observation_space, pool.action_space  # built now and cached by the pool
    except Exception as error:  # envpool's simulators can raise anything
        given = f" with {show(dict(settings.kwargs))}" if settings.kwargs else ""
        message = f"envpool can't make {settings.id}{given}: {_one_line(error)}; use auto or sync"
        raise EnvironmentBuildError(("kwargs",) if settings.kwargs else _KEY, message) from error
    return pool


def _is_same(ours: Space[Any], theirs: Any, *, is_bounded: bool) -> bool:
    """Whether two spaces are interchangeable; bounds matter only for actions."""
    if not isinstance(ours, spaces.Box):
        return bool(ours == theirs)
    if not isinstance(theirs, spaces.Box) or ours.shape != theirs.shape:
        return False
    if ours.dtype.kind != theirs.dtype.kind:
        return False
    pairs = ((ours.low, theirs.low), (ours.high, theirs.high))
    return not is_bounded or all(np.allclose(one, other) for one, other in pairs)


def _one_line(thing: object) -> str:
    text = " ".join(veil(str(thing)).split())
    return text if len(text) <= 100 else f"{text[:99]}…"
