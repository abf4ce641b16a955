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


TELLING = """
import logging
import sys
from pathlib import Path

import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv


class Refusal(Exception):
    def __init__(self, token):
        self.token = token

    def __str__(self):
        return f"refused {self.token}"


class Telling(CartPoleEnv):
    def __init__(self, token, mark):
        super().__init__()
        if b"EnvRunner" in Path("/proc/self/cmdline").read_bytes():  # a process of RLlib's own
            print("runner with", token)
            print("runner too with", token, file=sys.stderr)
            logging.getLogger("mine").warning("runner logged %s", token)
            logging.getLogger("ray.rllib.mine").error("rllib logged %s", token)
            if not Path(mark).exists():
                Path(mark).touch()
                raise Refusal(token)


gym.register("Telling-v0", entry_point=Telling, max_episode_steps=100)
"""
TOLD = """
environment:
  id: Telling-v0
  module: telling_runner_envs
  kwargs: {{token: "${{env:TOKEN}}", mark: {mark}}}
algorithm: PPO
backend: rllib
seeds: 1
param_space: {{num_env_runners: 1, train_batch_size_per_learner: 200, minibatch_size: 100}}
stop: {{num_env_steps_sampled_lifetime: 400}}
resources: {{cpus: 0.5, retries: 1}}
selection: {{finalists: 0}}
tracking: null
"""


@pytest.fixture
def ray_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a name that is short enough for Ray's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.acceptance
def test_the_output_of_env_runners_is_kept_and_bounded(tmp_path: Path, ray_folder: Path) -> None:
    (tmp_path / "loud_runner_envs.py").write_text(MODULE)
    (tmp_path / "loud.yaml").write_text(SPEC)
    done = sweeper("run", "loud.yaml", "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    outputs = list(ray_folder.glob("ray/session_latest/logs/worker-*.out*"))
    loud = [path for path in outputs if b"loud xxx" in path.read_bytes()[: 2**20]]
    assert loud
    assert sum(path.stat().st_size for path in loud) < 17 * 2**20  # of 48 MB


@pytest.mark.acceptance
def test_a_secret_is_hidden_in_what_env_runners_say(
    tmp_path: Path, ray_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they say it by: prints, loggers, an error; and with ``-v``, too."""
    monkeypatch.setenv("TOKEN", "sentinel-b81f/token")
    (tmp_path / "telling_runner_envs.py").write_text(TELLING)
    (tmp_path / "told.yaml").write_text(TOLD.format(mark=tmp_path / "mark"))
    done = sweeper("run", "told.yaml", "-v", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mark").exists(), "the error was raised"
    printed = done.stdout + done.stderr
    for words in ("runner with", "runner too with", "runner logged", "rllib logged", "refused"):
        assert f"{words} ***" in printed
    assert "sentinel-b81f" not in printed
    files = [path for folder in (ray_folder, tmp_path / "runs") for path in folder.rglob("*")]
    said = [path for path in files if path.is_file() and b"sentinel-b81f" in path.read_bytes()]
    assert said == []
