"""What a user's module does to the process, besides its own work, changes no number of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import sweeper, sweeper_here

TASK = """
import os
import gymnasium
import numpy as np

class Quiet(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.look(), {}

    def step(self, action):
        reward = float(int(action) == int(self.seen[0] > 0))
        self.steps += 1
        return self.look(), reward, False, self.steps >= 20, {}

    def look(self):
        self.seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.seen

class Loud(Quiet):
    def __init__(self):
        print("a simulator says hello", flush=True)
        os.chdir("/")

    def step(self, action):
        print("a step")
        return super().step(action)
"""
QUIET = """
import gymnasium
from task_of_both import Quiet
gymnasium.register("Quiet-v0", Quiet)
"""
LOUD = """
import logging, os, random, signal, sys, tempfile, warnings
import gymnasium
import numpy as np
import torch
from task_of_both import Loud

print("loading")
os.system("echo a child process says hello")
torch.set_default_dtype(torch.float64)
torch.set_num_threads(7)
for seed in (random.seed, np.random.seed, torch.manual_seed):
    seed(0)
warnings.simplefilter("error")
np.seterr(all="raise")
sys.setrecursionlimit(150)
logging.basicConfig(level=logging.DEBUG, force=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.environ["MLFLOW_TRACKING_URI"] = "http://localhost:1"
os.chdir(tempfile.mkdtemp())
gymnasium.register("Loud-v0", Loud)
"""
# Scripts that lie beside the spec and have libraries' names.
SCRIPTS = ("mlflow", "ray", "pandas", "scipy", "pyarrow")
SPEC = """
algorithm: PPO
name: effects
seeds: 2
param_space:
  lr: 3.0e-3
  train_batch_size_per_learner: 256
  minibatch_size: 64
  num_epochs: 2
  num_envs_per_env_runner: 2
  model_config: {fcnet_hiddens: [8]}
stop: {num_env_steps_sampled_lifetime: 1024}
selection: {finalists: 0}
evaluation: {episodes: 5, every_env_steps: 512}
"""
CLOCKS = {"time", "s"}  # parts of the names of what is measured by the clock


def run_of(folder: Path, name: str, sweeper: Callable[..., Any]) -> dict[str, Any]:
    """Everything that plan, run and evaluate say about numbers."""
    spec = folder / f"{name}.yaml"
    environment = f"{{id: {name.capitalize()}-v0, module: {name}_env}}"
    spec.write_text(f"environment: {environment}\nstorage: runs_{name}\n{SPEC}", "utf-8")
    plan = sweeper("plan", spec.name, "--json", cwd=folder)
    assert plan.returncode == 0, plan.stderr
    ran = sweeper("run", "-q", spec.name, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    root = Path(ran.stdout.strip())
    assert root.parent == folder / f"runs_{name}"
    played = sweeper("evaluate", str(root), "--episodes", "7", "--json", cwd=folder)
    assert played.returncode == 0, played.stderr
    assert "warning: MLflow" not in ran.stderr
    events = [json.loads(line) for line in (root / "journal.jsonl").read_text().splitlines()]
    rows = [
        {key: value for key, value in event["metrics"].items() if not CLOCKS & {*key.split("_")}}
        for event in events
        if event["event"] == "trial_reported"
    ]
    told = json.loads(played.stdout)
    return {
        "plan": json.loads(plan.stdout.replace(name.capitalize(), "X")),
        "rows": rows,
        "agents": told["agents"],
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("effects")
    for name, text in {"task_of_both": TASK, "quiet_env": QUIET, "loud_env": LOUD}.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.acceptance
def test_a_loud_module_changes_no_number(ray_cluster: None, folder: Path) -> None:
    quiet = run_of(folder, "quiet", sweeper_here)
    for name in SCRIPTS:
        (folder / f"{name}.py").write_text("raise SystemExit('a script of mine')\n", "utf-8")
    assert run_of(folder, "loud", sweeper) == quiet
    assert len(quiet["rows"]) >= 4
