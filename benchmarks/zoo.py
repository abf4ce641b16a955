"""RL Baselines3 Zoo's hyperparameters on the torch backend, beside Zoo's published returns.

Every spec of configs/zoo is trained on its seeds by `sweeper run`; each seed's agent then plays
the spec's greedy evaluation episodes. The unit is the training run: an agent's episodes are
averaged first. Zoo's figures are those of one agent each, kept because it was good.

    python benchmarks/zoo.py                         # all of them: hours
    python benchmarks/zoo.py cartpole_ppo pendulum_ppo --seeds 5
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sweeper.evidence.statistics import summarise_sample
from sweeper.journal import TrialReported, read_journal
from sweeper.metrics import ENV_STEPS

ZOO = Path(__file__).parent.parent / "configs" / "zoo"
METRIC = "replica/evaluation/episode_return_mean"


def train(spec: Path, seeds: int | None, storage: Path) -> tuple[list[float], int, float]:
    """Each seed's evaluation at the end, its env steps, and the seconds that all took."""
    began = time.perf_counter()
    overrides = [f"storage={storage}", "tracking=null", *([f"seeds={seeds}"] if seeds else [])]
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "run", str(spec), *overrides, "--quiet"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    reports = [
        event.metrics
        for event in read_journal(Path(done.stdout.strip()) / "journal.jsonl")
        if isinstance(event, TrialReported)
    ]
    return list(reports[-1][METRIC]), int(reports[-1][ENV_STEPS]), time.perf_counter() - began


def published(spec: Path) -> str:
    """What the spec's first line says was published."""
    found = re.match(r"# Published: (\S+ ± \S+)", spec.read_text(encoding="utf-8"))
    return found.group(1) if found else "-"


def main() -> None:
    """Train what was named, print the table in Markdown, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="specs of configs/zoo; all if none is named")
    parser.add_argument("--seeds", type=int, help="fewer (or more) than the specs say")
    arguments = parser.parse_args()
    specs = [ZOO / f"{name}.yaml" for name in arguments.names] or sorted(ZOO.glob("*.yaml"))
    print(f"{os.cpu_count()} cores ({platform.machine()}), one trial at a time on one core\n")
    columns = ["spec", "env steps", "seeds", "mean", "95 % interval", "IQM", "least to greatest"]
    columns += ["published", "s"]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|", flush=True)
    for spec in specs:
        with tempfile.TemporaryDirectory() as storage:
            values, env_steps, seconds = train(spec, arguments.seeds, Path(storage))
        summary = summarise_sample(values)
        low, high = summary.interval or (float("nan"), float("nan"))
        interval = f"{low:.1f} to {high:.1f}" if summary.interval else summary.interval_reason
        print(
            f"| {spec.stem} | {env_steps:,} | {len(values)} | {summary.mean:.1f} | {interval} "
            f"| {summary.iqm:.1f} | {min(values):.1f} to {max(values):.1f} | {published(spec)} "
            f"| {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
