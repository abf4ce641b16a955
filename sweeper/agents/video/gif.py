"""Write a GIF, picture by picture: Pillow's own writer would hold all of them in memory."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from PIL import GifImagePlugin, Image, ImageChops

__all__ = ["GifWriter"]

_COLOURS = 256
_BLACK = (0, 0, 0)
_IS_ZERO = [255, *[0] * 255]
# In hundredths of a second; viewers take less for a tenth.
_MIN_DELAY, _MAX_DELAY = 2, 65_535
_LOOP = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"  # without an end
_END = b"\x3b"
_KEEP = 1  # a picture stays, and the next one is put onto it


class GifWriter:
    """Writes what has changed of each picture, in colours of its own.

    Args:
        file: is created.
        size: width and height of every picture.

    Attributes:
        frames: pictures written.
    """

    def __init__(self, file: Path, size: tuple[int, int]) -> None:
        self.frames = 0
        self._shown_s, self._shown = 0.0, 0  # the second in hundredths, as written
        self._before: Image.Image | None = None
        self._stream = file.open("wb")
        sides = b"".join(side.to_bytes(2, "little") for side in size)
        self._stream.write(b"GIF89a" + sides + b"\x70\x00\x00" + _LOOP)

    def __enter__(self) -> GifWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        with self._stream:
            if kind is None:
                self._stream.write(_END)

    @property
    def duration_s(self) -> float:
        """Of all pictures."""
        return self._shown / 100

    def add(self, picture: Image.Image, seconds: float) -> None:
        """Write a picture that is shown for so long.

        Delays are in hundredths of a second. What rounding takes from one is given to the next, so
        that the whole has its length.
        """
        self._shown_s += seconds
        delay = min(max(_MIN_DELAY, round(100 * self._shown_s) - self._shown), _MAX_DELAY)
        self._shown += delay
        part, left_top, transparent = self._find_changes(picture)
        options = {} if transparent is None else {"transparency": transparent}
        self._stream.writelines(
            GifImagePlugin.getdata(
                part,
                left_top,
                duration=10 * delay,
                disposal=_KEEP,
                include_color_table=True,
                **options,
            )
        )
        self._before = picture
        self.frames += 1

    def _find_changes(
        self, picture: Image.Image
    ) -> tuple[Image.Image, tuple[int, int], int | None]:
        """The part of a picture that has changed, in colours of its own.

        Returns:
            The part, where it begins, and the colour that stands for what is as before, if any.
        """
        if self._before is None:
            return _quantize(picture, _COLOURS), (0, 0), None
        difference = ImageChops.difference(self._before, picture)
        # Where nothing has changed, one pixel, which keeps the time.
        box = difference.getbbox() or (0, 0, 1, 1)
        red, green, blue = difference.crop(box).split()
        is_same = ImageChops.lighter(ImageChops.lighter(red, green), blue).point(_IS_ZERO)
        part = picture.crop(box)
        part.paste(_BLACK, mask=is_same)  # or their colours would count among the new ones
        drawn = _quantize(part, _COLOURS - 1)
        colours = drawn.getpalette() or []
        transparent = len(colours) // 3
        drawn.putpalette([*colours, *_BLACK])
        drawn.paste(transparent, mask=is_same)
        return drawn, box[:2], transparent


def _quantize(picture: Image.Image, colours: int) -> Image.Image:
    return picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
