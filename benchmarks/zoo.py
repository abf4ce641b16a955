"""Train RL Baselines3 Zoo's hyperparameters on the torch backend; compare with Zoo's returns.

`sweeper run` trains every spec of configs/zoo on its seeds; each seed's agent then plays the
spec's greedy evaluation episodes. The unit is the training run: an agent's episodes are averaged
first. Zoo's returns are of one agent each, which was published because it was good.

    python benchmarks/zoo.py                         # all of them: hours
    python benchmarks/zoo.py cartpole_ppo pendulum_ppo --seeds 5
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import tempfile
from pathlib import Path

from measuring import run_sweep
from tables import print_head, print_row

from sweeper.evidence.statistics import Summary, summarise_sample
from sweeper.journal import TrialReported, read_journal
from sweeper.metrics import ENV_STEPS

ZOO = Path(__file__).parent.parent / "configs" / "zoo"
METRIC = "replica/evaluation/episode_return_mean"


def train(spec: Path, seeds: int | None, storage: Path) -> tuple[list[float], int, float]:
    """Return each seed's last evaluation, its env steps, and the seconds of the whole run."""
    overrides = [f"storage={storage}", "tracking=null", *([f"seeds={seeds}"] if seeds else [])]
    run, seconds = run_sweep(spec, *overrides)
    reports = [
        event.metrics
        for event in read_journal(run / "journal.jsonl")
        if isinstance(event, TrialReported)
    ]
    return list(reports[-1][METRIC]), int(reports[-1][ENV_STEPS]), seconds


def published(spec: Path) -> str:
    """The published return, from the spec's first line."""
    found = re.match(r"# Published: (\S+ ± \S+)", spec.read_text(encoding="utf-8"))
    return found.group(1) if found else "-"


def describe_interval(summary: Summary) -> str:
    """The 95 % interval, or why there is none."""
    if summary.interval is None:
        return summary.interval_reason or "-"
    return "{:.1f} to {:.1f}".format(*summary.interval)


def main() -> None:
    """Train the named specs and print a Markdown table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="specs of configs/zoo; all if none is named")
    parser.add_argument("--seeds", type=int, help="fewer (or more) than the specs say")
    arguments = parser.parse_args()
    specs = [ZOO / f"{name}.yaml" for name in arguments.names] or sorted(ZOO.glob("*.yaml"))
    print(f"{os.cpu_count()} cores ({platform.machine()}), one trial at a time on one core")
    print_head(
        "spec", "env steps", "seeds", "mean", "95 % interval", "IQM", "least to greatest",
        "published", "s",
    )  # fmt: skip
    for spec in specs:
        with tempfile.TemporaryDirectory() as storage:
            values, env_steps, seconds = train(spec, arguments.seeds, Path(storage))
        summary = summarise_sample(values)
        print_row(
            spec.stem,
            f"{env_steps:,}",
            str(len(values)),
            f"{summary.mean:.1f}",
            describe_interval(summary),
            f"{summary.iqm:.1f}",
            f"{min(values):.1f} to {max(values):.1f}",
            published(spec),
            f"{seconds:.0f}",
        )


if __name__ == "__main__":
    main()
