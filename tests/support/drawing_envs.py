"""An environment that draws itself, right or wrong, and some that can't."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled

_NO_PYGAME = 'pygame is not installed, run `pip install "gymnasium[classic-control]"`'


class _Walk(gymnasium.Env):
    """Step by step to the right; each step earns its number, and the seed says where it starts."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    length = 12

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.start = 0, int(self.np_random.integers(5))
        return self._observe(), {}

    def step(self, action):
        self.steps += 1
        return self._observe(), self.steps + 0.25, self.steps >= self.length, False, {}

    def _observe(self):
        return np.float32([self.steps / 1e6, self.start / 5])


class Kaleidoscope(_Walk):
    """Draws a square that walks; the other arguments spoil that.

    Args:
        kind: what `render` returns, or does.
        size: of a frame, width and height.
        length: of an episode.
        fps: in the metadata.
        after: from this step on `kind` counts; frames of before are right.
        note: a file to which the memory in use is written, in bytes, a line every 50 steps.
    """

    metadata: ClassVar = {"render_modes": ["human", "rgb_array"], "render_fps": 30}

    def __init__(
        self,
        kind="right",
        size=(100, 60),
        length=12,
        fps=30,
        after=0,
        note=None,
        render_mode=None,
    ):
        self.metadata = {**self.metadata, "render_fps": fps}
        self.render_mode, self._kind, self._after, self._note = render_mode, kind, after, note
        self._canvas = np.zeros((size[1], size[0], 3), np.uint8)
        self.length = length
        if kind == "no pygame at first" and render_mode:
            raise DependencyNotInstalled(_NO_PYGAME)
        if kind == "fails at first" and render_mode:
            raise RuntimeError("no light")

    def reset(self, *, seed=None, options=None):
        if self._kind == "moves":
            os.chdir("/")
        return super().reset(seed=seed)

    def render(self):
        if self._note and self.steps % 50 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            with Path(self._note).open("a") as stream:
                stream.write(f"{pages * os.sysconf('SC_PAGE_SIZE')}\n")
        frame = self._draw()
        return frame if self.steps < self._after else self._spoil(frame)

    def _draw(self):
        canvas = self._canvas
        canvas[:] = (10, 200, 30 + 20 * self.start)
        left = (self.start + self.steps) % (canvas.shape[1] - 4)
        canvas[1:5, left : left + 4] = (250, 20 * (self.steps % 12), 0)
        return canvas if self._kind == "one array" else canvas.copy()

    def _spoil(self, frame):
        match self._kind:
            case "nothing":
                return None
            case "text":
                return "a drawing"
            case "list":
                return [frame]
            case "fractions":
                return frame / 255
            case "floats":
                return frame.astype(np.float32)
            case "transparent":
                return np.concatenate([frame, frame[..., :1]], axis=2)
            case "grey":
                return frame[..., 0]
            case "one channel":
                return frame[..., :1]
            case "channels first":
                return frame.transpose(2, 0, 1)
            case "empty":
                return frame[:0]
            case "grows":
                return frame.repeat(2, axis=0)
            case "no pygame":
                raise DependencyNotInstalled(_NO_PYGAME)
            case "fails":
                raise RuntimeError("no paint")
            case "interrupted":
                os.kill(os.getpid(), signal.SIGINT)
        return frame


class Woodblock(_Walk):
    """Takes no render_mode."""

    def __init__(self, ink=3):
        self.ink = ink


class Inkwell(_Walk):
    """Has no constructor at all."""


class Marionette(_Walk):
    """Draws for people alone."""

    metadata: ClassVar = {"render_modes": ["human", "ansi"], "render_fps": 4}

    def __init__(self, render_mode=None):
        assert render_mode in (None, "human", "ansi")


class Lantern(_Walk):
    """Draws, and does not say so."""

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def render(self):
        return np.zeros((40, 40, 3), np.uint8)


for _env in (Kaleidoscope, Woodblock, Inkwell, Marionette, Lantern):
    gymnasium.register(f"{_env.__name__}-v0", _env)
