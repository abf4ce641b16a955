"""The frame of a contest of speed: who trains a shape fastest on one core, and does it learn.

Every measurement is a process of its own with one thread, on the same core. Repeats alternate
between the contestants, so that a slow spell of the machine hits all of them; a ratio is taken
within a repeat, and the ratios' median is what counts. The mean return of the last episodes
stands beside every speed, so that nothing is fast and wrong. Ours trains K replicas at once and
is credited with the env steps of all of them; the others train one seed on the core, which is
what K seeds one after the other come to.

A benchmark's file says its shapes, its contestants and its targets, and calls `main`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conditions import Conditions
from measuring import peak_memory_mb
from tables import print_head, print_row, spread, verdict

__all__ = ["Contest", "Entry", "Shape", "Target", "main"]

OURS = "ours"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_PACKAGES = ("ray", "torch", "numpy", "gymnasium", "stable-baselines3", "envpool")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is trained; a benchmark adds what its contestants have to know.

    Attributes:
        env_steps: of one seed, in the long form and in the short one.
        replicas: how many ours trains at once, one measurement each.
        against: the other contestants.
        needs: modules without which the shape is left out.
    """

    title: str
    env_steps: tuple[int, int]
    replicas: tuple[int, ...] = (5,)
    against: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A contestant at a shape: ``RLlib``, or ``ours:5`` for ours with five replicas."""

    shape: str
    who: str


@dataclass(frozen=True)
class Target:
    """How many times as fast an entry is to be as another one: at least, and better."""

    entry: Entry
    against: Entry
    least: float
    aim: float


# Of a shape, for so many env steps of a seed, with so many replicas (1 but for ours), from a seed
# on: `Stopwatch.speeds`, ``episode_returns`` (one a replica), ``gradient_steps`` (of a replica).
Measure = Callable[[Any, int, int, int], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A benchmark.

    Attributes:
        script: the file that is run, here and in the measurements' processes.
        contestants: by name; ours is ``ours``.
        modules: what a contestant needs, by name; where it is not installed it is left out.
        targets: ratios that are asked for; ours against each other one is printed anyway.
        most_memory_mb: the most that an entry may take.
        arithmetic: of an update of a shape with a number of replicas: ``update_ms``, ``gflops``,
            ``peak_gflops``, ``share``, and ``parts_ms`` where it has parts.
        shares: the shapes whose arithmetic is measured, each with the least share of the peak
            that is asked for, and the aim.
        profiles: milliseconds by phase at the first shape, for a number of replicas.
    """

    script: str
    description: str
    shapes: Mapping[str, Shape]
    contestants: Mapping[str, Measure]
    modules: Mapping[str, str] = field(default_factory=dict)
    targets: Sequence[Target] = ()
    most_memory_mb: Mapping[Entry, float] = field(default_factory=dict)
    arithmetic: Callable[[Any, int], dict[str, Any]]
    shares: Mapping[str, tuple[float, float]]
    profiles: Mapping[str, Callable[[int], dict[str, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a target that would never be printed.

        Raises:
            ValueError: a target is about an entry that is not measured.
        """
        for entry in (
            *(entry for target in self.targets for entry in (target.entry, target.against)),
            *self.most_memory_mb,
        ):
            shape = self.shapes.get(entry.shape)
            ours = [f"{OURS}:{replicas}" for replicas in (shape.replicas if shape else ())]
            if shape is None or entry.who not in (*shape.against, *ours):
                raise ValueError(f"there is a target for {entry}, which is not measured")

    def name(self, entry: Entry) -> str:
        """In words, without the shape."""
        who, _, replicas = entry.who.partition(":")
        return f"{who}, {replicas} replica{'s' if replicas != '1' else ''}" if replicas else who


@dataclass(frozen=True)
class Measurement:
    """One run.

    Attributes:
        env_steps_per_s: of all seeds together.
        env_steps_per_cpu_s: the speed had the process had its core to itself; the two differ
            where the machine is busy with something else.
        episode_returns: of each seed, the mean of its last episodes.
        gradient_steps: of each seed.
        memory_mb: the process's peak.
    """

    env_steps_per_s: float
    env_steps_per_cpu_s: float
    episode_returns: list[float]
    gradient_steps: int
    memory_mb: float


Results = Mapping[Entry, list[Measurement]]
Arithmetic = Mapping[str, list[dict[str, Any]]]


def main(contest: Contest) -> None:
    """Run the chosen shapes and print the tables, in Markdown."""
    arguments = _parse(contest)
    if arguments.worker:
        _work(contest, arguments)
        return
    arguments.repeats = arguments.repeats or (1 if arguments.short else 3)
    conditions = Conditions(_PACKAGES)
    results: dict[Entry, list[Measurement]] = {}
    for key in arguments.shapes:
        results |= _run_shape(contest, key, arguments)
    arithmetic = {
        key: [
            _start_worker(contest, arguments, Entry(key, "arithmetic:5"))
            for _ in range(arguments.repeats)
        ]
        for key in contest.shares
        if key in arguments.shapes
    }
    _print_speeds(contest, results)
    _print_targets(contest, results, arithmetic)
    _print_arithmetic(contest, arithmetic)
    for title in contest.profiles:
        entry = Entry(next(iter(contest.shapes)), f"{title}:5")
        _print_profile(title, _start_worker(contest, arguments, entry))
    times = f"{arguments.repeats} run{'s' if arguments.repeats > 1 else ''} each"
    form = "; short form" if arguments.short else ""
    print(f"\nCore {arguments.core}, one thread each, {times}{form}. {conditions.describe()}")
    if arguments.json:
        rows = [
            {**vars(entry), "runs": [vars(run) for run in runs]} for entry, runs in results.items()
        ]
        document = {"rows": rows, "arithmetic": arithmetic}
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _parse(contest: Contest) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=contest.description)
    shapes = list(contest.shapes)
    parser.add_argument("--short", action="store_true", help="fewer env steps, one run each")
    parser.add_argument("--shapes", nargs="+", choices=shapes, default=shapes)
    parser.add_argument("--repeats", type=int, help="runs of each (3; 1 with --short)")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path, help="also write the measurements here")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


# --- one measurement, in a process of its own ------------------------------------------------


def _work(contest: Contest, arguments: argparse.Namespace) -> None:
    os.sched_setaffinity(0, {arguments.core})
    import torch

    torch.set_num_threads(1)
    name, _, replicas = arguments.worker.partition(":")
    shape = contest.shapes[arguments.shape]
    if name == "arithmetic":
        result = contest.arithmetic(shape, int(replicas))
    elif name in contest.profiles:
        result = dict(contest.profiles[name](int(replicas)))
    else:
        env_steps = shape.env_steps[arguments.short]
        measured = contest.contestants[name](shape, env_steps, int(replicas or 1), arguments.seed)
        result = {**measured, "memory_mb": peak_memory_mb()}
    print(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # Ray's shutdown takes seconds, and prints


def _start_worker(
    contest: Contest, arguments: argparse.Namespace, entry: Entry, seed: int = 0
) -> dict[str, Any]:
    command = [sys.executable, contest.script, "--worker", entry.who, "--shape", entry.shape]
    command += ["--seed", str(seed), "--core", str(arguments.core)]
    finished = subprocess.run(
        [*command, *(["--short"] if arguments.short else [])],
        env={**os.environ, **_ONE_THREAD, "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SystemExit(f"{entry.who} failed at {entry.shape}:\n{finished.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    return result


def _run_shape(
    contest: Contest, key: str, arguments: argparse.Namespace
) -> dict[Entry, list[Measurement]]:
    shape = contest.shapes[key]
    missing = [module for module in shape.needs if not importlib.util.find_spec(module)]
    if missing:
        print(f"{', '.join(missing)} not installed: {shape.title} left out", file=sys.stderr)
        return {}
    results: dict[Entry, list[Measurement]] = {}
    for name in (*shape.against, *(f"{OURS}:{replicas}" for replicas in shape.replicas)):
        if importlib.util.find_spec(contest.modules.get(name, "sys")):
            results[Entry(key, name)] = []
        else:
            print(f"{name} is not installed: left out at {key}", file=sys.stderr)
    for repeat in range(arguments.repeats):
        for entry, runs in results.items():
            measured = _start_worker(contest, arguments, entry, repeat)
            runs.append(Measurement(**measured))
            print(f"{key} {entry.who}: {measured}", file=sys.stderr)
    return results


# --- the tables ------------------------------------------------------------------------------


def _print_speeds(contest: Contest, results: Results) -> None:
    print_head(
        "shape", "who", "env steps/s: median (least to greatest)", "a CPU second",
        "return (least to greatest)", "gradient steps", "MB",
    )  # fmt: skip
    for entry, runs in results.items():
        returns = [value for run in runs for value in run.episode_returns]
        print_row(
            contest.shapes[entry.shape].title,
            contest.name(entry),
            spread([run.env_steps_per_s for run in runs], ",.0f"),
            f"{statistics.median(run.env_steps_per_cpu_s for run in runs):,.0f}",
            f"{statistics.mean(returns):.0f} ({min(returns):.0f} to {max(returns):.0f})",
            f"{runs[0].gradient_steps:,}",
            f"{max(run.memory_mb for run in runs):.0f}",
        )


def _pairs(contest: Contest, results: Results) -> Iterator[tuple[Entry, Entry, Target | None]]:
    """What is asked for, and ours against each of the others at its shape."""
    asked = {(target.entry, target.against): target for target in contest.targets}
    at_one_shape = [
        (mine, other)
        for mine in results
        for other in results
        if mine.shape == other.shape and ":" in mine.who and ":" not in other.who
    ]
    for pair in dict.fromkeys([*at_one_shape, *asked]):
        if all(entry in results for entry in pair):
            yield *pair, asked.get(pair)


def _print_targets(contest: Contest, results: Results, arithmetic: Arithmetic) -> None:
    """Every ratio and every limit: asked, reached over the repeats, and whether it is met."""
    print_head("what", "asked (aim)", "reached: median (least to greatest)", "by CPU time", "met")
    for mine, other, target in _pairs(contest, results):
        elsewhere = f", {contest.shapes[other.shape].title}" if other.shape != mine.shape else ""
        ratios, cpu_ratios = (
            [
                getattr(run, speed) / getattr(theirs, speed)
                for run, theirs in zip(results[mine], results[other], strict=True)
            ]
            for speed in ("env_steps_per_s", "env_steps_per_cpu_s")
        )
        reached = statistics.median(ratios)
        print_row(
            f"{contest.shapes[mine.shape].title}: {contest.name(mine)} / "
            f"{contest.name(other)}{elsewhere}",
            f"{target.least:g} x ({target.aim:g})" if target else "-",
            spread(ratios, ".2f", " x"),
            spread(cpu_ratios, ".2f", " x"),
            verdict(reached >= target.least, reached >= target.aim) if target else "-",
        )
    for key, measured in arithmetic.items():
        least, aim = contest.shares[key]
        shares = [one["share"] for one in measured]
        reached = statistics.median(shares)
        print_row(
            f"{contest.shapes[key].title}: an update's arithmetic / a plain matmul, 5 replicas",
            f"{least:.0%} ({aim:.0%})",
            spread(shares, ".0%"),
            "-",
            verdict(reached >= least, reached >= aim),
        )
    for entry, most in contest.most_memory_mb.items():
        if entry in results:
            peaks = [run.memory_mb for run in results[entry]]
            print_row(
                f"{contest.shapes[entry.shape].title}: {contest.name(entry)}, memory",
                f"at most {most:,.0f} MB",
                spread(peaks, ",.0f", " MB"),
                "-",
                verdict(max(peaks) <= most),
            )


def _print_arithmetic(contest: Contest, arithmetic: Arithmetic) -> None:
    for key, measured in arithmetic.items():
        one = min(measured, key=lambda each: each["update_ms"])
        parts = ", ".join(f"{name} {ms:.2f}" for name, ms in one.get("parts_ms", {}).items())
        print(
            f"\nArithmetic of an update, {contest.shapes[key].title}, 5 replicas: "
            f"{one['update_ms']:.2f} ms{f' ({parts})' if parts else ''}, {one['gflops']:.0f} of "
            f"{one['peak_gflops']:.0f} GFLOP/s ({one['share']:.0%} of one core's matmul)"
        )


def _print_profile(title: str, milliseconds: Mapping[str, float]) -> None:
    print(f"\n{title.capitalize()} of an iteration of the first shape, 5 replicas (ms):\n")
    for phase, ms in milliseconds.items():
        print(f"    {phase:40} {ms:6.2f}")
