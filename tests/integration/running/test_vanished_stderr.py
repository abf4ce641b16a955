"""A run goes on, and says where it is, after whoever read its messages has gone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from sweeper.opened_run import open_run

SPEC = """
environment: CartPole-v1
algorithm: PPO
seeds: 1
param_space:
  lr: {uniform: [1.0e-4, 1.0e-3]}
  train_batch_size_per_learner: 100
  minibatch_size: 50
search: {num_samples: 4}
selection: {finalists: 0}
stop: {num_env_steps_sampled_lifetime: 400}
tracking: null
"""


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_run_outlives_the_reader_of_its_stderr(tmp_path: Path, kind: str) -> None:
    (tmp_path / "tiny.yaml").write_text(SPEC)
    reading, writing = os.pipe() if kind == "pipe" else pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper", "run", "tiny.yaml"],
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=writing,
        text=True,
    )
    os.close(writing)
    assert b"tiny: PPO on CartPole-v1" in os.read(reading, 1000)
    os.close(reading)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    results = open_run("last", tmp_path / "runs").results
    assert out == f"{results.root}\n"
    assert (results.state, len(results.trials)) == ("finished", 4)
