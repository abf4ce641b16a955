"""What evidence costs: a confirmation beside the search, and an evaluation of many episodes.

A sweep trains four learning rates of PPO on CartPole-v1, ten seeds each, and confirms the best
three beside the defaults, ten fresh seeds each: as many trainings again. By the journal, the
confirmation lasts from the search's last event to the launch's end: it plays 100 episodes a seed,
then chooses, evaluates and saves the champion's agent. Then `sweeper evaluate` plays 100 episodes
with each of five agents that balance the pole to the end, timed from the process's start to its
exit.

    python benchmarks/evidence_cost.py             # 3 turns, ~10 minutes
    python benchmarks/evidence_cost.py --short     # 1 turn of short trainings, a minute
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conditions import Conditions
from measuring import run_sweep
from tables import print_head, print_row, spread, verdict

from sweeper.journal import ConfirmationPlanned, LaunchEnded, TrialStarted, read_journal
from sweeper.paths import RunPaths

MAX_RATIO = 1.3  # the confirmation's time to the search's
MAX_EVALUATION_S = 5.0
EPISODES, AGENTS = 100, 5
SPEC = """
environment: CartPole-v1
algorithm: PPO
seeds: {seeds}
param_space:
  lr: {lr}
  num_epochs: 8
  minibatch_size: 128
  train_batch_size_per_learner: 1024
  num_envs_per_env_runner: 8
  lambda_: 0.95
  use_kl_loss: false
  model_config: {{fcnet_hiddens: [64, 64]}}
stop: {{num_env_steps_sampled_lifetime: {env_steps}}}
evaluation: {{episodes: 20, every_env_steps: {env_steps}}}
selection: {{finalists: {finalists}, confirm_seeds: 10, confirm_episodes: 100}}
storage: {storage}
"""


def main() -> None:
    """Measure both in turns and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="1 turn of short trainings")
    parser.add_argument("--turns", type=int, help="3; 1 with --short")
    arguments = parser.parse_args()
    turns = arguments.turns or (1 if arguments.short else 3)
    env_steps = 5_000 if arguments.short else 50_000
    conditions = Conditions(("torch", "ray", "gymnasium"))
    with tempfile.TemporaryDirectory() as folder:
        print_confirmation([time_stages(Path(folder), env_steps) for _ in range(turns)])
        agents = train_agents(Path(folder), env_steps)
        print_evaluation([evaluate(agents) for _ in range(turns)])
    print(f"\n{conditions.describe()}")


def time_stages(folder: Path, env_steps: int) -> tuple[float, float]:
    """Seconds of the search of a sweep, from its first trial's start, and of its confirmation."""
    rates = "{grid_search: [3.0e-4, 6.0e-4, 1.0e-3, 2.0e-3]}"
    spec = _write(folder, seeds=10, lr=rates, env_steps=env_steps, finalists=3)
    run, _ = run_sweep(spec)
    events = read_journal(RunPaths(run).journal)
    begun = next(event.time for event in events if isinstance(event, TrialStarted))
    searched = next(event.time for event in events if isinstance(event, ConfirmationPlanned))
    ended = next(event.time for event in events if isinstance(event, LaunchEnded))
    return searched - begun, ended - searched


def train_agents(folder: Path, env_steps: int) -> str:
    """Train the agents that are evaluated; returns their trial's checkpoint."""
    spec = _write(folder, seeds=AGENTS, lr="1.0e-3", env_steps=env_steps, finalists=0)
    run, _ = run_sweep(spec)
    return json.loads(_answer("best", str(run)))["checkpoint"]


def _write(folder: Path, **values: object) -> Path:
    spec = folder / "cost.yaml"
    spec.write_text(SPEC.format(storage=folder / "runs", **values))
    return spec


def evaluate(agents: str) -> tuple[float, float]:
    """Seconds that `sweeper evaluate` takes for a checkpoint, and the mean return it finds."""
    began = time.perf_counter()
    answer = _answer("evaluate", agents, "--episodes", str(EPISODES))
    return time.perf_counter() - began, json.loads(answer)["mean"]


def _answer(*words: str) -> str:
    command = [sys.executable, "-m", "sweeper", *words, "--json"]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    ).stdout


def print_confirmation(stages: list[tuple[float, float]]) -> None:
    """Print what the stages of a sweep took, and their ratio."""
    searches, confirmations = zip(*stages, strict=True)
    ratios = [after / before for before, after in stages]
    print_head("4 trials of 10 seeds, s", "confirmation, s", "ratio", "asked", "met")
    met = verdict(statistics.median(ratios) <= MAX_RATIO)
    figures = (spread(searches, ".1f"), spread(confirmations, ".1f"), spread(ratios, ".2f"))
    print_row(*figures, f"at most {MAX_RATIO}", met)


def print_evaluation(evaluations: list[tuple[float, float]]) -> None:
    """Print what an evaluation took."""
    seconds, returns = zip(*evaluations, strict=True)
    print_head(f"{EPISODES} episodes x {AGENTS} agents, s", "mean return", "asked", "met")
    met = verdict(statistics.median(seconds) <= MAX_EVALUATION_S)
    print_row(spread(seconds, ".2f"), f"{returns[0]:.1f}", f"at most {MAX_EVALUATION_S:g} s", met)


if __name__ == "__main__":
    main()
