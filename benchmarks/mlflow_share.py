"""Measure MLflow's share of a sweep: the same sweep with tracking and with `tracking: null`.

PPO on CartPole-v1 by the torch backend, five replicas per trial, one trial per core at a time,
about 100 reports per trial, with evaluations and checkpoints. Each sweep runs in a process of its
own and is timed from its start. Sweeps with and without tracking alternate, and so does which of
them goes first, so that both see the same load of the machine. What counts is the time until the
last trial's end; the time after it (champion, MLflow's queue and model) is listed separately.

The first results of each tracked sweep are then handed to Ray's MLflowLoggerCallback
(`mlflow_logger.py`): what it takes of the driver's time for a result is held against what the
tracker takes, its thread's CPU time among it.

Unless there are many turns, two sweeps differ by more than MLflow costs. Therefore the tracker's
own CPU time is listed, too: if the trials use all cores, MLflow can't cost them more than that.

    python benchmarks/mlflow_share.py                 # 3 turns of 24 trials, ~20 minutes
    python benchmarks/mlflow_share.py --short         # 1 turn of 8 trials
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from conditions import Conditions
from mlflow_logger import LoggerCost
from tables import print_head, print_row, spread, verdict

PACKAGES = ("ray", "torch", "mlflow", "gymnasium")
_MAX_SHARE = 0.02  # of a sweep's time
_MIN_RATIO = 20  # of Ray's callback's time to the tracker's
_LOGGED = 100  # results that Ray's callback gets

_SPEC = """
name: share
environment: CartPole-v1
algorithm: PPO
backend: torch
seeds: 5
param_space:
  lr: {{loguniform: [3.0e-4, 3.0e-3]}}
  gamma: {{choice: [0.98, 0.99]}}
  clip_param: 0.2
  num_epochs: 8
  minibatch_size: 128
  train_batch_size_per_learner: 1024
  num_envs_per_env_runner: 8
  model_config: {{fcnet_hiddens: [64, 64]}}
search: {{num_samples: {trials}, seed: 0}}
stop: {{num_env_steps_sampled_lifetime: {env_steps}}}
evaluation: {{episodes: 20, every_env_steps: 10000}}
selection: {{finalists: 0}}
storage: {storage}
tracking: {tracking}
"""


@dataclass(frozen=True)
class Form:
    """The size of the sweep, and the number of turns; env steps are per trial."""

    trials: int
    env_steps: int
    turns: int


# RL Zoo trains CartPole-v1 for 100,000 env steps.
LONG, SHORT = Form(24, 100_000, 3), Form(8, 20_000, 1)


@dataclass(frozen=True)
class Sweep:
    """The costs of one sweep.

    Attributes:
        trials_s: from the start of the process to the last trial's end.
        training_s: part of these, from the first trial's start.
        after_s: from the last trial's end to the exit of the process.
        flush_s: part of these, in which the tracker writes the rest and the model.
        tracker_cpu_s: CPU time of the tracker's thread until the last trial's end.
        start_cpu_s: part of these, for MLflow's import and a new database, once per sweep.
        env_steps: of all trials together; the same with and without tracking.
        mlflow_runs: runs in the database; one per trial, and the sweep's.
        mlflow_values: metric values in the database.
        results: that the trials have reported.
        call_s: of the driver's thread, in which it tells the tracker of events.
        write_cpu_s: CPU time of the tracker's thread for reading and writing all results.
        logger: what Ray's callback takes for each of them; None without tracking.
    """

    trials_s: float
    training_s: float
    after_s: float
    flush_s: float = 0.0
    tracker_cpu_s: float = 0.0
    start_cpu_s: float = 0.0
    env_steps: int = 0
    mlflow_runs: int = 0
    mlflow_values: int = 0
    results: int = 0
    call_s: float = 0.0
    write_cpu_s: float = 0.0
    logger: LoggerCost | None = None


def run(form: Form, turns: int | None = None) -> None:
    """Sweep with and without tracking in each turn, and print the tables."""
    found: dict[str, list[Sweep]] = {"on": [], "off": []}
    for turn in range(turns or form.turns):
        for side in ("on", "off") if turn % 2 == 0 else ("off", "on"):
            with tempfile.TemporaryDirectory() as folder:
                sweep = _run(form, Path(folder), is_tracked=side == "on")
            found[side].append(sweep)
            print(f"turn {turn + 1}, tracking {side}: {sweep}", file=sys.stderr)
    _print_tables(form, found)


def _print_tables(form: Form, found: dict[str, list[Sweep]]) -> None:
    tracked, plain = found["on"], found["off"]
    print(
        f"\nA sweep of {form.trials} trials of {form.env_steps:,} env steps, 5 replicas each, "
        f"{len(tracked)} turn{'s' if len(tracked) > 1 else ''}; MLflow got "
        f"{tracked[0].mlflow_runs} runs and {tracked[0].mlflow_values:,} values of metrics."
    )
    print_head("s: median (least to greatest)", "tracking on", "tracking: null")
    for title, name in (
        ("to the last trial's end", "trials_s"),
        ("of these, from the first trial's start on", "training_s"),
        ("afterwards: champion, flush, exit", "after_s"),
        ("of these, the flush", "flush_s"),
        ("the tracker's CPU time to the last trial's end", "tracker_cpu_s"),
        ("of these, MLflow's import and the new database", "start_cpu_s"),
    ):
        cells = (spread([getattr(one, name) for one in side], ".1f") for side in found.values())
        print_row(title, *cells)
    print_head("MLflow's share", "asked", "reached: median (least to greatest)", "met")
    pairs = list(zip(tracked, plain, strict=True))
    cores = os.cpu_count() or 1
    for title, shares in (
        ("of the time to the last trial's end", [a.trials_s / b.trials_s - 1 for a, b in pairs]),
        (
            "of the time from the first trial's start to the last one's end",
            [a.training_s / b.training_s - 1 for a, b in pairs],
        ),
        (
            "of all cores' time until then, by the tracker's CPU time",
            [one.tracker_cpu_s / one.trials_s / cores for one in tracked],
        ),
    ):
        met = verdict(statistics.median(shares) <= _MAX_SHARE)
        print_row(title, f"at most {_MAX_SHARE:.0%}", spread(shares, ".1%"), met)
    _print_logger(tracked)


def _print_logger(tracked: list[Sweep]) -> None:
    loggers = [one.logger for one in tracked if one.logger is not None]
    print_head(
        "the driver's time for a result, ms: median (least to greatest)",
        "tracker",
        "Ray's MLflowLoggerCallback",
        "asked",
        "ratio",
        "met",
    )
    calls = [1000 * one.call_s / one.results for one in tracked]
    writes = [1000 * (one.call_s + one.write_cpu_s) / one.results for one in tracked]
    asked = f"at least {_MIN_RATIO} x"
    for title, ours, theirs in (
        ("its thread waits", calls, [one.wall_ms for one in loggers]),
        ("its process computes, in whatever thread", writes, [one.cpu_ms for one in loggers]),
    ):
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        met = verdict(statistics.median(ratios) >= _MIN_RATIO)
        cells = (spread(ours, ".4f"), spread(theirs, ".1f"), asked, spread(ratios, ".0f"), met)
        print_row(title, *cells)
    values = [one.values / one.results for one in loggers]
    mine = [one.mlflow_values / one.results for one in tracked]
    print(f"\nValues of metrics for a result: {mine[0]:.1f}; Ray's callback: {values[0]:.1f}.")


def _run(form: Form, folder: Path, *, is_tracked: bool) -> Sweep:
    """Run one sweep in a process of its own, like `sweeper run`."""
    database = folder / "mlflow.db"
    tracking = f"{{uri: 'sqlite:///{database}', experiment: share}}" if is_tracked else "null"
    spec = folder / "share.yaml"
    spec.write_text(
        _SPEC.format(
            trials=form.trials, env_steps=form.env_steps, storage=folder, tracking=tracking
        )
    )
    began = time.time()
    done = subprocess.run(
        [sys.executable, __file__, "--one", str(spec)], capture_output=True, text=True
    )
    ended = time.time()
    if done.returncode:
        sys.exit(done.stderr)
    noted = json.loads(done.stdout.splitlines()[-1])
    sweep = Sweep(
        trials_s=noted["last_end"] - began,
        training_s=noted["last_end"] - noted["first_start"],
        after_s=ended - noted["last_end"],
        flush_s=noted["flush_s"],
        tracker_cpu_s=noted["tracker_cpu_s"],
        start_cpu_s=noted["start_cpu_s"],
        env_steps=noted["env_steps"],
        results=noted["results"],
        call_s=noted["call_s"],
        write_cpu_s=noted["write_cpu_s"],
    )
    if not is_tracked:
        return sweep
    with sqlite3.connect(database) as connection:
        counts = {
            f"mlflow_{name}": connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            for name, table in (("runs", "runs"), ("values", "metrics"))
        }
    connection.close()
    if counts["mlflow_runs"] != form.trials + 1:
        sys.exit(f"MLflow has {counts['mlflow_runs']} runs, not {form.trials + 1}")
    logged = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", str(Path(__file__).with_name("mlflow_logger.py"))),
            *(noted["run"], str(folder / "logger.db"), str(_LOGGED)),
        ],
        capture_output=True,
        text=True,
    )
    if logged.returncode:
        sys.exit(logged.stderr)
    logger = LoggerCost(**json.loads(logged.stdout.splitlines()[-1]))
    return Sweep(**{**asdict(sweep), **counts, "logger": logger})


def _sweep(spec: Path) -> dict[str, Any]:
    """Run the sweep in this process and return times that only this process can measure."""
    from sweeper import cli, open_run
    from sweeper.journal import Event, TrialEnded, TrialReported, TrialStarted, read_journal
    from sweeper.metrics import ENV_STEPS
    from sweeper.tracking import tracker

    times = ("flush_s", "tracker_cpu_s", "start_cpu_s", "call_s", "write_cpu_s")
    noted = dict.fromkeys(times, 0.0)

    class TimedTracker(tracker.MlflowTracker):
        def _connect(self) -> Any:
            record = super()._connect()
            noted["start_cpu_s"] = noted["start_cpu_s"] or time.thread_time()
            return record

        def _advance(self) -> bool:
            self._connect()  # not part of what a result costs
            began = time.thread_time()
            more = super()._advance()
            noted["write_cpu_s"] += time.thread_time() - began
            return more

        def __call__(self, event: Event) -> None:
            began = time.perf_counter()
            super().__call__(event)
            noted["call_s"] += time.perf_counter() - began

        def close(self, reason: str, timeout_s: float = 60.0) -> list[str]:
            thread = self._thread.ident
            if thread is not None and self._thread.is_alive():
                clock = time.pthread_getcpuclockid(thread)
                noted["tracker_cpu_s"] = time.clock_gettime(clock)
            began = time.perf_counter()
            warnings = super().close(reason, timeout_s)
            noted["flush_s"] = time.perf_counter() - began
            if warnings:
                sys.exit("; ".join(warnings))
            return warnings

    tracker.MlflowTracker = TimedTracker  # type: ignore[misc]
    sys.argv = ["sweeper", "run", str(spec), "--quiet"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            cli.main()
        except SystemExit as stop:
            if stop.code:
                sys.exit(f"the sweep failed, code {stop.code}")
    run = open_run(said.getvalue().strip())
    states = run.results.counts()
    if set(states) != {"TERMINATED"}:
        sys.exit(f"not all trials ended as they should: {states}")
    events = list(read_journal(run.paths.journal))
    return {
        **noted,
        "first_start": min(event.time for event in events if isinstance(event, TrialStarted)),
        "last_end": max(event.time for event in events if isinstance(event, TrialEnded)),
        "env_steps": sum(row[ENV_STEPS] for row in run.rows),
        "results": sum(isinstance(event, TrialReported) for event in events),
        "run": str(run.paths.root.absolute()),
    }


def main() -> None:
    """Run the sweeps in turns and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--short", action="store_true", help="1 turn of 8 trials of 20,000 steps")
    parser.add_argument("--turns", type=int, help="3; 1 with --short")
    parser.add_argument("--trials", type=int, help="24; 8 with --short")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_sweep(arguments.one)))
        return
    conditions = Conditions(PACKAGES)
    form = SHORT if arguments.short else LONG
    run(replace(form, trials=arguments.trials or form.trials), arguments.turns)
    print(f"\n{conditions.describe()}")


if __name__ == "__main__":
    main()
