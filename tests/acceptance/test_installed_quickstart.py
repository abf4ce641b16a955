"""The wheel, installed into an empty environment from the index, runs the quickstart."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from wheels import ROOT, build_wheel, install, make_environment, without_checkout

pytestmark = pytest.mark.acceptance


def test_the_quickstart_runs_from_an_installed_wheel(tmp_path: Path) -> None:
    (tmp_path / "wheel").mkdir()
    wheel = build_wheel(tmp_path / "wheel")
    python = make_environment(tmp_path / "venv", sees_others=False)
    constraints = ("--constraint", str(ROOT / "constraints.txt"))
    install(python, *constraints, "torch")  # as the Makefile: else its largest build may come
    install(python, *constraints, str(wheel))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(ROOT / "configs" / "quickstart.yaml", elsewhere)
    for arguments in (["doctor"], ["run", "quickstart.yaml"], ["best", "--json"]):
        done = subprocess.run(
            [str(python.with_name("sweeper")), *arguments],
            cwd=elsewhere,
            env=without_checkout(),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    best = json.loads(done.stdout)
    assert best["verdict"] in ("better", "undecided", "worse")
    assert Path(best["agent"]).parent.parent == elsewhere / "runs"
