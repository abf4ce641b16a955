"""Make the pictures of a video: frames, scaled, below a bar that says what is seen."""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sweeper.errors import UserError
from sweeper.formatting import format_number
from sweeper.printable import printable

__all__ = ["MIN_WIDTH", "Painter"]

MIN_WIDTH = 80  # of a picture whose title can be read
_USUAL_WIDTH, _MAX_SIDE = 600, 8000
_MAX_TEXT = 40
_LONGEST_RETURN = "return -1.234e+09"
_FONT_SIZES = (16, 14, 12, 11, 10)
# Of the bar and its letters.
_COLOURS = (32, 36, 43), (230, 233, 237)
_COLOURS_AT_END = (240, 200, 80), (20, 22, 26)


class Painter:
    """Paints pictures of one size, each with a title.

    Args:
        shape: of a frame, ``[height, width, 3]``.
        title: who plays, as in ``("champion t0003", "seed 7")``, in any letters.
        episodes: how many there are.
        width: of the pictures, in pixels; None: the frames', at most 600 and at least 80.
        multiple: width and height are multiples of it.

    Attributes:
        size: width and height of a picture, in pixels.

    Raises:
        UserError: the pictures would be too large.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        title: Sequence[str],
        episodes: int,
        width: int | None = None,
        multiple: int = 1,
    ) -> None:
        self._who = [text for text in map(_clean, title) if text]
        self._episodes = episodes
        self._scaled = _choose_size(shape, width, multiple)
        self._rows, self._font = self._choose_layout()
        self._pad = max(2, int(self._font.size) // 3)
        self._lefts = list(map(self._columns, self._rows))
        self._line = math.ceil(sum(self._font.getmetrics()))
        bar = len(self._rows) * self._line + 2 * self._pad
        bar += -(bar + self._scaled[1]) % multiple
        self.size = (self._scaled[0], self._scaled[1] + bar)
        self._bars: dict[tuple[int, str, bool], Image.Image] = {}

    def paint(
        self, frame: np.ndarray[Any, Any], episode: int, episode_return: float, *, is_last: bool
    ) -> Image.Image:
        """Paint a picture.

        Args:
            frame: ``uint8[height, width, 3]``.
            episode: from 0.
            episode_return: so far, or the final one.
            is_last: whether the episode is over.
        """
        image = Image.fromarray(frame)
        if image.size != self._scaled:
            is_larger = self._scaled[0] >= 2 * image.width
            method = Image.Resampling.NEAREST if is_larger else Image.Resampling.LANCZOS
            image = image.resize(self._scaled, method)
        bar = self._paint_bar(episode, format_number(episode_return), is_last)
        picture = Image.new("RGB", self.size)
        picture.paste(bar)
        picture.paste(image, (0, bar.height))
        return picture

    def _paint_bar(self, episode: int, episode_return: str, is_last: bool) -> Image.Image:
        key = (episode, episode_return, is_last)
        if key not in self._bars:
            self._bars = {key: self._draw_bar(*key)}  # the last one: returns often stay the same
        return self._bars[key]

    def _draw_bar(self, episode: int, episode_return: str, is_last: bool) -> Image.Image:
        background, colour = _COLOURS_AT_END if is_last else _COLOURS
        bar = Image.new("RGB", (self.size[0], self.size[1] - self._scaled[1]), background)
        draw = ImageDraw.Draw(bar)
        forms = {
            _EPISODE: self._name_episode(episode),
            _RETURN: (f"return {episode_return}", episode_return),
        }
        if is_last:
            forms[_RETURN] = (f"final return {episode_return}", *forms[_RETURN])
        for number, (row, lefts) in enumerate(zip(self._rows, self._lefts, strict=True)):
            ends = [*lefts[1:], self.size[0]]
            for part, left, end in zip(row, lefts, ends, strict=True):
                text = self._fit(forms.get(part, (part, part.split()[-1])), end - left - self._pad)
                top = self._pad + number * self._line
                draw.text((left, top), text, fill=colour, font=self._font)
        return bar

    def _columns(self, row: Sequence[str]) -> list[int]:
        """Where each part of a row begins; spaced evenly, and not by what is in them now."""
        widths = [self._measure(self._longest(part)) for part in row]
        free = max(0, self._scaled[0] - 2 * self._pad - sum(widths)) / max(1, len(row) - 1)
        before = [0, *itertools.accumulate(widths[:-1])]
        return [round(self._pad + used + number * free) for number, used in enumerate(before)]

    def _choose_layout(self) -> tuple[Sequence[Sequence[str]], ImageFont.FreeTypeFont]:
        """The fewest rows in which the title fits, in the largest letters."""
        who = [", ".join(self._who)] if self._who else []
        layouts = (
            [[*who, _EPISODE, _RETURN]],
            [who, [_EPISODE, _RETURN]],
            [who, [_EPISODE], [_RETURN]],
        )
        for rows in layouts:
            for size in _FONT_SIZES:
                self._font = _load_font(size)
                if all(map(self._fits, rows)):
                    return [row for row in rows if row], self._font
        return [[part] for part in (*self._who, _EPISODE, _RETURN)], self._font

    def _fits(self, row: Sequence[str]) -> bool:
        gaps = len(row) * int(self._font.size)
        return sum(self._measure(self._longest(part)) for part in row) + gaps <= self._scaled[0]

    def _longest(self, part: str) -> str:
        known = {_EPISODE: self._name_episode(self._episodes - 1)[0], _RETURN: _LONGEST_RETURN}
        return known.get(part, part)

    def _name_episode(self, episode: int) -> tuple[str, ...]:
        numbers = f"{episode + 1} of {self._episodes}"
        return f"episode {numbers}", numbers

    def _measure(self, text: str) -> int:
        return math.ceil(self._font.getlength(text))

    def _fit(self, forms: Sequence[str], width: int) -> str:
        """The first form that is narrow enough; else the last one, cut."""
        fitting = (form for form in forms if self._measure(form) <= width)
        text = next(fitting, forms[-1])
        while len(text) > 1 and self._measure(text) > width:
            text = f"{text.rstrip('…')[:-1]}…"
        return text


# In the place of texts that change; no title has a \0.
_EPISODE, _RETURN = "\0episode", "\0return"


def _choose_size(shape: tuple[int, ...], width: int | None, multiple: int) -> tuple[int, int]:
    height_before, width_before = shape[:2]
    if width is None:
        width = min(width_before, _USUAL_WIDTH)
        if width < MIN_WIDTH:
            width *= math.ceil(MIN_WIDTH / width)  # pixels stay squares
    width -= width % multiple
    height = max(1, round(height_before * width / width_before))
    if height > _MAX_SIDE:
        raise UserError(
            f"the pictures would be {width} x {height} pixels, and at most {_MAX_SIDE} are "
            f"possible; the environment's frames are {width_before} x {height_before}"
        )
    return width, height


def _clean(text: str) -> str:
    """A text of unknown origin in letters that the font has, which are those of ASCII."""
    letters = unicodedata.normalize("NFKD", printable(text))
    spelt = "".join(one for one in letters if not unicodedata.combining(one))
    return " ".join(spelt.encode("ascii", "replace").decode().split())[:_MAX_TEXT]


def _load_font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise UserError("Pillow was built without FreeType, and can't write titles; reinstall it")
    return font
