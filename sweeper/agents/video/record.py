"""Film whole episodes."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.agents.episodes import Player, Step, Tally, walk_episodes
from sweeper.agents.outputs import check_output, writing, written_whole
from sweeper.agents.video.gif import GifWriter
from sweeper.agents.video.mp4 import Mp4Writer, find_ffmpeg
from sweeper.agents.video.pictures import MIN_WIDTH, Painter
from sweeper.agents.video.rendering import Camera, open_rendering, without_display
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.formatting import count_noun, format_number

__all__ = ["Video", "VideoSettings", "check_video", "record_video"]

_logger = logging.getLogger(__name__)

# Viewers show a GIF's picture for a tenth of a second where its delay is below two hundredths;
# screens show 60 pictures a second.
_MAX_FPS = {".gif": 50.0, ".mp4": 60.0}
_FPS_RANGE = (0.1, 1000.0)
_MAX_WIDTH = 3840
_HELD_S = 0.5


@dataclass(frozen=True)
class VideoSettings:
    """How a video looks.

    Attributes:
        file: its ending says the format, ``.gif`` or ``.mp4``.
        title: who plays, in parts such as ``("champion t0003", "seed 7")``.
        fps: frames a second of the environment; None: as it says itself. Above what viewers can
            show, frames are left out.
        width: of the pictures, in pixels; None: the frames', at most 600 and at least 80.
    """

    file: Path
    title: tuple[str, ...] = ()
    fps: float | None = None
    width: int | None = None


@dataclass(frozen=True)
class Video:
    """What was filmed.

    Attributes:
        file: absolute.
        returns: one per episode, in the rewards below all wrappers.
        lengths: the same, in env steps.
        frames: pictures in the file.
        fps: pictures a second.
        duration_s: of the whole.
        width: of a picture, in pixels.
        height: the same.
    """

    file: Path
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    frames: int
    fps: float
    duration_s: float
    width: int
    height: int

    def to_json(self) -> dict[str, Any]:
        """The object that ``sweeper video --json`` prints."""
        return {
            "file": str(self.file),
            "format": self.file.suffix.lower().lstrip("."),
            "episodes": len(self.returns),
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "frames": self.frames,
            "fps": round(self.fps, 3),
            "duration_s": round(self.duration_s, 3),
            "width": self.width,
            "height": self.height,
        }


def check_video(settings: VideoSettings) -> None:
    """Check that a video can be written before anything is played.

    Raises:
        UserError: the file has another ending, or its folder is not there; an MP4 is wanted and
            there is no ffmpeg; the frame rate or the width is out of range.
    """
    check_output(settings.file, tuple(_MAX_FPS))
    fps, width = settings.fps, settings.width
    if fps is not None and not _FPS_RANGE[0] <= fps <= _FPS_RANGE[1]:
        least, most = map(format_number, _FPS_RANGE)
        raise UserError(f"fps is {fps}; it must be a number from {least} to {most}")
    if width is not None and not MIN_WIDTH <= width <= _MAX_WIDTH:
        raise UserError(f"width is {width}; it must be from {MIN_WIDTH} to {_MAX_WIDTH} pixels")
    if settings.file.suffix.lower() == ".mp4":
        find_ffmpeg()


def record_video(
    player: Player,
    environment: EnvironmentSettings,
    settings: VideoSettings,
    *,
    episodes: int,
    seed: int,
    max_episode_steps: int | None = None,
    generator: np.random.Generator | None = None,
    say: Callable[[str], None] = _logger.info,
) -> Video:
    """Film episodes one after the other; what is held in memory does not grow with their length.

    Above each frame stand who plays, the episode, and the return so far. The last frame has the
    final return, and stays for half a second.

    Args:
        player: acts.
        environment: whose code is trusted.
        settings: how the video looks.
        episodes: how many.
        seed: which; those of `play_episodes`.
        max_episode_steps: an episode is cut after so many steps; None: by the environment only.
        generator: actions are sampled with it; None: they are greedy.
        say: receives a line after each episode.

    Raises:
        UserError: the environment can't draw itself, or returned what it must not, or the video
            can't be written.
    """
    check_video(settings)
    is_gif = settings.file.suffix.lower() == ".gif"
    rendering = open_rendering(environment)
    fps = settings.fps or rendering.fps
    every = max(1, math.ceil(fps / _MAX_FPS[settings.file.suffix.lower()] - 1e-9))
    painter = Painter(
        rendering.shape, settings.title, episodes, settings.width, multiple=1 if is_gif else 2
    )
    steps = walk_episodes(
        player,
        rendering.settings,
        episodes=episodes,
        seed=seed,
        max_episode_steps=max_episode_steps,
        generator=generator,
        camera=Camera(every, rendering.shape),
    )
    place = settings.file.absolute()  # an environment may change the working directory
    with (
        without_display(),
        contextlib.closing(steps),
        written_whole(place) as file,
        _open_writer(file, place, painter.size, fps / every, is_gif=is_gif) as writer,
    ):
        film = _Film(painter, writer, place, every / fps, episodes, say)
        for step in steps:
            film.add(step)
    counted = (tuple(film.tally.returns), tuple(film.tally.lengths), writer.frames)
    return Video(place, *counted, fps / every, writer.duration_s, *painter.size)


@contextlib.contextmanager
def _open_writer(
    file: Path, place: Path, size: tuple[int, int], fps: float, *, is_gif: bool
) -> Iterator[GifWriter | Mp4Writer]:
    """Open a file that is told of by the name of its place; errors of the block are not its."""
    with writing(place):
        writer = GifWriter(file, size) if is_gif else Mp4Writer(file, size, fps)
    try:
        yield writer
    except BaseException:
        writer.__exit__(*sys.exc_info())
        raise
    with writing(place):
        writer.__exit__(None, None, None)


@dataclass
class _Film:
    """Turns steps into pictures, and counts what the episodes come to."""

    painter: Painter
    writer: GifWriter | Mp4Writer
    place: Path
    frame_s: float
    episodes: int
    say: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)

    def add(self, step: Step) -> None:
        self.tally.begin(step.step)
        self._show(step.frame, self.frame_s)
        self.tally.add(step.reward)
        if step.terminated or step.truncated:
            self._show(step.last_frame, _HELD_S, is_last=True)
            came_to = format_number(self.tally.returns[-1])
            steps = count_noun(self.tally.lengths[-1], "step")
            number = len(self.tally.returns)
            self.say(f"episode {number} of {self.episodes}: return {came_to} in {steps}")

    def _show(self, frame: Any, seconds: float, *, is_last: bool = False) -> None:
        if frame is not None:  # else it was left out
            episode = len(self.tally.returns) - 1
            picture = self.painter.paint(frame, episode, self.tally.returns[-1], is_last=is_last)
            with writing(self.place):
                self.writer.add(picture, seconds)
