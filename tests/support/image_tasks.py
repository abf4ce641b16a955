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


class Catch(gym.Env):
    """A ball falls through a grey image of 10 x 10, bouncing off the walls; a paddle catches it.

    Ten balls an episode, 1 for each that is caught and -1 for each that is missed, so that the best
    return is 10. Which way a ball moves sideways shows in two images only.
    """

    observation_space = spaces.Box(0, 255, (SIDE, SIDE), np.uint8)
    action_space = spaces.Discrete(3)  # left, stay, right

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._paddle, self._balls = SIDE // 2, 0
        self._drop()
        return self._draw(), {}

    def _drop(self):
        self._row, self._column = 0, int(self.np_random.integers(SIDE))
        self._aside = int(self.np_random.choice([-1, 1]))

    def step(self, action):
        self._paddle = int(np.clip(self._paddle + int(action) - 1, 0, SIDE - 1))
        self._row += 1
        if not 0 <= self._column + self._aside < SIDE:
            self._aside = -self._aside
        self._column += self._aside
        reward = 0.0
        if self._row == SIDE - 1:
            reward = 1.0 if abs(self._column - self._paddle) <= 1 else -1.0
            self._balls += 1
            self._drop()
        return self._draw(), reward, self._balls == 10, False, {}

    def _draw(self):
        picture = np.zeros((SIDE, SIDE), np.uint8)
        picture[self._row, self._column] = 255
        picture[-1, self._paddle] = 128
        return picture


gym.register("image_tasks/Catch-v0", entry_point=Catch)
