"""Build one vector environment per replica: its native version if registered, else a loop.

Every vector environment here follows gymnasium's NEXT_STEP autoreset: the step after an
episode's end ignores the action and returns the next episode's first observation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray

from sweeper.environments.containment import USER_ERRORS, close_quietly
from sweeper.environments.instances import build_in_processes, build_side_by_side
from sweeper.environments.modules import summarise
from sweeper.environments.outcomes import (
    OWN_REWARD,
    EnvironmentFault,
    check_reset,
    check_step,
    explain_unpacking,
    find_meter,
)
from sweeper.environments.registry import find_spec, register
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.veil import veil

__all__ = [
    "build_vector_env",
    "choose_vectorization",
    "explain_native",
    "has_native_vector_env",
]


_BOOLS = frozenset((bool, np.bool_))
_NOTHING = object()  # stands for what a step that failed has not returned


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

    Only gymnasium's own native version is chosen without being asked for: another package's can
    be another task. The one of ale_py stacks frames and takes other arguments.

    Args:
        settings: of the environment.
        num_envs: environments of one replica.
        min_native_envs: with fewer, gymnasium's native ones are not chosen.
    """
    if settings.vectorization != "auto":
        return settings.vectorization
    is_chosen = num_envs >= min_native_envs and has_native_vector_env(settings)
    return "vector_entry_point" if is_chosen and _is_gymnasiums(settings) else "sync"


def explain_native(
    settings: EnvironmentSettings, observation: spaces.Space[Any], action: spaces.Space[Any]
) -> str | None:
    """Why the native version can't stand for the environment; None if it can.

    Args:
        settings: of the environment, which has a native version.
        observation: the environment's observation space.
        action: the environment's action space.
    """
    remedy = "use auto, sync or async"
    try:
        envs = _make_native(settings, 1)
    except USER_ERRORS as error:
        return f"the vector version of {settings.id} can't be built: {summarise(error)}; {remedy}"
    pairs = {
        "observation": (observation, envs.single_observation_space),
        "action": (action, envs.single_action_space),
    }
    close_quietly(envs.close)
    for name, (own, other) in pairs.items():
        if own != other:
            text = " ".join(veil(str(other)).split())
            return (
                f"the vector version of {settings.id} has another {name} space, {text}, than the "
                f"environment itself; {remedy}"
            )
    return None


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
    envs = _make_native(settings, num_envs)
    mode = envs.metadata.get("autoreset_mode")
    if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.NEXT_STEP.value):
        close_quietly(envs.close)
        raise UserError(
            f"the vector environment of {settings.id} does not say that it resets at the next "
            f"step (its metadata's autoreset_mode is {mode}); use vectorization: sync"
        )
    if isinstance(envs.action_space, spaces.MultiDiscrete):
        envs.action_space = _Unchecked(envs.action_space.nvec, start=envs.action_space.start)
    return envs


def _make_native(settings: EnvironmentSettings, num_envs: int) -> VectorEnv:
    return gymnasium.make_vec(
        _find_spec(settings).id,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        **settings.arguments,
    )


class SerialVectorEnv(SyncVectorEnv):  # type: ignore[misc]
    """Gymnasium's `SyncVectorEnv` with half of its overhead, which checks what is returned.

    Returns observations in one buffer that the next step overwrites; callers copy what they keep.
    With wrappers, the info has `OWN_REWARD`, ``float64[envs]``; otherwise it is empty.

    Numpy's own errors and the batch's dtypes show that something is wrong; only then are the
    values looked at one by one, so the checks take next to no time.

    Raises:
        EnvironmentFault: by `reset` and `step`: an environment returned what it must not.
    """

    def __init__(self, functions: Sequence[functools.partial[gymnasium.Env]]) -> None:
        super().__init__(functions, copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
        self._has_ended = [False] * self.num_envs
        space = self.single_observation_space
        self._seen = create_empty_array(space, self.num_envs)
        # All observations behind each other, into which they are written at once.
        is_array = isinstance(space, spaces.Box) and space.shape
        self._rows = self._seen.reshape(-1, *space.shape[1:]) if is_array else None
        self._meters = [meter for env in self.envs if (meter := find_meter(env)) is not None]
        self._steps = 0
        self._resets = [0] * self.num_envs

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode in every sub-environment, seeded as gymnasium does."""
        self._has_ended = [False] * self.num_envs
        seen = [
            self._reset(i, seed=None if seed is None else seed + i, options=options)
            for i in range(self.num_envs)
        ]
        return self._join(seen, resets=range(self.num_envs)), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step every sub-environment; one whose episode has ended is reset instead."""
        seen: list[Any] = []
        rewards: list[Any] = []
        resets: list[int] = []
        terminated, truncated = np.zeros((2, self.num_envs), dtype=np.bool_)
        has_ended = self._has_ended
        self._steps += 1
        for i, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            if has_ended[i]:
                seen.append(self._reset(i))
                rewards.append(0.0)
                resets.append(i)
                self._resets[i] += 1
                has_ended[i] = False
                continue
            outcome = _NOTHING
            try:
                outcome = env.step(action)
                observation, reward, is_terminal, is_cut, info = outcome
            except (TypeError, ValueError) as error:
                self._blame(i, check_step, outcome, error)
                raise
            if (
                info.__class__ is not dict
                or is_terminal.__class__ not in _BOOLS
                or is_cut.__class__ not in _BOOLS
            ):
                self._blame(i, check_step, outcome)
            seen.append(observation)
            rewards.append(reward)
            if is_terminal or is_cut:
                terminated[i], truncated[i] = is_terminal, is_cut
                has_ended[i] = True
        numbers = _to_numbers(rewards)
        if numbers is None:
            self._blame_one(seen, resets, rewards)
            numbers = np.array([float(reward) for reward in rewards])  # e.g. large integers
        infos = {}
        if self._meters:
            infos[OWN_REWARD] = np.array([meter.take() for meter in self._meters])
        return self._join(seen, resets), numbers, terminated, truncated, infos

    def _reset(self, i: int, **arguments: Any) -> Any:
        outcome: Any = _NOTHING
        try:
            outcome = self.envs[i].reset(**arguments)
            observation, info = outcome
        except (TypeError, ValueError) as error:
            self._blame(i, check_reset, outcome, error)
            raise
        if info.__class__ is not dict:
            self._blame(i, check_reset, outcome)
        if self._meters:
            self._meters[i].take()  # of steps that a wrapper takes in its reset
        return observation

    def _join(self, seen: list[Any], resets: Sequence[int]) -> Any:
        """Write the observations into the buffer of the batch."""
        space, buffer = self.single_observation_space, self._seen
        try:
            if self._rows is not None:
                # Unlike an assignment, it neither broadcasts nor makes integers of floats.
                np.concatenate(seen, out=self._rows, casting="same_kind")
                return buffer
            if isinstance(space, spaces.Discrete):
                self._seen = batch = np.array(seen)
                # Python's own min is faster than numpy's on a few numbers.
                is_inside = min(seen) >= space.start and max(seen) < space.start + space.n
                is_right = is_inside and batch.dtype.kind in "iu" and batch.ndim == 1
            else:
                self._seen = concatenate(space, seen, buffer)
                is_right = _are_inside(space, self._seen)
        except (TypeError, ValueError, KeyError, IndexError):
            is_right = False
        if not is_right:
            self._blame_one(seen, resets)
            # Nothing is lost: e.g. a list of integers, or an array of them, for bytes.
            self._seen = concatenate(space, [_cast(space, one) for one in seen], buffer)
        return self._seen

    def _blame_one(
        self, seen: Sequence[Any], resets: Sequence[int], rewards: Sequence[Any] | None = None
    ) -> None:
        """Find the sub-environment that returned what it must not, if one did."""
        for i, observation in enumerate(seen):
            if i in resets:
                self._blame(i, check_reset, (observation, {}))
            else:
                reward = 0.0 if rewards is None else rewards[i]
                self._blame(i, check_step, (observation, reward, False, False, {}))

    def _blame(
        self,
        i: int,
        check: Callable[[Any, spaces.Space[Any]], None],
        outcome: Any,
        error: Exception | None = None,
    ) -> None:
        """Raise what the check of an outcome says, or what an error says about the outcome."""
        words = explain_unpacking(error) if isinstance(error, ValueError) else None
        try:
            if words is not None:
                raise EnvironmentFault(words)
            if outcome is not _NOTHING:
                check(outcome, self.single_observation_space)
        except EnvironmentFault as fault:
            which = f" of sub-environment {i}" if self.num_envs > 1 else ""
            step = self._steps - self._resets[i]
            raise EnvironmentFault(f"{fault} (step {step:,}{which})") from error


def _to_numbers(rewards: list[Any]) -> NDArray[np.float64] | None:
    """``float64[envs]``, or None if one is no number."""
    try:
        array = np.array(rewards)
    except ValueError:  # of unequal shapes
        return None
    if array.dtype == np.float64 and array.ndim == 1:
        return array
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        return None
    return array.astype(np.float64)


def _are_inside(space: spaces.Space[Any], batch: Any) -> bool:
    """Whether the integers of a batch lie in their spaces."""
    match space:
        case spaces.Dict():
            return all(_are_inside(part, batch[key]) for key, part in space.spaces.items())
        case spaces.Tuple():
            return all(_are_inside(part, one) for part, one in zip(space, batch, strict=True))
        case spaces.Discrete():
            last = space.start + space.n - 1
            return bool(
                batch.dtype.kind in "iu" and (space.start <= batch.min() <= batch.max() <= last)
            )
        case spaces.MultiDiscrete():
            counted = batch - space.start
            return bool((counted >= 0).all() and (counted < space.nvec).all())
    return True


def _cast(space: spaces.Space[Any], value: Any) -> Any:
    match space:
        case spaces.Dict():
            return {key: _cast(part, value[key]) for key, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_cast(part, one) for part, one in zip(space, value, strict=True))
    return np.asarray(value).astype(space.dtype)


class _Unchecked(spaces.MultiDiscrete):  # type: ignore[misc]
    """A batched action space that skips the check which native environments make at every step.

    The actions are drawn from the space itself, and the check takes a third of a CartPole step.
    """

    def contains(self, x: Any) -> bool:  # noqa: ARG002
        """Always True."""
        return True


def _is_gymnasiums(settings: EnvironmentSettings) -> bool:
    return str(_find_spec(settings).vector_entry_point).startswith("gymnasium.envs.")


def _find_spec(settings: EnvironmentSettings) -> gymnasium.envs.registration.EnvSpec:
    register(settings)
    return find_spec(settings.id)
