"""How fast the torch backend's PPO trains, beside RLlib and Stable-Baselines3.

Every contestant trains the same shape with the same hyperparameters and the same number of
gradient steps, in a process of its own on the same single core, one after the other; the mean
return of the last episodes stands beside the speed, so that nothing is fast and wrong. Ours
trains K replicas at once and is credited with the env steps of all of them; the others train
one seed on the core, which is what K seeds one after the other come to.

    python benchmarks/ppo_throughput.py --short

Stable-Baselines3 and box2d are left out where they are not installed:
``pip install -e '.[benchmark]'``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ppo_contestants import (
    SHAPES,
    Shape,
    measure_ours,
    measure_rllib,
    measure_stable_baselines3,
)
from ppo_profile import measure_arithmetic, measure_phases

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Measurement:
    """One run: speed of all seeds together, the last episodes' mean return, peak memory.

    Attributes:
        env_steps_per_cpu_s: the speed had the process had its core to itself; the two differ
            where the machine is busy with something else.
    """

    env_steps_per_s: float
    env_steps_per_cpu_s: float
    episode_return: float
    gradient_steps: int
    memory_mb: float


@dataclass
class Row:
    """One contestant at one shape."""

    shape: str
    contestant: str
    runs: list[Measurement] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Of the speeds by the clock."""
        return statistics.median(run.env_steps_per_s for run in self.runs)

    @property
    def cpu_median(self) -> float:
        """Of the speeds by the process's own time."""
        return statistics.median(run.env_steps_per_cpu_s for run in self.runs)


def run_worker(arguments: argparse.Namespace) -> None:
    """One measurement, in this process; prints it as JSON."""
    os.sched_setaffinity(0, {arguments.core})
    contestant, _, replicas = arguments.worker.partition(":")
    if contestant in ("arithmetic", "phases"):
        measure = measure_arithmetic if contestant == "arithmetic" else measure_phases
        print(json.dumps(measure(int(replicas))))
        return
    import torch

    torch.set_num_threads(1)
    shape = SHAPES[arguments.shape]
    env_steps = shape.env_steps[arguments.short]
    if contestant == "ours":
        result = measure_ours(shape, env_steps, int(replicas), arguments.seed)
    elif contestant == "RLlib":
        result = measure_rllib(shape, env_steps, arguments.seed)
    else:
        result = measure_stable_baselines3(shape, env_steps, arguments.seed)
    print(json.dumps({**result, "memory_mb": _peak_memory_mb()}))
    sys.stdout.flush()
    os._exit(0)  # Ray's shutdown takes seconds, and prints


def _peak_memory_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def start_worker(contestant: str, arguments: argparse.Namespace, shape: str, seed: int) -> Any:
    """The same in a process of its own, on one core with one thread."""
    command = [
        sys.executable,
        __file__,
        "--worker",
        contestant,
        "--shape",
        shape,
        "--seed",
        str(seed),
        "--core",
        str(arguments.core),
    ]
    finished = subprocess.run(
        [*command, *(["--short"] if arguments.short else [])],
        env={**os.environ, **ONE_THREAD, "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SystemExit(f"{contestant} failed at {shape}:\n{finished.stderr[-3000:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def contestants(shape: Shape) -> Iterator[str]:
    """Who runs at a shape: the others, then ours with each number of replicas."""
    for name in shape.against:
        if name != "Stable-Baselines3" or importlib.util.find_spec("stable_baselines3"):
            yield name
        else:
            print("Stable-Baselines3 is not installed: left out", file=sys.stderr)
    for replicas in shape.replicas:
        yield f"ours:{replicas}"


def run_shape(key: str, arguments: argparse.Namespace) -> list[Row]:
    """All measurements of one shape; repeats are interleaved, so that drift hits everyone."""
    shape = SHAPES[key]
    missing = [module for module in shape.needs if not importlib.util.find_spec(module)]
    if missing:
        print(f"{', '.join(missing)} not installed: {shape.title} left out", file=sys.stderr)
        return []
    rows = [Row(key, name) for name in contestants(shape)]
    for repeat in range(arguments.repeats):
        for row in rows:
            measured = start_worker(row.contestant, arguments, key, repeat)
            row.runs.append(Measurement(**measured))
            print(f"{key} {row.contestant}: {measured}", file=sys.stderr)
    return rows


def print_table(rows: list[Row]) -> None:
    """A Markdown table; each of ours against the others at its shape, by clock (by CPU time)."""
    heads = ("shape", "who", "env steps/s: median (range)", "a CPU second", "return")
    print(f"| {' | '.join(heads)} | gradient steps | MB | ours is |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        speeds = [run.env_steps_per_s for run in row.runs]
        name, _, replicas = row.contestant.partition(":")
        ratios = [
            f"{row.median / other.median:.1f} ({row.cpu_median / other.cpu_median:.1f}) x "
            f"{other.contestant}"
            for other in rows
            if name == "ours" and other.shape == row.shape and ":" not in other.contestant
        ]
        cells = (
            SHAPES[row.shape].title,
            f"ours, {replicas} replica{'s' if replicas != '1' else ''}" if replicas else name,
            f"{row.median:,.0f} ({min(speeds):,.0f}-{max(speeds):,.0f})",
            f"{row.cpu_median:,.0f}",
            f"{statistics.mean(run.episode_return for run in row.runs):.0f}",
            f"{row.runs[0].gradient_steps:,}",
            f"{max(run.memory_mb for run in row.runs):.0f}",
            ", ".join(ratios),
        )
        print(f"| {' | '.join(cells)} |")


def print_conditions(arguments: argparse.Namespace) -> None:
    """Versions, processor, load, and how often each was run."""
    names = ("ray", "torch", "numpy", "gymnasium", "stable-baselines3")
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    print(
        f"\n{model}, core {arguments.core} of {os.cpu_count()}, one thread each; load "
        f"{os.getloadavg()[0]:.1f} at the end; {arguments.repeats} runs each; Python "
        f"{platform.python_version()}, {', '.join(versions)}"
        f"{'; short form' if arguments.short else ''}"
    )


def main() -> None:
    """Run the chosen shapes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="fewer env steps, one run each")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--repeats", type=int, help="runs of each (3; 1 with --short)")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="also write the measurements here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        run_worker(arguments)
        return
    arguments.repeats = arguments.repeats or (1 if arguments.short else 3)
    rows = [row for key in arguments.shapes for row in run_shape(key, arguments)]
    print_table(rows)
    arithmetic = start_worker("arithmetic:5", arguments, "cartpole", 0)
    print(
        f"\nArithmetic of an update, first shape, 5 replicas: {arithmetic['update_ms']:.2f} ms a "
        f"minibatch, {arithmetic['gflops']:.0f} of {arithmetic['peak_gflops']:.0f} GFLOP/s "
        f"({100 * arithmetic['share']:.0f} % of one core's matmul)"
    )
    print("\nAn iteration of the first shape, 5 replicas (ms):")
    for phase, milliseconds in start_worker("phases:5", arguments, "cartpole", 0).items():
        print(f"  {phase:40} {milliseconds:6.2f}")
    print_conditions(arguments)
    if arguments.json:
        runs = [{"row": vars(row) | {"runs": [vars(run) for run in row.runs]}} for row in rows]
        document = {"rows": runs, "arithmetic": arithmetic}
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
