"""Champions as MLflow models: where neither sweeper nor Ray is, served, and of RLlib's agents."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import sweeper
from gymnasium import spaces
from wheels import install, make_environment, without_checkout

from sweeper.api import open_run
from sweeper.opened_agent import load_agent
from sweeper.tracking.destination import import_mlflow

SPACES = Path(__file__).parents[1] / "support" / "space_envs.py"

pytestmark = pytest.mark.acceptance

TORCH = """
name: torch
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {grid_search: [1.0e-3, 3.0e-4]}
  train_batch_size_per_learner: 256
  minibatch_size: 64
  num_epochs: 4
  num_envs_per_env_runner: 4
  model_config: {fcnet_hiddens: [16]}
stop: {num_env_steps_sampled_lifetime: 4000}
selection: {finalists: 0}
tracking: {register_as: agent}
"""
RLLIB = """
name: rllib
environment: ENVIRONMENT
algorithm: ALGORITHM
backend: rllib
seeds: 1
param_space:
  lr: {grid_search: [1.0e-3]}
  model_config: {fcnet_hiddens: [8]}
PARAMETERS
stop: {num_env_steps_sampled_lifetime: 600}
selection: {finalists: 0}
"""
PPO = """  train_batch_size_per_learner: 200
  minibatch_size: 100
  num_epochs: 2"""
DQN = """  num_steps_sampled_before_learning_starts: 100
  replay_buffer_config: {capacity: 1000}"""
NESTED = "Dict in an order of its own"
ANY = "{id: AnySpaces-v0, module: MODULE, kwargs: {observations: OBSERVATIONS}}"
CASES = {
    "DQN": ("CartPole-v1", "DQN", DQN),
    "PPO, continuous actions": ("Pendulum-v1", "PPO", PPO),
    "PPO, a Dict": (ANY.replace("OBSERVATIONS", "Dict"), "PPO", PPO),
    "PPO, a nested Dict": (ANY.replace("OBSERVATIONS", NESTED), "PPO", PPO),
}
# Acts in a process of its own; what it gets and gives is JSON.
ACT = """
import importlib.util, json, sys
absent = json.loads(sys.argv[3])
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ImportError(f"{name} is not here")
sys.meta_path.insert(0, Absent())
import mlflow, numpy
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
observations = json.load(sys.stdin)
actions = [model.predict(one) for one in observations]
print(json.dumps([numpy.asarray(one).tolist() for one in actions]))
print(sorted(name for name in ("ray", "torch", "sweeper") if name in sys.modules))
"""


def _run(folder: Path, text: str) -> Path:
    """Run a sweep; returns its folder."""
    (folder / "spec.yaml").write_text(text)
    done = sweeper("run", "spec.yaml", "--quiet", cwd=folder)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def _model(run: Path) -> tuple[str, str, Path]:
    """The tracking URI, the model's URI, and its files."""
    uri = f"sqlite:///{run.parent / 'mlflow.db'}"
    client = import_mlflow().MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(open_run(run).spec.tracking.experiment)
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert str(model.status) == "READY"
    return uri, f"models:/{model.model_id}", Path(model.artifact_location.removeprefix("file://"))


def _act(
    python: Path | str, uri: str, model: str, observations: list[Any], absent: list[str], cwd: Path
) -> tuple[list[Any], str]:
    """What a model does, in a process of another Python, and which of ours that has imported."""
    done = subprocess.run(
        [str(python), "-c", ACT, uri, model, json.dumps(absent)],
        input=json.dumps(observations),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=without_checkout(),
    )
    assert done.returncode == 0, done.stderr
    actions, imported = done.stdout.splitlines()[-2:]
    return json.loads(actions), imported


@pytest.fixture(scope="module")
def torch_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _run(tmp_path_factory.mktemp("torch"), TORCH)


@pytest.fixture(scope="module")
def clean_python(torch_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with what the model asks for, and nothing else."""
    python = make_environment(tmp_path_factory.mktemp("clean") / "venv", sees_others=False)
    install(python, "-r", str(_model(torch_run)[2] / "requirements.txt"))
    for name in ("ray", "torch", "sweeper"):
        done = subprocess.run(
            [str(python), "-P", "-c", f"import {name}"], env=without_checkout(), capture_output=True
        )
        assert done.returncode == 1, f"{name} is there"
    return python


def _observations(number: int) -> list[list[float]]:
    generator = np.random.default_rng(7)
    return np.float32(generator.uniform(-1, 1, (number, 4))).tolist()


def test_a_torch_champion_acts_where_only_its_requirements_are(
    torch_run: Path, clean_python: Path, tmp_path: Path
) -> None:
    uri, model, _ = _model(torch_run)
    agent = load_agent(torch_run / "champion")
    observations = _observations(20)
    expected = [int(agent.act(np.float32(one))) for one in observations]
    for name in (model, "models:/agent@champion"):
        actions, imported = _act(clean_python, uri, name, observations, [], tmp_path)
        assert actions == expected
        assert imported == "[]"
    assert len(set(expected)) == 2


def test_a_torch_champion_is_served_where_only_its_requirements_are(
    torch_run: Path, clean_python: Path, tmp_path: Path
) -> None:
    *_, files = _model(torch_run)
    agent = load_agent(torch_run / "champion")
    observations = _observations(20)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(clean_python), "-m", "mlflow", "models", "serve", "-m", str(files)]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = without_checkout()
    environment["PATH"] = f"{clean_python.parent}:{environment['PATH']}"
    with (
        (tmp_path / "served.txt").open("w") as said,
        subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=said, stderr=said,
            start_new_session=True,
        ) as server,
    ):  # fmt: skip
        try:
            base = f"http://127.0.0.1:{port}"
            _await(f"{base}/ping", server, tmp_path / "served.txt")
            body = json.dumps({"inputs": observations}).encode()
            request = urllib.request.Request(  # noqa: S310
                f"{base}/invocations", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                served = json.load(answer)["predictions"]
        finally:
            os.killpg(server.pid, signal.SIGKILL)
    assert served == [int(agent.act(np.float32(one))) for one in observations]


def _await(url: str, server: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert server.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)


@pytest.mark.parametrize("case", CASES)
def test_an_rllib_champion_acts_without_sweeper(case: str, tmp_path: Path) -> None:
    environment, algorithm, parameters = CASES[case]
    module = f"champion_spaces_{list(CASES).index(case)}"  # each is loaded in this process
    shutil.copy(SPACES, tmp_path / f"{module}.py")
    environment = environment.replace("MODULE", module)
    text = RLLIB.replace("ENVIRONMENT", environment).replace("ALGORITHM", algorithm)
    run = _run(tmp_path, text.replace("PARAMETERS", parameters))
    agent = load_agent(run / "champion", trust=True)
    with agent.make_env() as env:
        seen, acted = env.observation_space, env.action_space
    seen.seed(3)
    drawn = [seen.sample() for _ in range(8)]
    expected = [np.asarray(agent.act(one)) for one in drawn]
    assert all(acted.contains(one.astype(acted.dtype)) for one in expected)
    given = [_plain(one) for one in drawn]
    if isinstance(seen, spaces.Dict):  # which may also be flattened
        given += [spaces.flatten(seen, one).tolist() for one in drawn]
        expected *= 2
    uri, model, _ = _model(run)
    actions, _ = _act(sys.executable, uri, model, given, ["sweeper"], tmp_path)
    np.testing.assert_allclose(actions, expected, atol=1e-5)


def _plain(observation: Any) -> Any:
    """An observation as JSON."""
    if isinstance(observation, dict):
        return {key: _plain(one) for key, one in observation.items()}
    if isinstance(observation, tuple):
        return [_plain(one) for one in observation]
    return np.asarray(observation).tolist()
