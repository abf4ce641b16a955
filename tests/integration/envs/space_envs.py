"""An environment with any spaces, which refuses an action outside of its space."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "float32": spaces.Box(-1, 1, (3,), np.float32),
    "float64": spaces.Box(-1, 1, (3,), np.float64),
    "float16": spaces.Box(-1, 1, (3,), np.float16),
    "bytes": spaces.Box(0, 255, (5,), np.uint8),
    "integers": spaces.Box(-9, 9, (3,), np.int64),
    "byte image": spaces.Box(0, 255, (10, 10, 3), np.uint8),
    "byte image, channels first": spaces.Box(0, 255, (3, 10, 10), np.uint8),
    "float image": spaces.Box(0, 1, (10, 10, 3), np.float32),
    "float image, channels first": spaces.Box(0, 1, (3, 10, 10), np.float32),
    "Discrete": spaces.Discrete(4),
    "Discrete from 3": spaces.Discrete(4, start=3),
    "MultiDiscrete": spaces.MultiDiscrete([2, 4]),
    "MultiDiscrete from 1": spaces.MultiDiscrete([2, 4], start=[1, -2]),
    "MultiBinary": spaces.MultiBinary(4),
    "MultiBinary of rank 2": spaces.MultiBinary([2, 3]),
    "Dict": spaces.Dict(
        {
            "image": spaces.Box(0, 255, (2, 4, 4), np.uint8),
            "float64": spaces.Box(-1, 1, (2,), np.float64),
            "number": spaces.Discrete(3, start=-1),
            "switches": spaces.MultiBinary(2),
            "pair": spaces.Tuple([spaces.MultiDiscrete([2, 2], start=[5, 0]), spaces.Discrete(2)]),
        }
    ),
    "Tuple": spaces.Tuple([spaces.Discrete(3, start=1), spaces.Box(0, 9, (2,), np.int32)]),
}
INF = np.inf
ACTIONS: dict[str, spaces.Space[Any]] = {
    "Discrete": spaces.Discrete(3),
    "Discrete from 1": spaces.Discrete(3, start=1),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiDiscrete from 1": spaces.MultiDiscrete([2, 3], start=[1, -1]),
    "MultiDiscrete of rank 2": spaces.MultiDiscrete([[2, 3], [2, 2]]),
    "float32": spaces.Box(-3, np.array([1, 2], np.float32)),
    "rank 0": spaces.Box(-2, 2, (), np.float32),
    "float64": spaces.Box(-0.1, 0.3, (2,), np.float64),
    "float16": spaces.Box(-0.1, 0.3, (2,), np.float16),
    "matrix": spaces.Box(-3, 1, (2, 3), np.float32),
    "huge": spaces.Box(-3e38, 3e38, (2,), np.float32),
    "unbounded": spaces.Box(-INF, INF, (2,), np.float32),
    "half bounded": spaces.Box(0, INF, (2,), np.float32),
    "each bounded otherwise": spaces.Box(
        np.array([-0.1, 0, -INF, -INF]), np.array([0.3, INF, 0, INF]), dtype=np.float64
    ),
}


class AnySpaces(gymnasium.Env):
    """Random observations, episodes of ``length`` steps; the reward is the action's sum."""

    def __init__(self, observations: str = "float32", actions: str = "Discrete", length: int = 8):
        self.observation_space, self.action_space = OBSERVATIONS[observations], ACTIONS[actions]
        self.length, self.steps = length, 0

    def _observe(self) -> Any:
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        return self.observation_space.sample()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def step(self, action: Any):
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        self.steps += 1
        reward = float(np.sum(action, dtype=np.float64))
        return self._observe(), reward, self.steps >= self.length, False, {}


gymnasium.register("AnySpaces-v0", entry_point=AnySpaces)
