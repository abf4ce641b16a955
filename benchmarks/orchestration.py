"""What a trial costs beside its training: sweeps of trials that train nothing.

Everything is as in a real sweep (Ray Tune, the trial's process, its checkpoint at the end, the
journal, retention, selection, the command line afterwards) except that the trial's trainer, put
in by this file alone, takes no time. Each size is a process of its own; what is measured per trial
is the time between the journal's first event and its last, so Ray's start is left out.

    python benchmarks/orchestration.py                     # 100, 1,000 and 5,000 trials, ~5 minutes
    python benchmarks/orchestration.py --sizes 100 500     # a short form
    python benchmarks/orchestration.py --mlflow            # with the MLflow record
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
ENV_STEPS = 1000  # an iteration
LEARNER = dict.fromkeys(("policy_loss", "vf_loss", "entropy", "mean_kl_loss", "total_loss"), 0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--mlflow", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--storage", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(sweep(arguments.one, arguments.storage, with_mlflow=arguments.mlflow)))
        return
    print(f"{'trials':>6} {'ms/trial':>9} {'first':>6} {'last':>6} {'driver MB':>10}", end="")
    print(f" {'KB/trial':>9} {'results':>8} {'best':>6}")
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(size, Path(folder), with_mlflow=arguments.mlflow)
        print(
            f"{size:>6} {row['ms']:9.1f} {row['first_ms']:6.1f} {row['last_ms']:6.1f} "
            f"{row['memory_mb']:10.0f} {row['folder_kb']:9.1f} {row['results_s']:7.2f}s "
            f"{row['best_s']:5.2f}s",
            flush=True,
        )


def measure(size: int, folder: Path, *, with_mlflow: bool) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", str(size), "--storage", str(folder)]
    done = subprocess.run(
        [*command, *(["--mlflow"] if with_mlflow else [])], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr)
    row: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    for verb in ("results", "best"):
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "sweeper", verb, "--json", "--storage", str(folder)],
            check=True,
            capture_output=True,
        )
        row[f"{verb}_s"] = time.monotonic() - began
    return row


def sweep(size: int, folder: Path, *, with_mlflow: bool) -> dict[str, float]:
    """One sweep in this process, with trainers that train nothing."""
    from sweeper.api import execute
    from sweeper.journal import TrialEnded, read_journal
    from sweeper.planning.plan import build_plan
    from sweeper.running import runner
    from sweeper.spec import load_spec
    from sweeper.views.progress import make_progress

    runner.trial_class = idle_trial_class
    file = folder / "idle.yaml"
    database = f"{{uri: 'sqlite:///{folder}/mlflow.db', experiment: idle}}"
    tracking = database if with_mlflow else "null"
    file.write_text(SPEC.format(trials=size, storage=folder, tracking=tracking))
    run = execute(build_plan(load_spec(file)), progress=make_progress)
    if run.results.counts() != {"TERMINATED": size}:
        sys.exit(f"not all trials ended as they should: {run.results.counts()}")
    ends = [e.time for e in read_journal(run.paths.journal) if isinstance(e, TrialEnded)]
    tenth = max(2, size // 10)
    # The first trial waits for its worker to start.
    return {
        "ms": 1000 * (ends[-1] - ends[0]) / (size - 1),
        "first_ms": 1000 * (ends[tenth - 1] - ends[0]) / (tenth - 1),
        "last_ms": 1000 * (ends[-1] - ends[-tenth]) / (tenth - 1),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "folder_kb": folder_bytes(run.paths.root) / size / 1024,
    }


def folder_bytes(root: Path) -> int:
    """Without checkpoints and the champion, which is one."""
    return sum(
        path.stat().st_blocks * 512
        for path in root.rglob("*")
        if not any(part.startswith(("checkpoint", "champion")) for part in path.parts)
    )


def idle_trial_class(settings: Any, run_root: Path) -> Any:
    """In place of `sweeper.trainables.trial.trial_class`; made here so that it is pickled whole."""
    from sweeper.trainables.replicas import ReplicaProgress
    from sweeper.trainables.trial import SweepTrial

    class IdleTrainer:
        env_steps = 0

        def train(self) -> list[ReplicaProgress]:
            self.env_steps += ENV_STEPS
            return [ReplicaProgress(self.env_steps, (20.0, 21.0), (20, 21), LEARNER)]

        def evaluate(self) -> list[None]:
            return [None]

        def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
            return {"env_steps": self.env_steps}

        def restore(self, folder: Path, state: Mapping[str, Any]) -> None:  # noqa: ARG002
            self.env_steps = state["env_steps"]

        def close(self) -> None: ...

    class IdleTrial(SweepTrial):
        def _built(self) -> Any:
            self._trainer = self._trainer or IdleTrainer()
            return self._trainer

    IdleTrial.settings = settings
    IdleTrial.log_root = str(run_root)
    return IdleTrial


if __name__ == "__main__":
    main()
