"""A wheel built from this tree, and environments that it is installed into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of the tree, so that nothing is left in the checkout."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "sweeper", source / "sweeper", ignore=ignored)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def make_environment(folder: Path, *, sees_others: bool) -> Path:
    """Make a virtual environment without pip; return its Python.

    Args:
        folder: where.
        sees_others: whether the packages of this environment can be imported in it; this
            checkout can't in any case.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    if sees_others:
        ours = sysconfig.get_path("purelib")
        place = Path(ours.replace(sys.prefix, str(folder), 1))
        (place / "others.pth").write_text(f"{ours}\n")
    return python


def install(python: Path, *arguments: str) -> None:
    """Run ``pip install`` for an environment."""
    _pip("--python", str(python), "install", *arguments)


def without_checkout() -> dict[str, str]:
    """The variables of a process that must not import this tree."""
    hidden = ("PYTHONPATH", "MAKELEVEL")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, env=without_checkout())
