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
# What a block must print, by a part of its code: the page's promises that have an outcome, as
# patterns of whole lines or of parts of them.
NUMBER = r"-?\d+(\.\d+)?(e-?\d+)?"
PROMISED = {
    "run.history[": (r"learner/policy_loss$", rf"^\d+ +10 +{NUMBER} +{NUMBER}$"),
    "get_best_result": (r"^\S*/checkpoint_\d+$", rf"^\{{.*'lr': 0\.\d+.*\}} {NUMBER}$"),
    "sweeper inspect last\n": (
        r"^versions +format \d",
        r"^encoder\.policy\.0 ",
        r"^total +[\d,]+$",
    ),
    "from_checkpoint": (r"^11\d{3}(\.0)?$",),
    "Reached episode return": (r"^Reached episode return of \d+\.0\.$", r"^\d+\.0 \d+$"),
    "env_runner_weights": (r"^env runner 0 \{'", r"^env runner 1 \{'"),
    "distribution.probabilities": (
        rf"^\[ *{NUMBER} +{NUMBER} *\] {NUMBER}$",
        rf"^[01] -{NUMBER}$",
        rf"^{NUMBER}$",
    ),
    # Two Q-values; ten atoms from 0 to 200; the state's value, one for each atom's logits.
    "found.state_value": (
        rf"^\[ *{NUMBER} +{NUMBER} *\]$",
        r"^\[ *0\. [^\]]*200\. *\] \[\[0?\.\d",
        rf"\]\] {NUMBER}$",
    ),
    ".network)": (r"^head\.value\.out ", r"^total +[\d,]+$"),
    "sweeper trace": (r'^\{"episode": 0, "step": 0, .*"log_prob": -?\d.*"q_values": \[',),
    "sweeper stack": (r"^trial t0001, process \d+", r'^ +File ".+", line \d+, in \w+'),
}
REFUSED = "# refused"
# What each command of the refused ones must say, by a part of it.
REFUSALS = {
    "enable_rl_module_and_learner": "RLlib's old API stack is not supported",
    "framework=tf2": "the framework is torch",
    "eager_tracing": "eager TensorFlow went with RLlib's old API stack",
    "inspect old": "is a checkpoint of RLlib's old API stack (version 0.1)",
}


def read_blocks() -> list[tuple[str, str]]:
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def test_the_steps_are_in_the_order_of_rllibs_page() -> None:
    headings = re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(headings) == len(STEPS)
    for heading, step in zip(headings, STEPS, strict=True):
        assert heading.startswith(step)


def check_refusals(code: str, folder: Path, env: dict[str, str]) -> None:
    """Run each command of a block; each has to be refused, for the reason that the page gives."""
    _, *commands = code.splitlines()
    assert len(commands) == len(REFUSALS)
    for command, (part, reason) in zip(commands, REFUSALS.items(), strict=True):
        assert part in command
        words = ["bash", "-euc", command]
        done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 2, f"{command}\n{done.stdout}{done.stderr}"
        assert reason in done.stderr
        assert "Traceback" not in done.stderr


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
        if code.startswith(REFUSED):
            check_refusals(code, tmp_path, env)
            continue
        words = ["bash", "-euc", code] if kind == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
        printed = done.stdout + done.stderr
        assert done.returncode == 0, f"{code}\n{printed[-3000:]}"
        assert "Traceback" not in printed, f"{code}\n{printed[-3000:]}"
        for part, promised in PROMISED.items():
            if part in code:
                kept.discard(part)
                missing = [one for one in promised if not re.search(one, printed, re.MULTILINE)]
                assert not missing, f"{missing}\n{code}\n{printed[-3000:]}"
    assert not kept


def test_the_page_names_refused_commands() -> None:
    refused = [code for kind, code in read_blocks() if kind == "sh" and code.startswith(REFUSED)]
    assert len(refused) == 1
    assert not any(line.startswith("!") for _, code in read_blocks() for line in code.splitlines())
