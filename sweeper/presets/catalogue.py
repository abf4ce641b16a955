"""Which presets there are: their names, as a spec writes them, and their files.

A name is ``zoo:`` and the file's stem. It is looked up among the files that are there and never
becomes part of a path, so it can't lead out of the package; a file of that name is ``./zoo:…``.
"""

from __future__ import annotations

from pathlib import Path

from sweeper.hints import nearest

__all__ = ["find_preset_file", "is_preset_name", "nearest_preset", "preset_names"]

_PREFIX = "zoo:"
_FOLDER = Path(__file__).parent / "zoo"


def is_preset_name(text: str) -> bool:
    """Whether a text names a preset, or means to."""
    return text.startswith(_PREFIX)


def preset_names() -> tuple[str, ...]:
    """All presets, in alphabetical order."""
    return tuple(f"{_PREFIX}{path.stem}" for path in sorted(_FOLDER.glob("*.yaml")))


def find_preset_file(name: str) -> Path | None:
    """The spec of a preset; None if there is none of that name."""
    return next((path for path in _FOLDER.glob("*.yaml") if name == f"{_PREFIX}{path.stem}"), None)


def nearest_preset(name: str) -> str | None:
    """The preset whose name is closest to a wrong one, with or without ``zoo:``; None if far."""
    stems = [one.removeprefix(_PREFIX) for one in preset_names()]
    near = nearest(name.removeprefix(_PREFIX), stems)
    return None if near is None else f"{_PREFIX}{near}"
