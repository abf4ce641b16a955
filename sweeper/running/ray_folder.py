"""Where a local Ray keeps its session: a folder whose name is short enough for its sockets."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from sweeper.errors import UserError

__all__ = ["RAY_FOLDER", "check_ray_folder", "choose_ray_folder"]

RAY_FOLDER = "RAY_TMPDIR"

# A Unix socket's path has at most 107 bytes (sun_path of unix(7)). Ray's longest one is
# ray/session_2026-11-29_14-04-20_883156_4194304/sockets/plasma_store (ray/_private/node.py).
_MAX_BYTES = 107 - 68
_USUAL = "/tmp"  # noqa: S108 - it is Ray's


def choose_ray_folder(environ: Mapping[str, str]) -> tuple[str, str]:
    """The folder for a local Ray's session, and why it is not the usual one, if so.

    Ray takes ``RAY_TMPDIR``, else ``TMPDIR``, else ``/tmp``. A ``TMPDIR`` that is too long for
    sockets gives way to ``/tmp``.

    Args:
        environ: the environment variables.

    Raises:
        UserError: ``RAY_TMPDIR`` is too long, or ``TMPDIR`` is and ``/tmp`` can't be written.
    """
    given, temporary = environ.get(RAY_FOLDER), environ.get("TMPDIR")
    if given is not None:
        _check_length(RAY_FOLDER, given)
        return given, ""
    if temporary is None or _fits(temporary):
        return temporary or _USUAL, ""
    if not (Path(_USUAL).is_dir() and os.access(_USUAL, os.W_OK | os.X_OK)):
        _check_length("TMPDIR", temporary)
    return _USUAL, f"TMPDIR, {temporary}, is too long for Ray's sockets"


def check_ray_folder() -> None:
    """Find out whether a local Ray has room for its sockets, before a run folder is made.

    Raises:
        UserError: it has not, and is not running yet.
    """
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        choose_ray_folder(os.environ)


def _fits(folder: str) -> bool:
    return len(os.fsencode(folder)) <= _MAX_BYTES


def _check_length(name: str, folder: str) -> None:
    if not _fits(folder):
        raise UserError(
            f"{name} is {folder}, with {len(os.fsencode(folder))} bytes; Ray makes its sockets "
            f"there, for which it may have {_MAX_BYTES}: set {RAY_FOLDER} to a shorter folder"
        )
