"""A sweep on the torch backend by the command line, to its champion and its MLflow model."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sweeper.agents import load_agent

SPEC = """
name: tiny
environment: CartPole-v1
algorithm: {algorithm}
seeds: 3
param_space:
  lr: {{grid_search: [1.0e-3, 1.0e-4]}}
  model_config: {{fcnet_hiddens: [16]}}
{more}
stop: {{num_env_steps_sampled_lifetime: 1200}}
evaluation: {{episodes: 3, every_env_steps: 600}}
"""
PPO = """  train_batch_size_per_learner: 200
  minibatch_size: 100
  num_epochs: 2
"""
DQN = """  num_steps_sampled_before_learning_starts: 200
  replay_buffer_config: {type: PrioritizedEpisodeReplayBuffer, capacity: 1000}
"""


def sweeper(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweeper", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module", params=["PPO", "DQN"])
def finished(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A finished run of two trials: its working directory and its folder."""
    folder = tmp_path_factory.mktemp(f"torch-{request.param}")
    more = PPO if request.param == "PPO" else DQN
    text = SPEC.format(algorithm=request.param, more=more.rstrip("\n"))
    (folder / "tiny.yaml").write_text(text)
    done = sweeper("run", "tiny.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, Path(done.stdout.strip())


def test_torch_is_the_default_and_every_replica_reports(finished: tuple[Path, Path]) -> None:
    folder, run = finished
    assert "backend: torch" in (run / "spec.yaml").read_text()
    rows = json.loads(sweeper("results", "--json", cwd=folder).stdout)
    assert [row["state"] for row in rows] == ["TERMINATED"] * 2
    history = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    reports = [event["metrics"] for event in history if event["event"] == "trial_reported"]
    assert len(reports[-1]["replica/evaluation/episode_return_mean"]) == 3
    assert reports[-1]["num_env_steps_sampled_lifetime"] >= 1200


def test_the_champion_is_one_replica_without_pickles(finished: tuple[Path, Path]) -> None:
    folder, run = finished
    best = json.loads(sweeper("best", "--json", cwd=folder).stdout)
    assert Path(best["agent"]) == run / "champion"
    names = {path.name for path in (run / "champion").iterdir()}
    assert names == {"agent.json", "weights.safetensors"}
    agent = load_agent(best["agent"])
    assert agent.description["trial_id"] == best["trial_id"]
    assert len(agent.description["seeds"]) == 1
    assert agent.act(np.zeros(4, np.float32)) in (0, 1)
    checkpoint = {path.name for path in Path(best["checkpoint"]).iterdir()}
    assert not any(name.endswith((".pkl", ".pt")) for name in checkpoint)


def test_the_mlflow_model_needs_neither_sweeper_nor_ray(finished: tuple[Path, Path]) -> None:
    folder, run = finished
    database = folder / "runs" / "mlflow.db"
    (model,) = [
        row[0] for row in sqlite3.connect(database).execute("select model_id from logged_models")
    ]
    code = (
        "import sys\n"
        "for name in ('sweeper', 'ray'): sys.modules[name] = None\n"
        "import mlflow, numpy\n"
        f"mlflow.set_tracking_uri('sqlite:///{database}')\n"
        f"model = mlflow.pyfunc.load_model('models:/{model}')\n"
        "print(model.predict(numpy.zeros((5, 4), numpy.float32)).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    actions = json.loads(done.stdout.splitlines()[-1])
    agent = load_agent(run / "champion")
    assert actions == [agent.act(np.zeros(4, np.float32))] * 5
