"""Write an MP4 through ffmpeg, picture by picture."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, NoReturn, cast

from PIL import Image

from sweeper.errors import SweeperError, UserError
from sweeper.formatting import last_line
from sweeper.installation import install_extra

__all__ = ["Mp4Writer", "find_ffmpeg"]


def find_ffmpeg() -> str:
    """The program: on the path, or the one that the package imageio-ffmpeg brings.

    Raises:
        UserError: there is none.
    """
    found = shutil.which("ffmpeg")
    if found is None:
        with contextlib.suppress(ImportError, RuntimeError):  # RuntimeError: it brings none here
            found = str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    if found is None:
        raise UserError(
            "an MP4 needs ffmpeg, which is not installed: install your system's package, or "
            f"{install_extra('video')}; a name that ends in .gif needs nothing more"
        )
    return found


class Mp4Writer:
    """Sends pictures to ffmpeg.

    Args:
        file: is created.
        size: width and height of every picture, both even.
        fps: pictures a second.

    Attributes:
        frames: pictures written; one that is shown for longer is written several times.
    """

    def __init__(self, file: Path, size: tuple[int, int], fps: float) -> None:
        self.frames = 0
        self._fps = fps
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end
        command = [
            *(find_ffmpeg(), "-loglevel", "error", "-nostdin", "-y"),
            *("-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{size[0]}x{size[1]}"),
            *("-framerate", f"{fps:.6f}", "-i", "pipe:0"),
            # The colours that every player knows; what it needs first at the file's beginning.
            *("-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", f"file:{file}"),
        ]
        self._process = subprocess.Popen(  # noqa: S603 - the user's own program, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            process_group=0,  # Ctrl-C is ours to handle
        )
        self._stream = cast("IO[bytes]", self._process.stdin)

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._process.kill()
            self._process.wait()
            self._close_stream()
            self._errors.close()

    @property
    def duration_s(self) -> float:
        """Of all pictures."""
        return self.frames / self._fps

    def add(self, picture: Image.Image, seconds: float) -> None:
        """Write a picture that is shown for so long, to the nearest frame.

        Raises:
            SweeperError: ffmpeg has ended.
        """
        content = picture.tobytes()
        for _ in range(max(1, round(seconds * self._fps))):
            try:
                self._stream.write(content)
            except BrokenPipeError:
                self._fail()
            self.frames += 1

    def _finish(self) -> None:
        self._close_stream()
        if self._process.wait():
            self._fail()

    def _close_stream(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # ffmpeg has ended, which its exit code says
            self._stream.close()

    def _fail(self) -> NoReturn:
        """Raise an error that says why ffmpeg has ended."""
        code = self._process.wait()
        self._errors.seek(0)
        said = last_line(self._errors.read().decode(errors="replace"))
        raise SweeperError(f"ffmpeg failed: {said or f'exit code {code}'}")
