"""What RLlib's own processes print is kept, and bounded."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import sweeper

MODULE = """
import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv


class Loud(CartPoleEnv):
    def step(self, action):
        print("loud " + "x" * 120_000)
        return super().step(action)


gym.register("Loud-v0", entry_point=Loud, max_episode_steps=100)
"""
SPEC = """
environment: {id: Loud-v0, module: loud_runner_envs}
algorithm: PPO
backend: rllib
param_space: {num_env_runners: 1, train_batch_size_per_learner: 200, minibatch_size: 100}
stop: {num_env_steps_sampled_lifetime: 400}
resources: {cpus: 0.5}
tracking: null
"""


@pytest.fixture
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a name that is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_output_of_env_runners_is_kept_and_bounded(tmp_path: Path, ray_folder: Path) -> None:
    (tmp_path / "loud_runner_envs.py").write_text(MODULE)
    (tmp_path / "loud.yaml").write_text(SPEC)
    done = sweeper("run", "loud.yaml", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = list(ray_folder.glob("ray/session_latest/logs/worker-*.out*"))
    loud = [path for path in outputs if b"loud xxx" in path.read_bytes()[: 2**20]]
    assert loud
    assert sum(path.stat().st_size for path in loud) < 17 * 2**20  # of 48 MB
