"""Compare the learning curves of the torch backend and RLlib on the same specs.

`sweeper run` trains every spec below with ``backend: torch`` and with ``backend: rllib``, on the
same number of seeds. A seed's curve is the mean return of its last 100 training episodes, read at
a few numbers of env steps (marks). The script compares the two samples of seeds at each mark, and
of each seed's mean over all marks.

    python benchmarks/learning_curves.py                       # all: 20 minutes or more
    python benchmarks/learning_curves.py cartpole_ppo --seeds 3
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from measuring import run_sweep
from numpy.typing import NDArray
from tables import print_head, print_row

from sweeper.evidence.statistics import Summary, summarise_sample
from sweeper.journal import TrialReported, read_journal
from sweeper.metrics import ENV_STEPS

BACKENDS = ("torch", "rllib")
_RETURNS = "replica/episode_return_mean"


@dataclass(frozen=True)
class Task:
    """A spec without its backend and seeds, and the marks of its curve.

    Attributes:
        marks: env steps of a seed, increasing; training stops at the last.
        learned: a return far above chance, which both backends exceed at the last mark.
    """

    spec: str
    marks: tuple[int, ...]
    learned: float


TASKS: Mapping[str, Task] = {
    "cartpole_ppo": Task(
        """
environment: CartPole-v1
algorithm: PPO
param_space:
  lr: 1.0e-3
  gamma: 0.98
  lambda_: 0.9
  clip_param: 0.2
  num_epochs: 8
  minibatch_size: 128
  train_batch_size_per_learner: 1024
  num_envs_per_env_runner: 8
  model_config: {fcnet_hiddens: [64, 64]}
""",
        marks=(5_000, 10_000, 20_000, 30_000, 40_000),
        learned=200.0,
    ),
    "pendulum_ppo": Task(
        """
environment: Pendulum-v1
algorithm: PPO
param_space:
  lr: 1.0e-3
  gamma: 0.9
  lambda_: 0.95
  clip_param: 0.2
  vf_clip_param: .inf
  vf_loss_coeff: 0.5
  use_kl_loss: false
  grad_clip: 0.5
  num_epochs: 10
  minibatch_size: 128
  train_batch_size_per_learner: 1024
  num_envs_per_env_runner: 8
  model_config: {fcnet_hiddens: [64, 64], free_log_std: true}
""",
        marks=(10_000, 20_000, 30_000, 45_000, 60_000),
        learned=-500.0,
    ),
    # An update for every fourth env step: RLlib is too slow for more.
    "cartpole_dqn": Task(
        """
environment: CartPole-v1
algorithm: DQN
param_space:
  lr: 1.0e-3
  epsilon: [[0, 1.0], [5000, 0.05]]
  train_batch_size_per_learner: 64
  training_intensity: 16
  target_network_update_freq: 200
  model_config: {fcnet_hiddens: [64, 64], fcnet_activation: relu}
""",
        marks=(2_000, 4_000, 6_000, 8_000, 10_000),
        learned=50.0,
    ),
}


@dataclass(frozen=True)
class Curves:
    """The curves of one backend.

    Attributes:
        returns: ``float64[marks, seeds]``.
        seconds: of the whole run, from start to exit.
    """

    returns: NDArray[np.float64]
    seconds: float

    def at_marks(self) -> list[Summary]:
        """The sample of seeds at each mark."""
        return [summarise_sample(list(seeds)) for seeds in self.returns]

    def over_marks(self) -> Summary:
        """The sample of each seed's mean over all marks."""
        return summarise_sample(list(self.returns.mean(axis=0)))


def train(task: Task, backend: str, *, seeds: int, folder: Path) -> Curves:
    """Run the task's spec and read its curves.

    Args:
        task: one of `TASKS`.
        backend: one of `BACKENDS`.
        seeds: number of replicas.
        folder: for the spec and the run.
    """
    spec = folder / f"{backend}.yaml"
    stop = f"stop: {{{ENV_STEPS}: {task.marks[-1]}}}"
    lines = [f"backend: {backend}", f"seeds: {seeds}", stop]
    spec.write_text(task.spec + "\n".join(lines) + "\n", encoding="utf-8")
    run, seconds = run_sweep(spec, f"storage={folder}", "tracking=null")
    return Curves(read_off(run / "journal.jsonl", task.marks), seconds)


def read_off(journal: Path, marks: Sequence[int]) -> NDArray[np.float64]:
    """Read every replica's curve at the marks, interpolated linearly between reports.

    Returns:
        ``float64[marks, replicas]``.
    """
    reports = [
        event.metrics
        for event in read_journal(journal)
        # There is no mean before the first episode has ended.
        if isinstance(event, TrialReported) and _RETURNS in event.metrics
    ]
    # [reports, replicas]: RLlib's replicas may differ by some steps in an iteration.
    steps = np.array([report[f"replica/{ENV_STEPS}"] for report in reports], dtype=np.float64)
    returns = np.array([report[_RETURNS] for report in reports], dtype=np.float64)
    replicas = range(returns.shape[1])
    return np.stack([np.interp(marks, steps[:, i], returns[:, i]) for i in replicas], axis=1)


@dataclass(frozen=True)
class Comparison:
    """A row of the table: both backends at a mark, or over all marks.

    Attributes:
        at: env steps, or ``all marks``.
        summaries: in the order of `BACKENDS`.
    """

    at: str
    summaries: tuple[Summary, Summary]

    @property
    def overlaps(self) -> bool:
        """Whether the 95 % intervals overlap; a sample without interval counts as its mean."""
        (low, high), (other_low, other_high) = (_bounds(summary) for summary in self.summaries)
        return low <= other_high and other_low <= high


def compare(task: Task, torch: Curves, rllib: Curves) -> list[Comparison]:
    """Compare at every mark, then the means over all marks, the sharpest comparison."""
    rows = zip(task.marks, torch.at_marks(), rllib.at_marks(), strict=True)
    return [
        *(Comparison(f"{mark:,}", (ours, theirs)) for mark, ours, theirs in rows),
        Comparison("all marks", (torch.over_marks(), rllib.over_marks())),
    ]


def _bounds(summary: Summary) -> tuple[float, float]:
    return summary.interval or (summary.mean, summary.mean)


def describe(summary: Summary) -> str:
    """Two cells of a table: the mean, the interval."""
    low, high = _bounds(summary)
    return f"{summary.mean:.1f} | {low:.1f} to {high:.1f}"


def main() -> None:
    """Train the named tasks and print a Markdown table for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="TASK", help=f"of {', '.join(TASKS)}; or all")
    parser.add_argument("--seeds", type=int, default=5, help="of each backend, 2 at least")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(TASKS)):
        parser.error(f"no task {', '.join(unknown)}; there are {', '.join(TASKS)}")
    if arguments.seeds < 2:
        parser.error(f"--seeds {arguments.seeds}: one seed has no spread; give 2 or more")
    print(f"ray {metadata.version('ray')}, torch {metadata.version('torch')}, ", end="")
    print(f"{os.cpu_count()} cores ({platform.machine()}), {arguments.seeds} seeds a backend")
    for name in arguments.names or TASKS:
        with tempfile.TemporaryDirectory() as folder:
            curves = {
                backend: train(TASKS[name], backend, seeds=arguments.seeds, folder=Path(folder))
                for backend in BACKENDS
            }
        seconds = ", ".join(f"{backend} {curves[backend].seconds:.0f} s" for backend in BACKENDS)
        print(f"\n## {name}\n\nWhole runs: {seconds}.")
        print_head("env steps", "torch", "95 % interval", "RLlib", "95 % interval", "overlap")
        for row in compare(TASKS[name], curves["torch"], curves["rllib"]):
            print_row(row.at, *map(describe, row.summaries), "yes" if row.overlaps else "NO")


if __name__ == "__main__":
    main()
