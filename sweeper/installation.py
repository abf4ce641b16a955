"""How this package is installed: its version, its requirements, and how to add an extra.

The distribution is called ``sweeper-rl``; on the public index ``sweeper`` is another program. In a
checkout ``pyproject.toml`` is asked, elsewhere the metadata of the installed distribution.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tomllib
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

__all__ = [
    "DISTRIBUTION",
    "install_extra",
    "missing_of_extras",
    "pip_install",
    "python_needed",
    "requirements",
    "version",
]

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
    return _of_extra(found, extra)


def missing_of_extras(requirement: Requirement) -> list[str]:
    """The packages that a requirement's extras bring and that are not installed."""
    try:
        found = [Requirement(one) for one in metadata.requires(requirement.name) or ()]
    except metadata.PackageNotFoundError:
        return []
    needed = {one.name for extra in requirement.extras for one in _of_extra(found, extra)}
    return sorted(name for name in needed if not _is_installed(name))


def _of_extra(found: list[Requirement], extra: str) -> list[Requirement]:
    """Those of a distribution's requirements that are for an extra, or for none."""
    plain = [one for one in found if one.marker is None or one.marker.evaluate({"extra": ""})]
    if not extra:
        return plain
    return [
        one
        for one in found
        if one not in plain and one.marker is not None and one.marker.evaluate({"extra": extra})
    ]


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def install_extra(extra: str) -> str:
    """The command that installs an extra, and works where the user stands."""
    root = _PACKAGE.parent
    if _read_project(root) is None:
        return pip_install(f"{DISTRIBUTION}[{extra}]")
    place = "." if Path.cwd() == root else str(root)
    return pip_install("-e", f"{place}[{extra}]")


def pip_install(*arguments: str) -> str:
    """The command that installs something for the Python that runs this, as a shell takes it."""
    return f"{_find_installer()} {shlex.join(arguments)}"


def _find_installer() -> str:
    """The command's beginning; virtual environments of uv's, and others, have no pip."""
    if find_spec("pip") is not None:
        return f"{_find_pip()} install"
    if shutil.which("uv") is not None:
        return f"uv pip install --python {_name_python()}"
    python = _name_python("python", "python3")
    pip = f"{python} -m pip install"
    return pip if find_spec("ensurepip") is None else f"{python} -m ensurepip && {pip}"


def _find_pip() -> str:
    """``pip``, unless that is another Python's, or none is found."""
    pip = shutil.which("pip")
    if pip is not None and _is_this_python(_read_interpreter(Path(pip))):
        return "pip"
    return f"{_name_python('python', 'python3')} -m pip"


def _name_python(*names: str) -> str:
    """This Python, by one of some names if the path finds it, else by its own path."""
    here = os.path.relpath(sys.executable)
    known = [text for text in (*names, here) if _is_this_python(shutil.which(text))]
    # A relative path that leads out of the working directory is no help, however short.
    fit = [text for text in known if not text.startswith(os.pardir)]
    return shlex.quote(min([*fit, sys.executable], key=len))


def _read_interpreter(script: Path) -> str | None:
    """The interpreter that a script names in its first lines; None if that is not known."""
    try:
        with script.open(encoding="utf-8") as stream:
            first, second = stream.readline(), stream.readline()
        words = shlex.split(first.removeprefix("#!"))
        if words == ["/bin/sh"]:  # the path is too long for a first line, or has blanks
            words = shlex.split(second)[1:]
    except (OSError, ValueError):  # ValueError: a binary, or an open quote
        return None
    if not first.startswith("#!") or not words:
        return None
    return shutil.which(words[1]) if words[0] == "/usr/bin/env" and words[1:] else words[0]


def _is_this_python(program: str | None) -> bool:
    """Whether a program is the Python that runs this.

    A virtual environment's is a link to another one, so its folder counts, too.
    """
    if program is None or not sys.executable:
        return False
    found, this = Path(program), Path(sys.executable)
    try:
        return found.samefile(this) and found.parent.samefile(this.parent)
    except OSError:
        return False


@cache
def _read_project(root: Path) -> dict[str, Any] | None:
    """The ``[project]`` table of a checkout; None if the folder is none of ours."""
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    project = document.get("project", {})
    return project if project.get("name") == DISTRIBUTION else None
