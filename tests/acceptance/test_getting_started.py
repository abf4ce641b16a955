"""The slow tier: a documented sweep must really learn, and the benchmark must really run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from sweeper.opened_agent import load_agent

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.acceptance


def test_the_getting_started_sweep_finds_an_agent_that_plays(tmp_path: Path) -> None:
    spec = ROOT / "configs" / "rllib_ppo_lr.yaml"
    run = subprocess.run(
        [sys.executable, "-m", "sweeper", "run", str(spec), "--quiet"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    best = json.loads(
        subprocess.run(
            [sys.executable, "-m", "sweeper", "best", run, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    )
    assert best["score"] >= 150
    agent = load_agent(best["agent"])
    returns = []
    with gymnasium.make("CartPole-v1") as env:
        for seed in range(20):
            observation, _ = env.reset(seed=1_000_000 + seed)
            total, over = 0.0, False
            while not over:
                observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
                total += float(reward)
                over = terminated or truncated
            returns.append(total)
    assert sum(returns) / len(returns) >= 150


def test_the_benchmark_runs_and_both_sides_train_the_same_number_of_steps() -> None:
    script = ROOT / "benchmarks" / "getting_started.py"
    done = subprocess.run(
        [sys.executable, str(script), "--short"], stdout=subprocess.PIPE, text=True, check=True
    )
    rows = re.findall(r"^\| (plain tune\.Tuner|sweeper run) \|.*$", done.stdout, re.MULTILINE)
    assert rows == ["plain tune.Tuner", "sweeper run"]
    steps = re.findall(r"\| (\d+ / \d+ / \d+) \|", done.stdout)
    assert len(steps) == 2
    assert steps[0] == steps[1]
