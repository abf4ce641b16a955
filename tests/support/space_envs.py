"""An environment with any spaces and any length, which refuses an action outside of its space."""

from __future__ import annotations

import zlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

INF = np.inf
OBSERVATIONS: dict[str, spaces.Space[Any]] = {
    "float32": spaces.Box(-1, 1, (3,), np.float32),
    "float64": spaces.Box(-1, 1, (3,), np.float64),
    "float16": spaces.Box(-1, 1, (3,), np.float16),
    "bytes": spaces.Box(0, 255, (5,), np.uint8),
    "small integers": spaces.Box(-9, 9, (3,), np.int8),
    "integers": spaces.Box(-9, 9, (3,), np.int64),
    "counts": spaces.Box(0, 400, (3,), np.uint16),
    "a number": spaces.Box(-1, 1, (), np.float32),
    "unbounded": spaces.Box(-INF, INF, (3,), np.float32),
    "each bounded otherwise": spaces.Box(
        np.array([-0.1, 0, -INF, -INF]), np.array([0.3, INF, 0, INF]), dtype=np.float64
    ),
    "byte image": spaces.Box(0, 255, (10, 10, 3), np.uint8),
    "byte image, channels first": spaces.Box(0, 255, (3, 10, 10), np.uint8),
    "float image": spaces.Box(0, 1, (10, 10, 3), np.float32),
    "float image, channels first": spaces.Box(0, 1, (3, 10, 10), np.float32),
    "Discrete": spaces.Discrete(4),
    "Discrete from 3": spaces.Discrete(4, start=3),
    "Discrete from -2, int32": spaces.Discrete(4, start=-2, dtype=np.int32),
    "Discrete from 9": spaces.Discrete(4, start=9),
    "MultiDiscrete": spaces.MultiDiscrete([2, 4]),
    "MultiDiscrete from 9": spaces.MultiDiscrete([2, 4], start=[9, 9]),
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
    "Dict in an order of its own": spaces.Dict(
        [
            ("z", spaces.Discrete(3, start=1)),
            ("a", spaces.Box(-1, 1, (2, 2), np.float32)),
            ("m", spaces.Dict({"y": spaces.Discrete(2), "b": spaces.Box(0, 9, (), np.int32)})),
        ]
    ),
    "Tuple": spaces.Tuple([spaces.Discrete(3, start=1), spaces.Box(0, 9, (2,), np.int32)]),
    "Tuple of a Dict": spaces.Tuple(
        [
            spaces.Dict({"b": spaces.MultiDiscrete([3, 2]), "a": spaces.Discrete(2)}),
            spaces.Box(-INF, INF, (2,), np.float64),
        ]
    ),
    # Refused by the plan.
    "matrix": spaces.Box(-1, 1, (2, 3), np.float32),
    "image without filters": spaces.Box(0, 255, (20, 5, 3), np.uint8),
    "stack of images": spaces.Box(0, 255, (4, 10, 10, 3), np.uint8),
    "MultiDiscrete of rank 2": spaces.MultiDiscrete([[2, 3], [2, 2]]),
    "Text": spaces.Text(5),
    "Dict with Text": spaces.Dict({"words": spaces.Text(5), "place": spaces.Discrete(3)}),
    "Sequence": spaces.Sequence(spaces.Discrete(3)),
    "Graph": spaces.Graph(spaces.Box(-1, 1, (2,)), None),
    "OneOf": spaces.OneOf([spaces.Discrete(3), spaces.Box(-1, 1, (2,))]),
}
ACTIONS: dict[str, spaces.Space[Any]] = {
    "Discrete": spaces.Discrete(3),
    "Discrete from 1": spaces.Discrete(3, start=1),
    "Discrete from -2, int32": spaces.Discrete(3, start=-2, dtype=np.int32),
    "only one choice": spaces.Discrete(1, start=7),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiDiscrete from 1": spaces.MultiDiscrete([2, 3], start=[1, -1]),
    "float32": spaces.Box(-3, np.array([1, 2], np.float32)),
    "rank 0": spaces.Box(-2, 2, (), np.float32),
    "float64": spaces.Box(-0.1, 0.3, (2,), np.float64),
    "float16": spaces.Box(-0.1, 0.3, (2,), np.float16),
    "huge": spaces.Box(-3e38, 3e38, (2,), np.float32),
    "unbounded": spaces.Box(-INF, INF, (2,), np.float32),
    "half bounded": spaces.Box(0, INF, (2,), np.float32),
    "each bounded otherwise": spaces.Box(
        np.array([-0.1, 0, -INF, -INF]), np.array([0.3, INF, 0, INF]), dtype=np.float64
    ),
    "one fixed": spaces.Box(np.float32([-1, 2]), np.float32([1, 2])),
    # Refused by the plan.
    "matrix": spaces.Box(-3, 1, (2, 3), np.float32),
    "MultiDiscrete of rank 2": spaces.MultiDiscrete([[2, 3], [2, 2]]),
    "integers": spaces.Box(-3, 3, (2,), np.int64),
    "MultiBinary": spaces.MultiBinary(3),
    "Dict": spaces.Dict({"go": spaces.Discrete(2), "where": spaces.Box(-1, 1, (2,))}),
    "Tuple": spaces.Tuple([spaces.Discrete(2), spaces.Discrete(3)]),
}


class AnySpaces(gymnasium.Env):
    """What it shows and pays follows from the seed and the actions.

    Args:
        observations: a key of `OBSERVATIONS`.
        actions: a key of `ACTIONS`.
        length: steps of an episode; ``varied``: each has another length, and every second one is
            truncated; ``endless``: none ends.
    """

    def __init__(
        self,
        observations: str = "float32",
        actions: str = "Discrete",
        length: int | str = 8,
    ) -> None:
        self.observation_space, self.action_space = OBSERVATIONS[observations], ACTIONS[actions]
        self._length, self._state, self._steps, self._end = length, 0, 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._state, self._steps = int(self.np_random.integers(2**31)), 0
        varied = 1 + self._state % 9
        self._end = {"varied": varied, "endless": INF}.get(self._length, self._length)
        return self._observe(), {}

    def step(self, action: Any):
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        self._steps += 1
        is_box, shown = isinstance(self.action_space, spaces.Box), np.asarray(action).tolist()
        # Without numbers: a last bit of theirs would change all that follows.
        self._state = zlib.crc32(repr((self._state, None if is_box else shown)).encode())
        reward = self._state % 5 - 2.0
        if is_box:
            reward += float(np.tanh(np.mean(action, dtype=np.float64)))
        is_over = self._steps >= self._end
        is_cut = self._length == "varied" and self._end % 2 == 0
        return self._observe(), reward, is_over and not is_cut, is_over and is_cut, {}

    def _observe(self) -> Any:
        self.observation_space.seed(self._state % 2**31)
        return self.observation_space.sample()


gymnasium.register("AnySpaces-v0", entry_point=AnySpaces)
