"""Measure the overhead per trial with sweeps of trials that train nothing; MLflow's share.

The first part is a real sweep (Ray Tune, the trial's process, its checkpoint at the end, the
journal, retention, selection, the command line afterwards), but with a trainer that takes no time.
Each size runs in a process of its own. The time per trial is measured between ends of trials in
the journal, without Ray's start. The second part is `mlflow_share`, a sweep that really trains, the
third one `asking`: how long search algorithms think, beside plain Optuna. The fourth is `waiting`:
whether a trial ever waits for that.

    python benchmarks/orchestration.py                     # all parts, ~30 minutes
    python benchmarks/orchestration.py --short             # 100 and 300 trials, a short sweep
    python benchmarks/orchestration.py --only idle         # 100, 1,000 and 5,000 trials, ~5 minutes
    python benchmarks/orchestration.py --only mlflow
    python benchmarks/orchestration.py --only asking       # ask and tell, ~2 minutes
    python benchmarks/orchestration.py --only waiting      # for TPE at 5,000 trials, ~3 minutes
    python benchmarks/orchestration.py --sizes 100 500     # the first part with other sizes
    python benchmarks/orchestration.py --sizes 100 --mlflow  # with the MLflow record
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import asking
import mlflow_share
import waiting
from conditions import Conditions
from idle import make_trials_idle
from tables import print_head, print_row, verdict

SPEC = """
name: idle
environment: CartPole-v1
algorithm: PPO
backend: rllib
seeds: 1
param_space:
  lr: {{loguniform: [1.0e-5, 1.0e-2]}}
  gamma: {{uniform: [0.9, 0.999]}}
  num_epochs: {{randint: [1, 31]}}
  minibatch_size: {{choice: [64, 128, 256]}}
search: {{num_samples: {trials}, seed: 0, max_concurrent: 1}}
stop: {{num_env_steps_sampled_lifetime: 3000}}
checkpoint: {{every_env_steps: 3000}}
storage: {storage}
tracking: {tracking}
"""
PARTS = ("idle", "mlflow", "asking", "waiting")
VERBS = ("results", "best")

# Upper limits.
MAX_MS_PER_TRIAL = 15.0
MAX_GROWTH = 1.3
MAX_MEMORY_MB = 1024.0
MAX_KB_PER_TRIAL = 25.0
MAX_ANSWER_S = 2.0

Row = Mapping[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", help="100 1000 5000; the first part alone")
    parser.add_argument("--mlflow", action="store_true", help="the first part with MLflow")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--short", action="store_true", help="100 and 300 trials, a short sweep")
    parser.add_argument("--turns", type=int, help="of the second part (3; 1 with --short)")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--storage", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(sweep(arguments.one, arguments.storage, with_mlflow=arguments.mlflow)))
        return
    parts = {arguments.only} if arguments.only else set(PARTS)
    if arguments.sizes or arguments.mlflow:
        parts = {"idle"}
    conditions = Conditions(mlflow_share.PACKAGES)
    if "idle" in parts:
        sizes = arguments.sizes or ([100, 300] if arguments.short else [100, 1000, 5000])
        rows = measure_sizes(sizes, with_mlflow=arguments.mlflow)
        print_targets(rows)
    if "mlflow" in parts:
        share = mlflow_share.SHORT if arguments.short else mlflow_share.LONG
        mlflow_share.run(share, arguments.turns)
    if "asking" in parts:
        asking.run(is_short=arguments.short)
    if "waiting" in parts:
        waiting.run(is_short=arguments.short)
    print(f"\n{conditions.describe()}")


def measure_sizes(sizes: Sequence[int], *, with_mlflow: bool) -> dict[int, Row]:
    """Measure each size, printing its row at once."""
    print_head(
        "trials", "ms a trial", "first tenth", "last tenth", "driver MB", "KB a trial",
        "of these, journal", "`results` s", "`best` s",
    )  # fmt: skip
    rows = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows[size] = row = measure(size, Path(folder), with_mlflow=with_mlflow)
        print_row(
            f"{size:,}",
            *(f"{row[name]:.1f}" for name in ("ms", "first_ms", "last_ms")),
            f"{row['memory_mb']:.0f}",
            *(f"{row[name]:.1f}" for name in ("folder_kb", "journal_kb")),
            *(f"{row[f'{verb}_s']:.2f}" for verb in VERBS),
        )
    return rows


def print_targets(rows: Mapping[int, Row]) -> None:
    """Print the limits and what was reached, over all sizes."""
    largest = rows[max(rows)]
    size = f"{max(rows):,}"
    growth = largest["ms"] / rows[min(rows)]["ms"]
    tenths = largest["last_ms"] / largest["first_ms"]
    slowest, biggest = (max(row[name] for row in rows.values()) for name in ("ms", "folder_kb"))
    found = [
        ("ms a trial, at the worst size", MAX_MS_PER_TRIAL, slowest, ".1f"),
        (f"ms a trial at {size} trials / at {min(rows):,}", MAX_GROWTH, growth, ".2f"),
        (f"last tenth / first tenth of {size} trials", MAX_GROWTH, tenths, ".2f"),
        (f"driver MB at {size} trials", MAX_MEMORY_MB, largest["memory_mb"], ".0f"),
        ("KB a trial without checkpoints, at the worst size", MAX_KB_PER_TRIAL, biggest, ".1f"),
        *(
            (f"`{verb}` on {size} trials, s", MAX_ANSWER_S, largest[f"{verb}_s"], ".2f")
            for verb in VERBS
        ),
    ]
    print_head("what", "asked", "reached", "met")
    for title, limit, reached, form in found:
        print_row(title, f"at most {limit:g}", f"{reached:{form}}", verdict(reached <= limit))


def measure(size: int, folder: Path, *, with_mlflow: bool) -> Row:
    command = [sys.executable, __file__, "--one", str(size), "--storage", str(folder)]
    done = subprocess.run(
        [*command, *(["--mlflow"] if with_mlflow else [])], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    row: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    for verb in VERBS:
        row[f"{verb}_s"] = statistics.median(answer_s(verb, folder) for _ in range(3))
    return row


def answer_s(verb: str, storage: Path) -> float:
    """The seconds that a command about the run takes."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "sweeper", verb, "--json", "--storage", str(storage)],
        check=True,
        capture_output=True,
    )
    return time.monotonic() - began


def sweep(size: int, folder: Path, *, with_mlflow: bool) -> dict[str, float]:
    """Run one sweep in this process, with trainers that train nothing."""
    from sweeper.api import execute
    from sweeper.journal import TrialEnded, read_journal
    from sweeper.planning.plan import build_plan
    from sweeper.spec import load_spec
    from sweeper.views.progress import make_progress

    make_trials_idle()
    file = folder / "idle.yaml"
    database = f"{{uri: 'sqlite:///{folder}/mlflow.db', experiment: idle}}"
    tracking = database if with_mlflow else "null"
    file.write_text(SPEC.format(trials=size, storage=folder, tracking=tracking))
    run = execute(build_plan(load_spec(file)), progress=make_progress)
    if run.results.counts() != {"TERMINATED": size}:
        sys.exit(f"not all trials ended as they should: {run.results.counts()}")
    ends = [e.time for e in read_journal(run.paths.journal) if isinstance(e, TrialEnded)]
    tenth = max(2, size // 10)
    # Counted from the first end: the first trial waits for its worker to start.
    return {
        "ms": 1000 * (ends[-1] - ends[0]) / (size - 1),
        "first_ms": 1000 * (ends[tenth - 1] - ends[0]) / (tenth - 1),
        "last_ms": 1000 * (ends[-1] - ends[-tenth]) / (tenth - 1),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "folder_kb": folder_bytes(run.paths.root) / size / 1024,
        "journal_kb": run.paths.journal.stat().st_size / size / 1024,
    }


def folder_bytes(root: Path) -> int:
    """The size of a run folder on disk, without checkpoints, champion and report.

    The report is a page of megabytes, whatever the number of trials.
    """
    return sum(
        path.stat().st_blocks * 512
        for path in root.rglob("*")
        if not any(
            part.startswith(("checkpoint", "champion", "report.html")) for part in path.parts
        )
    )


if __name__ == "__main__":
    main()
