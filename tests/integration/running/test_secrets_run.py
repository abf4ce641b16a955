"""A whole sweep with secrets that its environment needs leaves them nowhere.

The environment prints and logs them, and a trial fails with one in its error.
"""

from __future__ import annotations

import json
import multiprocessing
import sqlite3
from pathlib import Path

import pytest
import ray
from command_line import sweeper_here
from ray.experimental import internal_kv

from sweeper import veil
from sweeper.checkpoint_marker import find_damage
from sweeper.journal import TrialRetried, read_journal
from sweeper.opened_run import open_run
from sweeper.references import KEY_PREFIX, NAMESPACE, look_up

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


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets of a test at its end."""
    monkeypatch.setattr(veil, "_values", {})
    monkeypatch.setattr(veil, "_pattern", [])


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


def test_a_process_that_was_forked_has_the_value_without_asking_ray(ray_cluster: None) -> None:
    name = "OF_A_LAUNCH_ELSEWHERE"

    @ray.remote
    def ask() -> tuple[str, str]:
        text = look_up(name)  # as a vector environment does, which builds one of each first
        context = multiprocessing.get_context("fork")
        receiving, sending = context.Pipe(duplex=False)
        child = context.Process(target=lambda: sending.send(look_up(name)))
        child.start()
        try:
            return text, receiving.recv() if receiving.poll(20) else "no answer"
        finally:
            child.kill()

    key = (KEY_PREFIX + name).encode()
    internal_kv._internal_kv_put(key, b"sesame", namespace=NAMESPACE)
    try:
        assert ray.get(ask.remote()) == ("sesame", "sesame")
    finally:
        internal_kv._internal_kv_del(key, namespace=NAMESPACE)


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


# Values that are names as well; all of them are hidden in what the environment says.
COMMON = ("hopper", "evaluation", "trials", "search", "weights", "checkpoint", "TERMINATED")
HOPPER = """
from pathlib import Path
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv

class Hopper(CartPoleEnv):
    def __init__(self, token, mark, **words):
        super().__init__()
        print("hopping with", token, *words.values())
        self.token, self.mark, self.steps = token, Path(mark), 0
    def step(self, action):
        self.steps += 1
        if self.steps == 150 and not self.mark.exists():
            self.mark.touch()
            raise ValueError(f"the trials of hopper refused {self.token}")
        return super().step(action)

gymnasium.register("Hopper-v9", entry_point=Hopper, max_episode_steps=100)
"""
HOPPING = """
name: hopper-ppo
environment: {{id: Hopper-v9, module: hopper_envs, kwargs: {{mark: {mark}, {words}}}}}
algorithm: PPO
seeds: 1
param_space:
  lr: {{uniform: [0.001, 0.002]}}
  train_batch_size_per_learner: 200
  minibatch_size: 50
  num_epochs: 1
  model_config: {{fcnet_hiddens: [8]}}
search: {{num_samples: 1}}
stop: {{num_env_steps_sampled_lifetime: 400}}
evaluation: {{episodes: 2, every_env_steps: 200}}
selection: {{finalists: 0}}
tracking: null
"""


@pytest.mark.acceptance
def test_a_run_whose_variables_are_names_too_stays_readable_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_cluster: None
) -> None:
    secret = "s3cr3t-Zq9-hunter"  # noqa: S105 - no real one
    monkeypatch.setenv("TOKEN", secret)
    words = {"token": "TOKEN"}
    for number, word in enumerate(COMMON):
        monkeypatch.setenv(f"WORD_{number}", word)
        words[f"w{number}"] = f"WORD_{number}"
    given = ", ".join(f'{key}: "${{env:{name}}}"' for key, name in words.items())
    (tmp_path / "hopper_envs.py").write_text(HOPPER)
    (tmp_path / "spec.yaml").write_text(HOPPING.format(mark=tmp_path / "mark", words=given))

    done = sweeper_here("run", "spec.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).name.startswith("hopper-ppo-")
    assert "hopping with *** *** ***" in done.stderr
    more = sweeper_here("resume", "--num-samples", "2", "-q", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    opened = open_run(tmp_path / done.stdout.strip())
    assert [one.state for one in opened.results.trials] == ["TERMINATED", "TERMINATED"]
    assert opened.is_champion_written
    assert opened.spec is not None
    assert opened.spec.name == "hopper-ppo"

    paths = opened.paths
    events = list(read_journal(paths.journal))
    errors = [event.error for event in events if isinstance(event, TrialRetried)]
    assert errors == ["ValueError: the *** of *** refused ***"]
    for record in opened.results.trials:
        assert "evaluation/episode_return_mean" in record.last_report
        for checkpoint in record.checkpoints:
            assert find_damage(paths.root / checkpoint.path) is None
        log = paths.trial_log(record.trial_id).read_text()
        assert "evaluation/episode_return_mean=" in log
        assert f"{record.reason}" in log
    for path in (paths.root).rglob("*"):
        text = path.read_bytes() if path.is_file() else b""
        assert secret.encode() not in text, path
        if path.name not in ("journal.jsonl", "log.txt"):
            assert b"***" not in text, path

    for verb in (("list",), ("status",), ("results", "--json"), ("best", "--json")):
        shown = sweeper_here(*verb, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert "damaged" not in shown.stdout
        assert "***" not in shown.stdout
        if "--json" in verb:
            json.loads(shown.stdout)
    assert sweeper_here("evaluate", "last", "--episodes", "2", cwd=tmp_path).returncode == 0
