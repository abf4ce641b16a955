"""One picture in the layouts that environments and wrappers give."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SIDE = 10  # RLlib's and our smallest image with default filters


class Panels(gym.Env):
    """The reward is 1 if the action is the brighter half, which only one channel shows.

    Args:
        layout: ``hwc``, ``chw``, ``hw`` or, as a stack of four colour images, ``shwc``.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, layout="chw", dtype="uint8"):
        self._layout = layout
        shape = {"hwc": (SIDE, SIDE, 3), "chw": (3, SIDE, SIDE), "hw": (SIDE, SIDE)}
        shape = shape.get(layout, (4, SIDE, SIDE, 3))
        self.observation_space = spaces.Box(0, 255, shape, np.dtype(dtype).type)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._draw(), {}

    def step(self, action):
        reward = float(action == self._side)
        self._steps += 1
        return self._draw(), reward, False, self._steps == 5, {}

    def _draw(self):
        self._side = int(self.np_random.integers(2))
        picture = np.zeros((SIDE, SIDE, 3))
        picture[:, 5 * self._side : 5 * self._side + 5, 1] = 3
        laid_out = {
            "hwc": picture,
            "chw": np.moveaxis(picture, -1, 0),
            "hw": picture[:, :, 1],
            "shwc": np.stack([picture] * 4),
        }
        return laid_out[self._layout].astype(self.observation_space.dtype)


gym.register("image_tasks/Panels-v0", entry_point=Panels)
