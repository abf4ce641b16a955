"""The page on RLlib's "Getting Started": its commands and code are run, from top to bottom."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "from_rllib.md"
BLOCK = re.compile(r"^```(yaml|sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STEPS = (
    "Build an algorithm",
    "The sweep",
    "The results",
    "A checkpoint's version",
    "Restore a trainer",
    "Play an episode",
    "The weights of every env runner",
    "Preprocess images",
    "An action's distribution",
    "Q-values",
    "The model, printed",
    "Episodes as output",
    "The log level",
    "Stack traces",
    "The dashboard",
    "What RLlib has removed",
)
# What a block must print, by a part of its code: the page's promises that have an outcome.
PROMISED = {
    "run.history[": ("learner/policy_loss", "10"),
    "get_best_result": ("checkpoint_", "'lr'"),
    "sweeper inspect last\n": ("versions", "encoder.policy.0", "total"),
    "from_checkpoint": ("11",),
    "Reached episode return": ("Reached episode return of ",),
    "env_runner_weights": ("env runner 0", "env runner 1"),
    "distribution.probabilities": ("[0.",),
    "found.state_value": ("[",),
    ".network)": ("head.value.out", "total"),
    "sweeper trace": ('"log_prob"',),
    "sweeper stack": ("trial", "File "),
    "eager_tracing": ("old API stack", "eager TensorFlow", "the framework is torch", "0.1"),
}


def read_blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def test_the_steps_are_in_the_order_of_rllibs_page() -> None:
    headings = re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) == len(STEPS)
    for heading, step in zip(headings, STEPS, strict=True):
        assert heading.startswith(step)


@pytest.mark.acceptance
@pytest.mark.timeout(1800)
def test_everything_on_the_page_runs(tmp_path: Path) -> None:
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": binaries, "PYTHONWARNINGS": "ignore"}
    kept = set(PROMISED)
    for kind, code in read_blocks():
        if kind == "yaml":
            name = code.partition("\n")[0].removeprefix("# ")
            assert re.fullmatch(r"[a-z]+\.yaml", name)
            (tmp_path / name).write_text(code)
            continue
        if "needs the extra atari" in code and find_spec("ale_py") is None:
            continue
        words = ["bash", "-euc", code] if kind == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{code}\n{printed[-3000:]}"
        assert "Traceback" not in printed, f"{code}\n{printed[-3000:]}"
        for part, promised in PROMISED.items():
            if part in code:
                kept.discard(part)
                missing = [text for text in promised if text not in printed]
                assert not missing, f"{code}\n{printed[-3000:]}"
    assert not kept
