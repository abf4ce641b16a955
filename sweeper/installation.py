"""How this package is installed: its version, its requirements, and how to add an extra.

The distribution is called ``sweeper-rl``; on the public index ``sweeper`` is another program. In a
checkout ``pyproject.toml`` is asked, elsewhere the metadata of the installed distribution.
"""

from __future__ import annotations

import shlex
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

__all__ = ["DISTRIBUTION", "install_extra", "python_needed", "requirements", "version"]

DISTRIBUTION = "sweeper-rl"

_PACKAGE = Path(__file__).parent


def version() -> str:
    """The version; ``unknown`` where there is neither a checkout nor metadata."""
    project = _read_project(_PACKAGE.parent)
    if project is not None:
        return str(project["version"])
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


def python_needed() -> str:
    """The versions of Python that it runs on, as a specifier; empty if that is unknown."""
    project = _read_project(_PACKAGE.parent)
    if project is not None:
        return str(project["requires-python"])
    try:
        return str(metadata.metadata(DISTRIBUTION)["Requires-Python"] or "")
    except metadata.PackageNotFoundError:
        return ""


def requirements(extra: str = "") -> list[Requirement]:
    """What it needs, or what one of its extras needs beside that."""
    project = _read_project(_PACKAGE.parent)
    if project is not None:
        named = project["optional-dependencies"].get(extra, ()) if extra else None
        return [Requirement(one) for one in (project["dependencies"] if named is None else named)]
    try:
        found = [Requirement(one) for one in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:
        return []
    plain = [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]
    if not extra:
        return plain
    return [
        one
        for one in found
        if one not in plain and one.marker is not None and one.marker.evaluate({"extra": extra})
    ]


def install_extra(extra: str) -> str:
    """The command that installs an extra, and works where the user stands."""
    root = _PACKAGE.parent
    if _read_project(root) is None:
        return f"pip install {shlex.quote(f'{DISTRIBUTION}[{extra}]')}"
    place = "." if Path.cwd() == root else str(root)
    return f"pip install -e {shlex.quote(f'{place}[{extra}]')}"


@cache
def _read_project(root: Path) -> dict[str, Any] | None:
    """The ``[project]`` table of a checkout; None if the folder is none of ours."""
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    project = document.get("project", {})
    return project if project.get("name") == DISTRIBUTION else None
