"""Time a whole sweep, from nothing to a champion of equal evidence, beside two other tools.

PPO on CartPole-v1: 16 configurations x 5 seeds x 50,000 env steps, then 3 finalists and the
defaults x 10 fresh seeds, on all cores: by `sweeper run` (with the journal, MLflow's record, the
champion's agent and its evaluation), by Optuna with Stable-Baselines3, and by Ray Tune with RLlib,
each in the way its documentation shows. All train the same number of env steps and gradient
steps with the same loss, and judge by as many episodes; they draw their configurations
themselves. Afterwards, not timed, each trains its champion with 30 further seeds.

The others do a part of the work only, a quarter of the search and half of the confirmation. What
these took is scaled to the whole; what comes before and after is not.

    python benchmarks/whole_sweep.py              # about an hour on two cores
    python benchmarks/whole_sweep.py --whole      # the others do all of it, about two hours
    python benchmarks/whole_sweep.py --short      # a small sweep, ~5 minutes
    python benchmarks/whole_sweep.py --only sweeper
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conditions import Conditions
from descendants import DescendantsClock
from tables import print_head, print_row, verdict
from whole_sweep_task import (
    ENVIRONMENT,
    ENVS,
    EPOCHS,
    FIRST_FURTHER_SEED,
    HIDDENS,
    MINIBATCH,
    SPACE,
    STEPS,
    Work,
)

from sweeper.evidence.statistics import mean_interval
from sweeper.formatting import count_noun

HERE = Path(__file__).parent
OURS = "sweeper"
CORES = len(os.sched_getaffinity(0))
WHOLE = Work(
    configurations=16, seeds=5, env_steps=50_000, finalists=3, confirm_seeds=10, cores=CORES
)
PART = replace(WHOLE, configurations=4, finalists=1)
SHORT = replace(
    WHOLE, configurations=4, seeds=2, env_steps=4_000, finalists=1, confirm_seeds=3,
    confirm_episodes=20,
)  # fmt: skip
SHORT_PART = replace(SHORT, configurations=2)
# How many times faster: at least, and the aim.
TARGETS = {"Optuna + Stable-Baselines3": (8.0, 12.0), "Ray Tune + RLlib": (20.0, 30.0)}
RIVALS = {
    "Optuna + Stable-Baselines3": ("whole_sweep_optuna_sb3.py", "stable_baselines3"),
    "Ray Tune + RLlib": ("whole_sweep_tune_rllib.py", "ray"),
}
PACKAGES = ("ray", "torch", "optuna", "stable-baselines3", "mlflow", "gymnasium")


@dataclass(frozen=True)
class Spent:
    """What something took, by the clock and in CPU seconds of all processes."""

    seconds: float
    cpu_s: float

    def scaled(self, factor: float) -> Spent:
        """So many times as much."""
        return Spent(self.seconds * factor, self.cpu_s * factor)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.seconds + other.seconds, self.cpu_s + other.cpu_s)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.seconds - other.seconds, self.cpu_s - other.cpu_s)


@dataclass(frozen=True)
class Outcome:
    """One contestant's sweep.

    Attributes:
        work: what it did.
        measured: what that took.
        whole: what the whole work takes; the same unless it did a part.
        champion: searched values.
        confirmed: the mean of the champion's runs in its confirmation.
        further: returns of its runs with further seeds.
    """

    work: Work
    measured: Spent
    whole: Spent
    champion: Mapping[str, float]
    confirmed: float
    further: tuple[float, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="a small sweep")
    parser.add_argument("--whole", action="store_true", help="the others do all of the work")
    parser.add_argument("--only", nargs="+", choices=(OURS, "optuna", "tune"), help="of them")
    parser.add_argument("--further", type=int, help="seeds afterwards (30; 4 with --short)")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    arguments = parser.parse_args()
    work, part = (SHORT, SHORT_PART) if arguments.short else (WHOLE, PART)
    part = work if arguments.whole else part
    further = arguments.further or (4 if arguments.short else 30)
    conditions = Conditions(PACKAGES)
    outcomes: dict[str, Outcome] = {}
    for name in (OURS, *RIVALS):
        if arguments.only and not any(one in name.lower() for one in arguments.only):
            continue
        if name != OURS and importlib.util.find_spec(RIVALS[name][1]) is None:
            print(f"{name} is left out: {RIVALS[name][1]} is not installed", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            run = run_ours if name == OURS else _rival(RIVALS[name][0], part)
            outcomes[name] = outcome = run(work, Path(folder), further)
        print(f"{name}: {outcome}", file=sys.stderr, flush=True)
    print_outcomes(outcomes, work)
    print_targets(outcomes)
    print(f"\n{conditions.describe()}")
    if arguments.json:
        arguments.json.write_text(json.dumps(outcomes, indent=2, default=lambda one: vars(one)))


def run_ours(work: Work, folder: Path, further: int) -> Outcome:
    """`sweeper run`, then `sweeper train` of the champion with further seeds."""
    spec = folder / "whole.json"  # JSON is YAML
    spec.write_text(json.dumps(describe_sweep(work, folder)))
    spent, lines = watch([sys.executable, "-m", "sweeper", "run", str(spec), "--quiet"])
    run = lines[-1][2]
    best = json.loads(_answer("best", run, "--json"))
    champion = {name: best["configuration"][name] for name in SPACE}
    again = {
        **describe_sweep(work, folder),
        "name": "further",
        "param_space": best["configuration"],
        "seeds": [*range(FIRST_FURTHER_SEED, FIRST_FURTHER_SEED + further)],
        "evaluation": {"episodes": work.confirm_episodes, "every_env_steps": work.env_steps},
        "selection": {"finalists": 0},
        "search": {},
    }
    spec.write_text(json.dumps(again))
    trained = _answer("train", str(spec), "--quiet").strip()
    return Outcome(
        work, spent, spent, champion, best["confirmation"]["mean"], _replicas_of(trained)
    )


def _replicas_of(run: str) -> tuple[float, ...]:
    """The last evaluation of every replica of a run's only trial."""
    from sweeper import open_run

    report = open_run(run).results.trials[0].last_report
    return tuple(report["replica/evaluation/episode_return_mean"])


def describe_sweep(work: Work, folder: Path) -> dict[str, Any]:
    """The spec of the whole sweep."""
    searched = {
        name: {"loguniform" if is_log else "uniform": [low, high]}
        for name, (low, high, is_log) in SPACE.items()
    }
    return {
        "name": "whole",
        "environment": ENVIRONMENT,
        "algorithm": "PPO",
        "seeds": work.seeds,
        "param_space": {
            **searched,
            "num_envs_per_env_runner": ENVS,
            "train_batch_size_per_learner": ENVS * STEPS,
            "minibatch_size": MINIBATCH,
            "num_epochs": EPOCHS,
            "use_kl_loss": False,
            "vf_loss_coeff": 0.5,
            "vf_clip_param": "inf",
            "grad_clip": 0.5,
            "model_config": {"fcnet_hiddens": HIDDENS},
        },
        "search": {"algorithm": "random", "num_samples": work.configurations},
        "stop": {"num_env_steps_sampled_lifetime": work.env_steps},
        "evaluation": {"episodes": work.search_episodes, "every_env_steps": work.env_steps},
        "selection": {
            "finalists": work.finalists,
            "confirm_seeds": work.confirm_seeds,
            "confirm_episodes": work.confirm_episodes,
        },
        "storage": str(folder / "runs"),
    }


def _rival(script: str, part: Work) -> Callable[[Work, Path, int], Outcome]:
    """Another contestant, which does a part of the work."""

    def run(work: Work, folder: Path, further: int) -> Outcome:
        command = [sys.executable, str(HERE / script), part.to_json(), str(folder)]
        spent, lines = watch(command)
        marks = {line.split()[1]: at for at, _, line in lines if line.startswith("mark ")}
        cpu = {line.split()[1]: cpu_s for _, cpu_s, line in lines if line.startswith("mark ")}
        begun, searched, confirmed = (
            Spent(marks[name], cpu[name]) for name in ("begun", "searched", "confirmed")
        )
        search, confirmation = searched - begun, confirmed - searched
        whole = spent - search - confirmation
        whole += search.scaled(work.searched / part.searched)
        whole += confirmation.scaled(work.confirmed / part.confirmed)
        found = json.loads(lines[-1][2])
        champion = json.dumps(found["champion"])
        _, after = watch([*command, champion, str(further)])
        runs = tuple(json.loads(after[-1][2])["further"])
        return Outcome(part, spent, whole, found["champion"], found["confirmed"], runs)

    return run


def watch(command: list[str]) -> tuple[Spent, list[tuple[float, float, str]]]:
    """Run a command to its end.

    Returns:
        What it took, and the lines on its stdout, each with the seconds and the CPU seconds
        until then.
    """
    lines = []
    with DescendantsClock() as clock, tempfile.TemporaryFile("w+") as words:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True)
        for line in process.stdout or ():
            if line.strip():
                lines.append((time.perf_counter() - began, clock.read(), line.strip()))
        code = process.wait()
        spent = Spent(time.perf_counter() - began, clock.read())
        if code or not lines:
            words.seek(0)
            sys.exit(f"{words.read()}\n{' '.join(command[:2])} ended with {code}")
    return spent, lines


def _answer(*words: str) -> str:
    command = [sys.executable, "-m", "sweeper", *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def print_outcomes(outcomes: Mapping[str, Outcome], work: Work) -> None:
    """Print what each contestant did, what it took, and what its champion is worth."""
    print(
        f"PPO on {ENVIRONMENT}, {CORES} cores: {work.configurations} configurations x "
        f"{work.seeds} seeds x {work.env_steps:,} env steps, then {work.finalists} of them and "
        f"the defaults x {work.confirm_seeds} fresh seeds"
    )
    print_head(
        "who", "trainings it did", "s", "CPU s", "s for the whole", "CPU s for the whole",
        "its champion, confirmed", "with further seeds (95 % of means)",
    )  # fmt: skip
    for name, one in outcomes.items():
        did = one.work.searched + one.work.confirmed
        asked = work.searched + work.confirmed
        interval, runs = mean_interval(one.further), count_noun(len(one.further), "run")
        spread = "" if interval is None else f" ({interval.low:.0f} to {interval.high:.0f})"
        print_row(
            name,
            f"all {did}" if did == asked else f"{did} of {asked}, the rest scaled",
            f"{one.measured.seconds:,.0f}",
            f"{one.measured.cpu_s:,.0f}",
            f"{one.whole.seconds:,.0f}",
            f"{one.whole.cpu_s:,.0f}",
            f"{one.confirmed:.0f}",
            f"{statistics.mean(one.further):.0f}{spread} over {runs}",
        )


def print_targets(outcomes: Mapping[str, Outcome]) -> None:
    """Print how many times faster ours is: asked, reached, and whether that is met."""
    if OURS not in outcomes:
        return
    ours = outcomes[OURS].whole
    print_head("sweeper is faster than", "asked (aim)", "by the clock", "by CPU time", "met")
    for name, (minimum, aim) in TARGETS.items():
        if name in outcomes:
            theirs = outcomes[name].whole
            reached = theirs.seconds / ours.seconds
            print_row(
                name,
                f"{minimum:g} x ({aim:g})",
                f"{reached:.1f} x",
                f"{theirs.cpu_s / ours.cpu_s:.1f} x",
                verdict(reached >= minimum, reached >= aim),
            )


if __name__ == "__main__":
    main()
