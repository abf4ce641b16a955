"""Environments that return what they must not, from the first step or from a later one."""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
BYTES = spaces.Box(0, 255, (3,), np.uint8)
NESTED = spaces.Dict({"place": spaces.Discrete(4, start=1), "view": VECTOR})

# What `step` returns in the place of an observation, a reward or the whole: name, space, wrong
# value, words of the message.
WRONG_OBSERVATIONS = [
    ("shorter", VECTOR, np.zeros(1, np.float32), r"shape \(1,\)"),
    ("longer", VECTOR, np.zeros(4, np.float32), r"shape \(4,\)"),
    ("of another rank", VECTOR, np.zeros((3, 1), np.float32), r"shape \(3, 1\)"),
    ("a number", VECTOR, 0.5, r"shape \(\)"),
    ("nothing", VECTOR, None, "is None"),
    ("text", VECTOR, "up", "is 'up'"),
    ("ragged", VECTOR, [0.0, [1.0], 2.0], "a list of 3"),
    ("fractions for bytes", BYTES, np.array([0.5, 0.2, 1.0]), "a cast to uint8 would change it"),
    ("negative for bytes", BYTES, np.array([-1, 2, 3]), "a cast to uint8 would change it"),
    ("beyond the choices", spaces.Discrete(4), 4, r"is 4, outside Discrete\(4\)"),
    ("before the choices", spaces.Discrete(4, start=1), 0, "is 0, outside"),
    ("a fraction for a choice", spaces.Discrete(4), 1.5, "is 1.5"),
    ("beyond one choice", spaces.MultiDiscrete([2, 3]), np.array([1, 3]), "outside MultiDiscrete"),
    ("a missing key", NESTED, {"place": 1}, "lacks 'view'"),
    ("no mapping", NESTED, 1, "the space is a Dict"),
    (
        "wrong inside",
        NESTED,
        {"place": 5, "view": np.zeros(3, np.float32)},
        r"\['place'\] of .* is 5",
    ),
    ("a short tuple", spaces.Tuple([VECTOR, VECTOR]), (np.zeros(3, np.float32),), "Tuple of 2"),
]
WRONG_REWARDS = [
    ("nothing", None, "None as reward"),
    ("text", "3", "'3' as reward"),
    ("an array", np.array([1.0]), r"shape \(1,\).*float\(reward\)"),
    ("two", np.array([1.0, 2.0]), r"shape \(2,\)"),
    ("complex", 1j, "reward"),
]
# As whole results of `step`.
WRONG_RESULTS = [
    ("old", (np.zeros(3, np.float32), 1.0, False, {}), "4 values.*terminated"),
    ("too long", (np.zeros(3, np.float32), 1.0, False, False, {}, 1), "6 values"),
    ("no tuple", np.zeros(3, np.float32), "step"),
    ("no info", (np.zeros(3, np.float32), 1.0, False, False, None), "None as info"),
    ("only an observation", None, "step"),
]


class WrongEnv(gymnasium.Env):
    """Right until step `after` of its life; then `wrong` is what `step` returns, or a part of it.

    Args:
        space: of the observations.
        part: ``observation``, ``reward`` or ``result``.
        after: 0: also `reset` returns a wrong observation.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, space=VECTOR, part="observation", wrong=None, after=5):
        self.observation_space, self._part = space, part
        self._wrong, self._left = wrong, after
        self._right = np.asarray(0.0)
        space.seed(0)
        self._right = space.sample()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        is_wrong = self._left <= 0 and self._part == "observation"
        return (self._wrong if is_wrong else self._right), {}

    def step(self, action):
        self._left -= 1
        self._steps += 1
        result = [self._right, 1.0, False, self._steps >= 20, {}]
        if self._left > 0:
            return tuple(result)
        if self._part == "result":
            return self._wrong
        result[["observation", "reward"].index(self._part)] = self._wrong
        return tuple(result)


gymnasium.register("WrongEnv-v0", WrongEnv)
