"""Time the sweep of Ray's "Getting Started with RLlib" by plain Tune and by sweeper.

PPO on CartPole-v1 with RLlib's defaults, three learning rates, a fixed number of env steps per
trial, no remote env runners, a checkpoint at the end. Each side runs in a process of its own and
is timed from start to exit; ours also writes MLflow's record, the champion and its model. The
sides take turns, so that both see the same load of the machine.

    python benchmarks/getting_started.py                  # 3 turns of 40,000 steps, ~25 minutes
    python benchmarks/getting_started.py --short          # 1 turn of 8,000 steps
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

MAX_RATIO = 1.05  # ours / plain
SPEC = Path(__file__).parent.parent / "configs" / "rllib_ppo_lr.yaml"

PLAIN = """
import json, sys
from ray import tune
from ray.rllib.algorithms.ppo import PPOConfig

config = (
    PPOConfig()
    .environment("CartPole-v1")
    .env_runners(num_env_runners=0)
    .training(lr=tune.grid_search([0.01, 0.001, 0.0001]))
)
tuner = tune.Tuner(
    "PPO",
    param_space=config,
    run_config=tune.RunConfig(
        stop={"num_env_steps_sampled_lifetime": int(sys.argv[1])},
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
        storage_path=sys.argv[2],
        verbose=0,
    ),
)
rows = [result.metrics for result in tuner.fit()]
print(json.dumps({
    "steps": [row["num_env_steps_sampled_lifetime"] for row in rows],
    "returns": [row["env_runners"]["episode_return_mean"] for row in rows],
}))
"""


def run_plain(env_steps: int, folder: Path) -> dict[str, list[float]]:
    """Run the sweep by plain Tune; return each trial's last env steps and return."""
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(env_steps), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def run_ours(env_steps: int, folder: Path) -> dict[str, list[float]]:
    """Run the same sweep by `sweeper run`."""
    stop = f"stop={{num_env_steps_sampled_lifetime: {env_steps}, episode_return_mean: null}}"
    run, _ = run_sweep(SPEC, f"storage={folder}", stop)
    listed = subprocess.run(
        [sys.executable, "-m", "sweeper", "results", str(run), "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    rows = json.loads(listed.stdout)
    return {
        "steps": [row["num_env_steps_sampled_lifetime"] for row in rows],
        "returns": [row["score"] for row in rows],
    }


def main() -> None:
    """Run both sides in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--env-steps", type=int, default=40_000)
    parser.add_argument("--short", action="store_true", help="1 turn of 8,000 env steps")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    turns = 1 if arguments.short else arguments.turns
    env_steps = 8_000 if arguments.short else arguments.env_steps
    conditions = Conditions(("ray", "torch", "mlflow"))
    sides = {"plain tune.Tuner": run_plain, "sweeper run": run_ours}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    last: dict[str, dict[str, list[float]]] = {}
    for turn in range(turns):
        order = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for name in order:
            with tempfile.TemporaryDirectory() as folder:
                began = time.perf_counter()
                last[name] = sides[name](env_steps, Path(folder))
                seconds[name].append(time.perf_counter() - began)
                print(f"turn {turn + 1}: {name}: {seconds[name][-1]:.1f} s", file=sys.stderr)
    report(seconds, last, env_steps)
    print(f"\n{conditions.describe()}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"env_steps": env_steps, "seconds": seconds, "last": last}, indent=2)
        )


def report(
    seconds: dict[str, list[float]], last: dict[str, dict[str, list[float]]], env_steps: int
) -> None:
    """Print the tables in Markdown."""
    print(f"PPO, CartPole-v1, lr 0.01 / 0.001 / 0.0001, {env_steps:,} env steps a trial")
    print_head("side", "s: median (least to greatest)", "env steps", "returns at the end")
    for name, times in seconds.items():
        steps = " / ".join(f"{value:.0f}" for value in last[name]["steps"])
        returns = " / ".join(f"{value:.0f}" for value in last[name]["returns"])
        print_row(name, spread(times, ".1f"), steps, returns)
    print(
        "\nThe two returns are not the same quantity: plain Tune's is of the last iteration's "
        "episodes, ours of the last 100."
    )
    plain, ours = seconds.values()
    ratios = [mine / theirs for mine, theirs in zip(ours, plain, strict=True)]
    met = verdict(statistics.median(ratios) <= MAX_RATIO)
    print_head("what", "asked", "reached: median (least to greatest)", "met")
    print_row("sweeper run / plain tune.Tuner", f"at most {MAX_RATIO}", spread(ratios, ".3f"), met)


if __name__ == "__main__":
    main()
