"""Have an environment draw itself, and check the frames that it returns."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from sweeper.environments.building import build_env
from sweeper.environments.containment import USER_ERRORS, close_quietly, contained
from sweeper.environments.modules import summarise
from sweeper.environments.outcomes import EnvironmentFault
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.errors import UserError
from sweeper.hints import join_words
from sweeper.installation import install_extra
from sweeper.veil import veil

__all__ = ["Camera", "Rendering", "open_rendering", "without_display"]

_MODE = "rgb_array"
_RULE = "with render_mode rgb_array a frame is an array of uint8, shape [height, width, 3]"
_USUAL_FPS, _MAX_FPS = 30.0, 1000.0
_MAX_MODES = 10
_UNKNOWN = "unexpected keyword argument 'render_mode'"


class Camera:
    """Takes the frames of an environment: all of one size, and only those that are shown.

    Args:
        every: of an episode's frames the first, every so many-th after it, and the last are taken.
        shape: of every frame, ``[height, width, 3]``; None: as the first.
    """

    def __init__(self, every: int = 1, shape: tuple[int, ...] | None = None) -> None:
        self._every, self._shape = every, shape

    def __call__(
        self, env: gymnasium.Env[Any, Any], step: int = 0, *, is_last: bool = False
    ) -> np.ndarray[Any, Any] | None:
        """Take a frame, ``uint8[height, width, 3]``; None if it is not shown.

        Args:
            env: was reset.
            step: how many steps the episode has had.
            is_last: whether the episode is over.

        Raises:
            EnvironmentFault: what the environment returned is no frame, or one of another size.
        """
        if step % self._every and not is_last:
            return None
        frame = _check_frame(env.render())
        if self._shape is None:
            self._shape = frame.shape
        elif frame.shape != self._shape:
            found, known = _name_size(frame.shape), _name_size(self._shape)
            raise EnvironmentFault(
                f"render() returned a frame of {found} after step {step:,}, and before frames of "
                f"{known}; those of a video must have one size"
            )
        return frame


@dataclass(frozen=True)
class Rendering:
    """An environment that can draw itself.

    Attributes:
        settings: with a ``render_mode`` of arrays.
        shape: of a frame, ``[height, width, 3]``.
        fps: frames a second at which it is shown as it is.
    """

    settings: EnvironmentSettings
    shape: tuple[int, ...]
    fps: float


def open_rendering(settings: EnvironmentSettings) -> Rendering:
    """Build an environment once so that it draws itself, and look at its first frame.

    Args:
        settings: whose code is trusted; the ``render_mode`` is added here.

    Raises:
        UserError: it can't draw itself.
    """
    drawn = settings.drawn_as(_MODE)
    with without_display(), contained(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gymnasium's, of what is refused here
        try:
            return _look(drawn)
        except EnvironmentBuildError as error:
            reason = _explain_refusal(settings, error)
        except EnvironmentFault as fault:
            reason = str(fault)
        except gymnasium.error.DependencyNotInstalled as error:
            reason = _name_package(summarise(error))
        except USER_ERRORS as error:
            reason = f"render() failed: {summarise(error)}"
    raise UserError(f"{settings.id} can't be filmed: {veil(reason)}")


@contextlib.contextmanager
def without_display() -> Iterator[None]:
    """Have pygame draw where there is no screen, and make no sound; it reads these variables."""
    wanted = {"SDL_AUDIODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        wanted["SDL_VIDEODRIVER"] = "dummy"
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _look(drawn: EnvironmentSettings) -> Rendering:
    env = build_env(drawn)
    try:
        modes = _find_modes(env)
        if _MODE not in modes:
            raise EnvironmentFault(_explain_modes(modes))
        env.reset(seed=0)
        frame = _check_frame(env.render())
        return Rendering(drawn, frame.shape, _read_fps(env))
    finally:
        close_quietly(env.close)


def _explain_refusal(settings: EnvironmentSettings, error: EnvironmentBuildError) -> str:
    """Why an environment that could be built before can't be once it is to draw itself."""
    if isinstance(error.__cause__, gymnasium.error.DependencyNotInstalled):
        return _name_package(str(error))
    env = build_env(settings)
    try:
        modes = _find_modes(env)
    finally:
        close_quietly(env.close)
    if "has no argument 'render_mode'" in str(error) or _UNKNOWN in str(error):
        return f"its constructor takes no render_mode; {_list_modes(modes)}"
    return str(error) if _MODE in modes else _explain_modes(modes)


def _explain_modes(modes: list[str]) -> str:
    return f"it has no render mode {_MODE}; {_list_modes(modes)}"


def _list_modes(modes: list[str]) -> str:
    if not modes:
        return 'its metadata["render_modes"] names none'
    known = join_words(modes[:_MAX_MODES])
    return f"its render mode is {known}" if len(modes) == 1 else f"its render modes are {known}"


def _find_modes(env: gymnasium.Env[Any, Any]) -> list[str]:
    modes = _metadata(env).get("render_modes")
    return [str(mode) for mode in modes] if isinstance(modes, list | tuple | set) else []


def _read_fps(env: gymnasium.Env[Any, Any]) -> float:
    try:
        fps = float(_metadata(env).get("render_fps", _USUAL_FPS))
    except (TypeError, ValueError):
        return _USUAL_FPS
    return min(fps, _MAX_FPS) if math.isfinite(fps) and fps > 0 else _USUAL_FPS


def _metadata(env: gymnasium.Env[Any, Any]) -> Mapping[str, Any]:
    metadata = getattr(env, "metadata", None)
    return metadata if isinstance(metadata, Mapping) else {}


def _name_package(message: str) -> str:
    if "pygame" not in message:
        return message
    return f"{message}; or {install_extra('video')}"


def _check_frame(frame: Any) -> np.ndarray[Any, Any]:
    """A copy of a frame: some environments draw into the same array each time.

    Raises:
        EnvironmentFault: it is something else.
    """
    is_array = isinstance(frame, np.ndarray)
    if is_array and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3:
        if frame.size:
            return np.array(frame)
        raise EnvironmentFault(f"render() returned a frame of {_name_size(frame.shape)}")
    if is_array:
        what = f"an array of {frame.dtype}, shape {list(frame.shape)}"
        raise EnvironmentFault(f"render() returned {what}; {_RULE}{_find_remedy(frame)}")
    what = "None" if frame is None else f"a {type(frame).__name__}"
    if isinstance(frame, list | tuple):
        what += f" of {len(frame)}, as with rgb_array_list"
    raise EnvironmentFault(f"render() returned {what}; {_RULE}")


def _find_remedy(frame: np.ndarray[Any, Any]) -> str:
    """What turns an array that was returned into a frame; empty if that is not known."""
    steps = []
    if frame.dtype.kind == "f":
        is_fraction = frame.size and np.nanmax(frame) <= 1
        steps.append("(255 * frame).astype(np.uint8)" if is_fraction else "frame.astype(np.uint8)")
    if frame.ndim == 2:
        steps.append("np.stack([frame] * 3, axis=-1)")
    elif frame.ndim == 3 and frame.shape[2] == 4:
        steps.append("frame[..., :3]")
    elif frame.ndim == 3 and frame.shape[2] == 1:
        steps.append("np.repeat(frame, 3, axis=2)")
    elif frame.ndim == 3 and frame.shape[0] == 3 != frame.shape[2]:
        steps.append("frame.transpose(1, 2, 0)")
    return f"; {' and '.join(steps)} would make it one" if steps else ""


def _name_size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
