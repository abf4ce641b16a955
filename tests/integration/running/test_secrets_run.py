"""A whole sweep with secrets that its environment needs leaves them nowhere.

The environment prints and logs them, and a trial fails with one in its error.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from command_line import sweeper_here

from sweeper.journal import TrialRetried, read_journal
from sweeper.opened_run import open_run

SENTINEL = "sentinel-b81f"
ENVIRONMENT = """
import logging
from pathlib import Path
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Secretive(CartPoleEnv):
    def __init__(self, token, port, mark):
        super().__init__()
        assert token == "sentinel-b81f-token" and port == 8080, "the values arrive"
        print(f"connecting with {token}")
        logging.getLogger("mine").warning("logged %s", token)
        self.token, self.mark, self.steps = token, Path(mark), 0
    def step(self, action):
        self.steps += 1
        if self.steps == 150 and not self.mark.exists():
            self.mark.touch()
            raise ValueError(f"the server refused {self.token!r}")
        return super().step(action)

class Keyed(gymnasium.Wrapper):
    def __init__(self, env, key):
        super().__init__(env)
        assert key == "key-sentinel-b81f-key"
        print("wrapped with", key)

gymnasium.register("Secretive-v0", entry_point=Secretive, max_episode_steps=100)
"""
SPEC = """
name: secret
environment:
  id: Secretive-v0
  module: secretive_envs_{backend}
  kwargs: {{token: "${{env:TOKEN}}", port: "${{env:PORT}}", mark: {mark}}}
  wrappers: [{{secretive_envs_{backend}.Keyed: {{key: "key-${{env:KEY}}"}}}}]
algorithm: PPO
backend: {backend}
seeds: 1
param_space:
  lr: 0.001
  train_batch_size_per_learner: 200
  minibatch_size: 50
  num_epochs: 1
  model_config: {{fcnet_hiddens: [8]}}
stop: {{num_env_steps_sampled_lifetime: 400}}
selection: {{finalists: 0}}
resources: {{retries: 1}}
tracking: {{uri: "sqlite:///${{env:DATABASE}}", experiment: x}}
"""


@pytest.mark.parametrize("backend", ["torch", pytest.param("rllib", marks=pytest.mark.acceptance)])
def test_a_secret_reaches_the_environment_and_no_record(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    variables = {"TOKEN": f"{SENTINEL}-token", "KEY": f"{SENTINEL}-key", "PORT": "8080"}
    # The workers' processes were started before these were set.
    for name, text in {**variables, "DATABASE": str(tmp_path / "mlflow.db")}.items():
        monkeypatch.setenv(name, text)
    (tmp_path / f"secretive_envs_{backend}.py").write_text(ENVIRONMENT)
    (tmp_path / "spec.yaml").write_text(SPEC.format(backend=backend, mark=tmp_path / "mark"))
    done = sweeper_here("run", "spec.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = open_run(tmp_path / "runs" / Path(done.stdout.strip()).name)
    errors = [one.error for one in read_journal(run.paths.journal) if isinstance(one, TrialRetried)]
    assert errors == ["ValueError: the server refused '***'"]
    again = sweeper_here("evaluate", "last", "--episodes", "2", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    more = sweeper_here(
        "resume", "--stop", "num_env_steps_sampled_lifetime=400", "-q", cwd=tmp_path
    )
    assert more.returncode == 0, more.stderr
    printed = done.stdout + done.stderr + again.stdout + again.stderr + more.stdout + more.stderr
    assert SENTINEL not in printed
    assert "connecting with ***" in printed
    assert "connecting with ***" in run.paths.trial_log("t0001").read_text()
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert SENTINEL not in "\n".join(database.iterdump())
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    files += [path for path in (tmp_path / "mlartifacts").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if SENTINEL.encode() in path.read_bytes()] == []


def test_a_server_s_password_stands_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spec.yaml").write_text(
        "environment: CartPole-v1\nalgorithm: PPO\nstop: {num_env_steps_sampled_lifetime: 100}\n"
        f"tracking: {{uri: 'http://me:{SENTINEL}@127.0.0.1:9'}}\n"
    )
    for words in (("plan", "spec.yaml"), ("plan", "spec.yaml", "--json")):
        done = sweeper_here(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert SENTINEL not in done.stdout + done.stderr
        assert "the password in tracking.uri is not recorded" in " ".join(done.stdout.split())
