"""The contract between a trial and the backend that trains its replicas.

Nothing here knows Ray: settings in, seeds and progress through, one flat row of metrics out.
A backend implements `ReplicaTrainer`; `trial_metrics` makes a trial's rows of what its replicas
report, so that a metric means the same on every backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import SweeperError
from sweeper.metrics import Objective
from sweeper.trainables.plateau import Plateau

__all__ = [
    "LONGEST_EPISODE_STEPS",
    "EvaluationNeverEndsError",
    "EvaluationResult",
    "EvaluationSettings",
    "ReplicaProgress",
    "ReplicaTrainer",
    "TrialDivergedError",
    "TrialSettings",
]


class TrialDivergedError(SweeperError):
    """More than half of the trial's replicas have non-finite weights or losses."""


# No environment that people tune on has longer episodes, and one that never ends would hang.
LONGEST_EPISODE_STEPS = 200_000


class EvaluationNeverEndsError(SweeperError):
    """The policy never ends an episode and the environment has no time limit."""

    def __init__(self) -> None:
        super().__init__(
            f"an evaluation episode took more than {LONGEST_EPISODE_STEPS:,} steps; give the "
            "environment a time limit, e.g. wrappers: [{TimeLimit: {max_episode_steps: 1000}}]"
        )


@dataclass(frozen=True)
class EvaluationSettings:
    """How a replica is evaluated while it trains.

    Attributes:
        episodes: how many, the same number at each evaluation.
        every_env_steps: evaluate when a replica's env steps cross a multiple of this; None:
            at every tenth of the trial's time or iterations, see `tenths_done`.
        explore: sample actions instead of taking the greedy one.
    """

    episodes: int
    every_env_steps: int | None
    explore: bool = False


@dataclass(frozen=True)
class TrialSettings:
    """What is the same for every trial of a sweep; plain data.

    Attributes:
        algorithm: RLlib's name of it, e.g. ``PPO``.
        backend: ``rllib``.
        environment: what is built, and how.
        constants: the param space without what varies, nested.
        seeds: one a replica.
        stage: a key of `seeding.STAGES`; generators of different stages never meet.
        stop: canonical metric name to value; a criterion is met when ``metric >= value``.
        plateau: ends a trial too; None: none does.
        evaluation: None switches it off.
        checkpoint_every_env_steps: as for the evaluation.
        checkpoint_replay: put the replay memories into checkpoints.
        time_budget_s: of the whole search; a trial without a bound of its own divides it.
        env_steps_share: of a replica: its part of what the whole search may take, the same way.
        objective: what the trial will be judged by.
        cpus: cores of the trial's process.
        gpus: GPUs of the trial's process.
    """

    algorithm: str
    backend: str
    environment: EnvironmentSettings
    constants: Mapping[str, Any]
    seeds: tuple[int, ...]
    stage: str = "search"
    stop: Mapping[str, float] | None = None
    plateau: Plateau | None = None
    evaluation: EvaluationSettings | None = None
    checkpoint_every_env_steps: int | None = None
    checkpoint_replay: bool = False
    time_budget_s: float | None = None
    env_steps_share: float | None = None
    objective: Objective = field(default_factory=Objective)
    cpus: float = 1
    gpus: float = 0


@dataclass(frozen=True)
class ReplicaProgress:
    """What one replica did in one iteration.

    Attributes:
        env_steps: real env steps since its start.
        episode_returns: of the episodes that ended in this iteration, in their order.
        episode_lengths: the same episodes' env steps.
        learner: the learner's finite scalars, under RLlib's names without a prefix.
        diverged: its weights or loss are non-finite; it is frozen from now on.
    """

    env_steps: int
    episode_returns: tuple[float, ...] = ()
    episode_lengths: tuple[int, ...] = ()
    learner: Mapping[str, float] | None = None
    diverged: bool = False


@dataclass(frozen=True)
class EvaluationResult:
    """One evaluation of one replica: every episode's return and length."""

    episode_returns: tuple[float, ...]
    episode_lengths: tuple[int, ...]


class ReplicaTrainer(Protocol):
    """One configuration with all its replicas, in the order of the settings' seeds.

    Built from ``(settings, configuration)``; the configuration is complete, nested.
    """

    def train(self) -> list[ReplicaProgress]:
        """Train one iteration; a diverged replica's entry repeats its last env steps."""
        ...

    def evaluate(self) -> list[EvaluationResult | None]:
        """Evaluate every replica; None for a diverged one. Training is not disturbed."""
        ...

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the replicas into an existing folder; returns what `restore` needs beside, JSON."""
        ...

    def restore(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Go on from what `save` wrote and returned; called before any training."""
        ...

    def close(self) -> None:
        """Free processes, environments and memory; the trainer is not used afterwards."""
        ...
