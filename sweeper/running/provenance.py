"""What a result depended on: versions, machine, git commit, command."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from sweeper import installation
from sweeper.veil import hide_passwords

__all__ = ["describe_environment", "package_versions"]

_PACKAGES = ("ray", "torch", "gymnasium", "numpy", "pandas", "mlflow", "envpool")


def package_versions() -> dict[str, str]:
    """The versions of what a run depends on, without importing any of it."""
    versions = {"python": platform.python_version(), "sweeper": installation.version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe_environment(command: tuple[str, ...], seeds: tuple[int, ...]) -> dict[str, Any]:
    """The contents of a run's ``environment.json``.

    ``git`` has the commit of the working directory, where the user's environments and specs are,
    and whether there are uncommitted changes; outside a checkout it is left out.
    """
    description: dict[str, Any] = {
        "command": [hide_passwords(word) for word in command],
        "working_directory": str(Path.cwd()),
        "seeds": list(seeds),
        "versions": package_versions(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }
    commit = _git("rev-parse", "HEAD")
    if commit:
        description["git"] = {"commit": commit, "dirty": bool(_git("status", "--porcelain"))}
    return description


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
