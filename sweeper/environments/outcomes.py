"""Check what an environment returns, and keep the rewards that it gives below its wrappers.

Imports nothing of this package: RLlib's checkpoints contain these classes by value, and load
without it.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

__all__ = [
    "OWN_REWARD",
    "CheckedEnv",
    "EnvironmentFault",
    "NonFiniteFault",
    "RewardMeter",
    "SeededEpisodes",
    "check_reset",
    "check_step",
    "explain_unpacking",
    "find_leaves",
    "find_meter",
]

# The entry of a step's info that holds the rewards below the wrappers.
OWN_REWARD = "sweeper.own_reward"

_Space: TypeAlias = spaces.Space[Any]

_STEP_RULE = (
    "gymnasium expects observation, reward, terminated, truncated, info, where terminated and "
    "truncated are what used to be done"
)
_RESET_RULE = "gymnasium expects observation, info: return observation, {}"
_UNPACKING = re.compile(r"(not enough|too many) values to unpack \(expected (\d+)(, got (\d+))?\)")


class EnvironmentFault(ValueError):  # noqa: N818 - a fault of the environment, not an error of ours
    """What an environment returned breaks gymnasium's interface or its own spaces.

    The message says what was found and how to mend it. The attribute tells it from other errors
    where the class is a copy that was pickled by value.
    """

    is_environment_fault = True


class NonFiniteFault(EnvironmentFault):
    """A reward or an observation is NaN or infinite."""

    is_non_finite = True


class RewardMeter(gymnasium.Wrapper):  # type: ignore[misc]
    """Adds up the rewards of what it is put around: the environment, or one of its wrappers.

    Attributes:
        below: the next meter below.
        seen: where a list, every observation and every reward is appended.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.below = find_meter(env)
        self.seen: list[Any] | None = None
        self._sum, self._are_numbers = 0.0, True

    def __getattr__(self, name: str) -> Any:
        """Attributes of what is below: a wrapper may use those of the next one."""
        if name == "env":  # not set yet
            raise AttributeError(name)
        return getattr(self.env, name)

    def reset(self, **kwargs: Any) -> Any:
        """Begin an episode."""
        outcome = self.env.reset(**kwargs)
        if self.seen is not None and isinstance(outcome, tuple):
            self.seen.append(copy.deepcopy(outcome[0]))
        return outcome

    def step(self, action: Any) -> Any:
        """Step, and add the reward."""
        outcome = self.env.step(action)
        if not isinstance(outcome, tuple) or len(outcome) != 5:
            return outcome  # the checks above all wrappers say so
        if _explain_reward(outcome[1]) is None:
            self._sum += float(outcome[1])
        else:
            self._are_numbers = False
        if self.seen is not None:
            self.seen += copy.deepcopy(outcome[:2])
        return outcome

    def take(self) -> float | None:
        """The sum since the last call; a wrapper can take several steps in one of its own.

        Of the lowest level at which all rewards were numbers: below a wrapper that weighs several
        objectives they are vectors. None if there is no such level.
        """
        below = None if self.below is None else self.below.take()
        own = self._sum if self._are_numbers else None
        self._sum, self._are_numbers = 0.0, True
        return own if below is None else below


_PLAIN_NUMBERS = frozenset({float, int, np.float32, np.float64})
_PLAIN_BOOLS = frozenset({bool, np.bool_})


class CheckedEnv(gymnasium.Wrapper):  # type: ignore[misc]
    """Checks everything that the environment returns.

    With a `RewardMeter` below, the info of every step has `OWN_REWARD`.

    Args:
        env: the environment with all its wrappers.
        refuses_non_finite: whether NaN and infinity raise `NonFiniteFault`.

    Raises:
        EnvironmentFault: by `reset` and `step`, with the number of the step.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], *, refuses_non_finite: bool = False) -> None:
        super().__init__(env)
        self._meter = find_meter(env)
        self._refuses_non_finite = refuses_non_finite
        self._steps = 0
        space = self.observation_space
        self._box = space if isinstance(space, spaces.Box) else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin an episode."""
        try:
            outcome = _unpacked(self.env.reset, seed=seed, options=options)
            check_reset(outcome, self.observation_space)
            self._check_finite("reset()", outcome[0], 0.0)
        except EnvironmentFault as fault:
            place = f"after {self._steps:,} steps" if self._steps else "at the first call"
            raise type(fault)(f"{fault} ({place})") from None
        if self._meter is not None:
            self._meter.take()  # of steps that a wrapper takes in its reset
        return outcome

    def step(self, action: Any) -> Any:
        """Take a step."""
        self._steps += 1
        try:
            outcome = _unpacked(self.env.step, action)
            if not self._is_plain(outcome):
                check_step(outcome, self.observation_space)
                self._check_finite("step()", outcome[0], outcome[1])
        except EnvironmentFault as fault:
            raise type(fault)(f"{fault} (step {self._steps:,})") from None
        observation, reward, terminated, truncated, info = outcome
        # As a float and a dict, which all that comes above can handle.
        infos, reward = dict(info), float(reward)
        if self._meter is not None:
            infos[OWN_REWARD] = self._meter.take()
        return observation, reward, bool(terminated), bool(truncated), infos

    def _is_plain(self, outcome: Any) -> bool:
        """Whether an outcome is as nearly all are, so that no closer look is needed.

        The close look takes as long as a step of the classic tasks, this one a tenth of it.
        """
        box = self._box
        if box is None or type(outcome) is not tuple or len(outcome) != 5:
            return False
        observation, reward, terminated, truncated, info = outcome
        return (
            type(observation) is np.ndarray
            and observation.dtype == box.dtype
            and observation.shape == box.shape
            and type(reward) in _PLAIN_NUMBERS
            and type(terminated) in _PLAIN_BOOLS
            and type(truncated) in _PLAIN_BOOLS
            and type(info) is dict
            and math.isfinite(reward)
            and bool(np.isfinite(observation).all())
        )

    def _check_finite(self, method: str, observation: Any, reward: Any) -> None:
        if not self._refuses_non_finite:
            return
        if not math.isfinite(reward):
            raise NonFiniteFault(f"{method} returned a reward of {float(reward)}")
        if not _is_finite(self.observation_space, observation):
            raise NonFiniteFault(f"{method} returned an observation that is not finite")


def find_meter(env: gymnasium.Env[Any, Any]) -> RewardMeter | None:
    """The outermost `RewardMeter` of an environment."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, RewardMeter):
            return env
        env = env.env
    return None


class SeededEpisodes(gymnasium.Wrapper):  # type: ignore[misc]
    """Seeds every episode, so that which one comes does not depend on those before."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self._seed: int | None = None
        self._episode = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """Begin the episode of the seed, or the next one after it."""
        if seed is not None:
            self._seed, self._episode = seed, 0
        elif self._seed is not None:
            self._episode += 1
            words = np.random.SeedSequence([self._seed, self._episode]).generate_state(1)
            seed = int(words[0] >> 1)
        return self.env.reset(seed=seed, options=options)


def check_reset(outcome: Any, space: _Space) -> None:
    """Check what ``reset`` returned.

    Raises:
        EnvironmentFault: it is not an observation of the space and an info.
    """
    if not (isinstance(outcome, tuple) and len(outcome) == 2 and isinstance(outcome[1], Mapping)):
        raise EnvironmentFault(f"reset() returned {_describe(outcome)}; {_RESET_RULE}")
    _check_observation("reset()", outcome[0], space)


def check_step(outcome: Any, space: _Space) -> None:
    """Check what ``step`` returned.

    Raises:
        EnvironmentFault: it is not an observation of the space, a number as reward, two truth
            values and an info.
    """
    if not isinstance(outcome, tuple) or len(outcome) != 5:
        count = f"{len(outcome)} values" if isinstance(outcome, tuple) else _describe(outcome)
        raise EnvironmentFault(f"step() returned {count}; {_STEP_RULE}")
    _, reward, *ends, info = outcome
    problem = _explain_reward(reward)
    if problem is not None:
        raise EnvironmentFault(f"step() returned {problem}")
    for name, value in zip(("terminated", "truncated"), ends, strict=True):
        is_scalar = isinstance(value, int | np.integer) or _is_scalar(value, kinds="biu")
        if not (isinstance(value, bool | np.bool_) or (is_scalar and value in (0, 1))):
            raise EnvironmentFault(f"step() returned {_describe(value)} as {name}; must be a bool")
    if not isinstance(info, Mapping):
        raise EnvironmentFault(f"step() returned {_describe(info)} as info; must be a dict")
    _check_observation("step()", outcome[0], space)


def _explain_reward(reward: Any) -> str | None:
    """What is wrong with a reward; None if it is a number."""
    if isinstance(reward, Real | np.floating | np.integer | np.bool_):
        return None
    if _is_scalar(reward, kinds="fiub"):
        return None
    remedy = ""
    if getattr(reward, "size", 1) == 1 and hasattr(reward, "__float__"):
        remedy = "; return float(reward)"
    elif isinstance(reward, np.ndarray | list | tuple):
        remedy = "; a wrapper of your own can weigh several objectives"
    return f"{_describe(reward)} as reward; must be a number{remedy}"


def explain_unpacking(error: ValueError) -> str | None:
    """What step() or reset() returned, from the error of a wrapper that unpacked it."""
    found = _UNPACKING.search(str(error))
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if found is None or last is None:
        return None
    module, function = last.tb_frame.f_globals.get("__name__", ""), last.tb_frame.f_code.co_name
    if module.partition(".")[0] != "gymnasium" or function not in ("step", "reset"):
        return None
    number = found[4] or ("more" if found[1] == "too many" else "fewer")
    rule = _STEP_RULE if function == "step" else _RESET_RULE
    return f"{function}() returned {number} values; {rule}"


def _unpacked(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a method of an environment; a wrapper's failure to unpack is the environment's fault."""
    try:
        return method(*args, **kwargs)
    except ValueError as error:
        words = explain_unpacking(error)
        if words is None:
            raise
        raise EnvironmentFault(words) from error


def _check_observation(method: str, value: Any, space: _Space) -> None:
    for name, leaf, part in find_leaves(value, space, method):
        problem = _explain_leaf(part, leaf)
        if problem is not None:
            raise EnvironmentFault(f"the {name} of {method} {problem}")


def find_leaves(
    value: Any, space: _Space, method: str = "reset()", name: str = "observation"
) -> list[tuple[str, _Space, Any]]:
    """The parts of an observation: name, space and value.

    Raises:
        EnvironmentFault: the observation is not built like the space.
    """
    if isinstance(space, spaces.Dict):
        if not isinstance(value, Mapping):
            problem = f"the {name} of {method} is {_describe(value)}"
            raise EnvironmentFault(f"{problem}; the space is a Dict")
        missing = [key for key in space.spaces if key not in value]
        if missing:
            keys = ", ".join(map(repr, space.spaces))
            problem = f"the {name} of {method} lacks {missing[0]!r}"
            raise EnvironmentFault(f"{problem}; the space has {keys}")
        parts = [(f"{name}[{key!r}]", one, value[key]) for key, one in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple | list) or len(value) != len(space.spaces):
            problem = f"the {name} of {method} is {_describe(value)}"
            raise EnvironmentFault(f"{problem}; the space is a Tuple of {len(space.spaces)}")
        parts = [(f"{name}[{i}]", *pair) for i, pair in enumerate(zip(space, value, strict=True))]
    else:
        return [(name, space, value)]
    return [leaf for part, one, below in parts for leaf in find_leaves(below, one, method, part)]


def _explain_leaf(value: Any, space: _Space) -> str | None:
    """What is wrong with a part of an observation; None if its numbers can be used."""
    is_known = isinstance(
        space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    )
    if not is_known:
        is_outside = not space.contains(value)
        return f"is {_describe(value)}, outside {_short(space)}" if is_outside else None
    try:
        array = np.asarray(value)
    except ValueError:  # nested lists of unequal lengths
        return f"is {_describe(value)}; the space is {_short(space)}"
    if array.dtype.kind not in "fiub":
        return f"is {_describe(value)}; the space is {_short(space)}"
    if array.shape != (space.shape or ()):
        return f"has the shape {array.shape}; the space is {_short(space)}"
    if not _survives(array, space.dtype):
        return (
            f"is {_describe(value)}; the space is {_short(space)}, and a cast to {space.dtype} "
            "would change it: return what the space says, or declare what is returned"
        )
    if isinstance(space, spaces.Box) or space.contains(array.astype(space.dtype)):
        return None
    if isinstance(space, spaces.Discrete) and space.start <= int(array) < space.start + space.n:
        return None
    return f"is {_describe(value)}, outside {_short(space)}"


def _survives(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> bool:
    """Whether a cast keeps the values; between floats rounding is allowed."""
    if array.dtype == dtype or (array.dtype.kind == "f" and dtype.kind == "f"):
        return True
    with np.errstate(all="ignore"):
        return bool(np.array_equal(array.astype(dtype), array))


def _is_finite(space: _Space, value: Any) -> bool:
    arrays = (np.asarray(part) for _, _, part in find_leaves(value, space))
    return all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f")


def _is_scalar(value: Any, kinds: str) -> bool:
    return isinstance(value, np.ndarray) and value.shape == () and value.dtype.kind in kinds


def _describe(value: Any) -> str:
    if isinstance(value, str) and len(value) > 36:  # cut short, a secret would not be known
        return f"a text of {len(value)} characters"
    if value is None or isinstance(value, bool | int | float | str | np.generic):
        text = repr(value)
        return text if len(text) <= 40 else f"{text[:39]}…"
    if isinstance(value, np.ndarray):
        values = " ".join(np.array2string(value.ravel()[:4], precision=4, threshold=4).split())
        return f"an array of {value.dtype}, shape {value.shape}, {values}"
    size = f" of {len(value)}" if isinstance(value, tuple | list | Mapping) else ""
    return f"a {type(value).__name__}{size}"


def _short(space: _Space) -> str:
    if not type(space).__module__.startswith("gymnasium."):
        return f"a {type(space).__name__}"
    text = " ".join(str(space).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
