"""A cheap environment of images, so that a benchmark measures what is beside the simulator."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

__all__ = ["IMAGES_ID", "CheapImages"]

IMAGES_ID = "CheapImages-v0"
_SHAPE = 84, 84, 4
_IMAGES = 64
_STEPS = 200

Image = NDArray[np.uint8]


class CheapImages(gymnasium.Env[Image, np.int64]):
    """Stacks of four grey images, one of which is drawn in advance for each step.

    A bright square on dark noise says which of four actions is rewarded: that of its quarter.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, _SHAPE, np.uint8)
        self.action_space = spaces.Discrete(4)
        generator = np.random.default_rng(0)
        self._images = generator.integers(0, 40, size=(_IMAGES, *_SHAPE), dtype=np.uint8)
        for number, image in enumerate(self._images):
            row, column = generator.integers(0, 42 - 16, size=2)
            row += 42 * (number % 4 // 2)
            column += 42 * (number % 2)
            image[row : row + 16, column : column + 16] = 255
        self._order = np.zeros(_STEPS + 1, dtype=np.int64)
        self._step = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Image, dict[str, Any]]:
        """Begin an episode of 200 steps."""
        super().reset(seed=seed, options=options)
        self._order = self.np_random.integers(_IMAGES, size=_STEPS + 1)
        self._step = 0
        return self._images[self._order[0]], {}

    def step(self, action: np.int64) -> tuple[Image, float, bool, bool, dict[str, Any]]:
        """1 for the action that the image asks for, else 0."""
        reward = float(action == self._order[self._step] % 4)
        self._step += 1
        return self._images[self._order[self._step]], reward, self._step == _STEPS, False, {}


gymnasium.register(IMAGES_ID, entry_point=CheapImages)
