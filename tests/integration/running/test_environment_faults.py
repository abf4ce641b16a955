"""Real sweeps on environments that return what they must not."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from command_line import sweeper_here
from tiers import leave_after

MODULE = """
import gymnasium
import numpy as np


class Faulty(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, fault="number", after=300, last_seed=False):
        self.fault, self.after, self.steps = fault, after, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None and self.fault == "number":
            # One replica in three: the first seeds of the replicas differ.
            self.is_faulty = seed % 3 == 0
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.t += 1
        self.steps += 1
        seen, reward = np.zeros(2, np.float32), float(action)
        if self.steps > self.after:
            if self.fault == "shape":
                seen = np.zeros(1, np.float32)
            elif self.is_faulty:
                reward = np.nan
        return seen, reward, False, self.t >= 10, {}


gymnasium.register("Faulty-v0", Faulty)


class Halving(gymnasium.RewardWrapper):
    def reward(self, reward):
        return reward / 2 - 7
"""

SPEC = """
environment: {{id: Faulty-v0, module: {module}, kwargs: {{fault: {fault}}}}}
algorithm: {algorithm}
backend: {backend}
seeds: {seeds}
param_space: {{lr: {{grid_search: [1.0e-3, 1.0e-4]}}, {keys}}}
stop: {{num_env_steps_sampled_lifetime: 1024}}
selection: {{finalists: 0}}
resources: {{retries: 2}}
"""
KEYS = {
    "PPO": "train_batch_size_per_learner: 256, minibatch_size: 128, num_epochs: 2",
    "DQN": "num_steps_sampled_before_learning_starts: 100, train_batch_size_per_learner: 16",
}


def write_spec(folder: Path, module: str, fault: str, **parts: object) -> None:
    (folder / f"{module}.py").write_text(MODULE)
    parts = {"algorithm": "PPO", "backend": "torch", "seeds": 2, **parts}
    keys = KEYS[str(parts["algorithm"])]
    (folder / "tiny.yaml").write_text(SPEC.format(module=module, fault=fault, keys=keys, **parts))


@pytest.mark.parametrize(
    ("backend", "algorithm"),
    [
        ("torch", "PPO"),
        pytest.param("torch", "DQN", marks=pytest.mark.acceptance),
        pytest.param("rllib", "PPO", marks=pytest.mark.acceptance),
        pytest.param("rllib", "DQN", marks=pytest.mark.acceptance),
    ],
)
def test_the_first_wrong_observation_ends_the_trial_and_it_is_not_tried_again(
    ray_cluster: None, tmp_path: Path, backend: str, algorithm: str
) -> None:
    module = f"shape_{backend}_{algorithm.lower()}"
    write_spec(tmp_path, module, "shape", backend=backend, algorithm=algorithm, seeds=1)
    options = ["tracking=null", "search.max_concurrent=1"]
    done = sweeper_here("run", "tiny.yaml", *options, cwd=tmp_path)
    assert done.returncode == 1
    words = "Faulty-v0, seed 0: the observation of step() has the shape (1,)"
    assert words in done.stderr
    assert "(step 301" in done.stderr
    rows = json.loads(sweeper_here("results", "--json", cwd=tmp_path).stdout)
    assert [row["state"] for row in rows] == ["ERROR", "ERROR"]
    assert all(row["error"].startswith("the environment's fault: Faulty-v0") for row in rows)
    journal = next(tmp_path.glob("runs/*/journal.jsonl")).read_text()
    assert "trial_retried" not in journal


def test_a_replica_that_gets_nan_is_frozen_named_and_counted_everywhere(
    ray_cluster: None, tmp_path: Path
) -> None:
    write_spec(tmp_path, "nan_torch", "number", seeds=5)
    done = sweeper_here("run", "tiny.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(sweeper_here("results", "--json", cwd=tmp_path).stdout)
    number = rows[0]["diverged"]
    assert 1 <= number <= 2
    cause = "frozen: Faulty-v0 returned a reward of nan in step"
    shown = f"({number} frozen)"
    assert shown in done.stderr
    assert cause in done.stderr
    table = sweeper_here("results", cwd=tmp_path).stdout
    assert shown in table
    assert cause in table
    best = sweeper_here("best", cwd=tmp_path).stdout
    assert shown in best
    assert "frozen ones count as the run's worst" in " ".join(best.split())
    assert f"{number} frozen" in sweeper_here("status", cwd=tmp_path).stdout
    assert json.loads(sweeper_here("best", "--json", cwd=tmp_path).stdout)["diverged"] == number
    database = sqlite3.connect(tmp_path / "runs" / "mlflow.db")
    logged = database.execute("select value from metrics where key = 'num_diverged_replicas'")
    assert {value for (value,) in logged} == {number}
    tags = database.execute("select value from tags where key = 'sweeper.diverged_because'")
    assert all("a reward of nan" in value for (value,) in tags)


@pytest.mark.parametrize("backend", leave_after(1, ["torch", "rllib"]))
def test_the_score_is_in_the_rewards_below_the_wrappers(
    ray_cluster: None, tmp_path: Path, backend: str
) -> None:
    module = f"own_{backend}"
    write_spec(tmp_path, module, "none", backend=backend, seeds=1)
    options = [
        f"environment.wrappers=[{module}.Halving]",
        "environment.kwargs.after=100000",
        "evaluation={episodes: 2}",
        "tracking=null",
    ]
    done = sweeper_here("run", "tiny.yaml", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(sweeper_here("results", "--json", cwd=tmp_path).stdout)
    # Ten steps with rewards of 0 or 1; through the wrapper it would be at most -65.
    assert all(0 <= row["score"] <= 10 for row in rows)
    played = sweeper_here("evaluate", "last", "--episodes=2", "--json", cwd=tmp_path)
    assert played.returncode == 0, played.stderr
    assert all(0 <= one <= 10 for one in json.loads(played.stdout)["runs"])
    reports = [
        json.loads(line)
        for line in next(tmp_path.glob("runs/*/journal.jsonl")).read_text().splitlines()
    ]
    returns = [one["metrics"].get("episode_return_mean") for one in reports if "metrics" in one]
    assert returns
    assert all(0 <= one <= 10 for one in returns if one is not None)
