"""Compare the training speed of several contestants on one core.

Every measurement runs in a process of its own with one thread, on the same core. Contestants
alternate within a repeat, so that all see the same load of the machine. A ratio of speeds is taken
within a repeat, and the median of the ratios counts. The mean return of the last episodes is
printed with every speed, to show that the contestant learns. Ours trains K replicas at once and
is credited with the env steps of all of them; the others train one seed, which is as fast as K
seeds one after the other.

A benchmark defines its shapes, contestants and targets in a `Contest`, and calls `main`.
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

OURS = "ours"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_PACKAGES = ("ray", "torch", "numpy", "gymnasium", "stable-baselines3", "envpool")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A training task; a benchmark adds what its contestants need to know.

    Attributes:
        title: for the tables.
        env_steps: of one seed, in the long and in the short form.
        replicas: numbers of replicas that ours trains at once, one measurement each.
        against: the other contestants.
        needs: modules that must be installed, or the shape is skipped.
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
    """The required ratio of an entry's speed to another's, and the ratio aimed for."""

    entry: Entry
    against: Entry
    minimum: float
    aim: float


# Trains a shape, given the env steps of a seed, the number of replicas (1 except for ours) and the
# seed. Returns the fields of a `Measurement` except ``memory_mb``.
Measure = Callable[[Any, int, int, int], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A benchmark.

    Attributes:
        script: path of the benchmark, which also runs in the processes of measurements.
        description: for ``--help``.
        shapes: by key.
        contestants: by name; ours is ``ours``.
        modules: the module that a contestant needs; if it is missing the contestant is skipped.
        targets: required ratios; ratios of ours to every other contestant are printed anyway.
        max_memory_mb: limits of entries.
        arithmetic: measures an update of a shape with a number of replicas: ``update_ms``,
            ``gflops``, ``peak_gflops``, ``share`` and optionally ``parts_ms``.
        shares: required share of the peak, and the aim, of shapes whose arithmetic is measured.
        profiles: measure milliseconds per phase of the first shape, with a number of replicas.
    """

    script: str
    description: str
    shapes: Mapping[str, Shape]
    contestants: Mapping[str, Measure]
    modules: Mapping[str, str] = field(default_factory=dict)
    targets: Sequence[Target] = ()
    max_memory_mb: Mapping[Entry, float] = field(default_factory=dict)
    arithmetic: Callable[[Any, int], dict[str, Any]]
    shares: Mapping[str, tuple[float, float]]
    profiles: Mapping[str, Callable[[int], dict[str, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse targets that would never be printed.

        Raises:
            ValueError: an entry of a target is not measured.
        """
        for entry in (
            *(entry for target in self.targets for entry in (target.entry, target.against)),
            *self.max_memory_mb,
        ):
            shape = self.shapes.get(entry.shape)
            ours = [f"{OURS}:{replicas}" for replicas in (shape.replicas if shape else ())]
            if shape is None or entry.who not in (*shape.against, *ours):
                raise ValueError(f"there is a target for {entry}, which is not measured")

    def name(self, entry: Entry) -> str:
        """Describe an entry without its shape."""
        who, _, replicas = entry.who.partition(":")
        return f"{who}, {replicas} replica{'s' if replicas != '1' else ''}" if replicas else who


@dataclass(frozen=True)
class Measurement:
    """One measurement.

    Attributes:
        env_steps_per_s: of all seeds together, by the clock.
        env_steps_per_cpu_s: the same by CPU time, which excludes waiting for a busy core.
        episode_returns: the mean of the last episodes of each seed.
        gradient_steps: of each seed.
        memory_mb: peak memory of the process.
    """

    env_steps_per_s: float
    env_steps_per_cpu_s: float
    episode_returns: list[float]
    gradient_steps: int
    memory_mb: float


Results = Mapping[Entry, list[Measurement]]
Arithmetic = Mapping[str, list[dict[str, Any]]]


def main(contest: Contest) -> None:
    """Measure the chosen shapes and print the tables in Markdown."""
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
    """The pairs of entries to compare: ours with each other at its shape, then the targets."""
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
    """Print every ratio and limit: required, reached, and whether it is met."""
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
            f"{target.minimum:g} x ({target.aim:g})" if target else "-",
            spread(ratios, ".2f", " x"),
            spread(cpu_ratios, ".2f", " x"),
            verdict(reached >= target.minimum, reached >= target.aim) if target else "-",
        )
    for key, measured in arithmetic.items():
        minimum, aim = contest.shares[key]
        shares = [one["share"] for one in measured]
        reached = statistics.median(shares)
        print_row(
            f"{contest.shapes[key].title}: an update's arithmetic / a plain matmul, 5 replicas",
            f"{minimum:.0%} ({aim:.0%})",
            spread(shares, ".0%"),
            "-",
            verdict(reached >= minimum, reached >= aim),
        )
    for entry, limit_mb in contest.max_memory_mb.items():
        if entry in results:
            peaks = [run.memory_mb for run in results[entry]]
            print_row(
                f"{contest.shapes[entry.shape].title}: {contest.name(entry)}, memory",
                f"at most {limit_mb:,.0f} MB",
                spread(peaks, ",.0f", " MB"),
                "-",
                verdict(max(peaks) <= limit_mb),
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
