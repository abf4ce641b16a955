"""Run an exported agent's script where only what it says it needs can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_HIDDEN = ("sweeper", "ray", "mlflow", "safetensors", "scipy", "pandas", "pydantic", "yaml")


def play_script(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``play.py``, from another folder.

    Args:
        folder: of the agent.
        variables: of the environment.
    """
    script = str(folder / "play.py")
    needed = (folder / "requirements.txt").read_text()
    hidden = _HIDDEN if "torch" in needed else (*_HIDDEN, "torch")
    code = (
        "import runpy, sys\n"
        f"sys.modules |= dict.fromkeys({hidden!r})\n"
        f"sys.path.insert(0, {str(folder)!r})\n"
        f"sys.argv = [{script!r}]\n"
        f"runpy.run_path({script!r}, run_name='__main__')\n"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": "", **variables},
    )
