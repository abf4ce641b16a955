"""The contract between a trial and the backend that trains its replicas.

Nothing here knows Ray: settings in, seeds and progress through, one flat row of metrics out.
A backend implements `ReplicaTrainer`; `TrialMetrics` turns what its replicas report into the
row that the trial reports, so that a metric means the same on every backend.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sweeper.environments import EnvironmentSettings
from sweeper.errors import SweeperError, UserError
from sweeper.metrics import BOUNDS, ENV_STEPS, Rules
from sweeper.trainables.plateau import Plateau

__all__ = [
    "LONGEST_EPISODE_STEPS",
    "STAGES",
    "ConfigurationRefusedError",
    "EvaluationNeverEndsError",
    "EvaluationResult",
    "EvaluationSettings",
    "Purpose",
    "ReplicaProgress",
    "ReplicaTrainer",
    "TrialDivergedError",
    "TrialMetrics",
    "TrialSettings",
    "derive_seed",
    "find_met_criterion",
    "merge_configuration",
    "seed_sequence",
    "steps_crossed",
    "tenths_done",
]

RETURN_MEAN = "episode_return_mean"
EVALUATION_RETURN_MEAN = "evaluation/episode_return_mean"

# The integers are part of every recorded result: append, never renumber.
STAGES: Mapping[str, int] = {
    "search": 0,
    "confirmation": 1,
    "evaluation": 2,  # of a trained configuration, after its training
    "agent evaluation": 3,  # of the one agent that was chosen
}


class Purpose(IntEnum):
    """What a generator of a replica is for. Append, never renumber."""

    TRAINING = 0  # initialisation, action sampling, minibatch order, RLlib's environments
    REPLAY = 1
    EVALUATION_ENVIRONMENTS = 2
    EVALUATION_ACTIONS = 3


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


class ConfigurationRefusedError(UserError):
    """The algorithm does not take this configuration; it ends the trial, not the sweep."""


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
        stage: a key of `STAGES`; generators of different stages never meet.
        stop: canonical metric name to value; a criterion is met when ``metric >= value``.
        plateau: ends a trial too; None: none does.
        evaluation: None switches it off.
        checkpoint_every_env_steps: as for the evaluation.
        checkpoint_replay: put the replay memories into checkpoints.
        time_budget_s: of the whole search; a trial without a bound of its own divides it.
        env_steps_share: of a replica: its part of what the whole search may take, the same way.
        rules: what the trial will be judged by.
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
    rules: Rules = field(default_factory=Rules)
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


def seed_sequence(seed: int, stage: str, purpose: Purpose) -> np.random.SeedSequence:
    """The root of one generator of one replica; distinct arguments never share a stream."""
    return np.random.SeedSequence([seed, STAGES[stage], int(purpose)])


def derive_seed(seed: int, stage: str, purpose: Purpose) -> int:
    """The same as one integer of 31 bits, for libraries that take nothing else.

    RLlib and gymnasium add small numbers (worker, sub-environment) to the seed they are given,
    so neighbouring seeds would share environments; spread over 31 bits they don't.
    """
    return int(seed_sequence(seed, stage, purpose).generate_state(1)[0] >> 1)


def merge_configuration(
    constants: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole configuration: what varies over what is constant, mapping by mapping."""
    merged = dict(constants)
    for key, value in parameters.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_configuration(below, value)
        else:
            merged[key] = value
    return merged


def find_met_criterion(stop: Mapping[str, float] | None, row: Mapping[str, Any]) -> str | None:
    """The first stop criterion that the row meets, as ``metric >= value``; else None."""
    for metric, value in (stop or {}).items():
        reported = row.get(metric)
        if isinstance(reported, int | float) and reported >= value:
            return f"{metric} >= {_format_number(value)}"
    return None


def tenths_done(settings: TrialSettings, row: Mapping[str, Any]) -> int:
    """How many tenths of the trial are done, by whichever of its bounds is nearest.

    Args:
        settings: whose ``stop`` or part of the search's budget bounds the trial.
        row: with the values of those metrics.
    """
    bounds = {name: (settings.stop or {}).get(name) for name in BOUNDS}
    if bounds["time_total_s"] is None:
        bounds["time_total_s"] = settings.time_budget_s
    if bounds[ENV_STEPS] is None:
        bounds[ENV_STEPS] = settings.env_steps_share
    shares = [
        10 * float(row[name]) / bound
        for name, bound in bounds.items()
        if bound and name in row and math.isfinite(bound)
    ]
    return int(max(shares, default=0.0))


def steps_crossed(before: int, after: int, every: int | None) -> bool:
    """Whether a multiple of ``every`` lies in ``(before, after]``."""
    return every is not None and before // every < after // every


class TrialMetrics:
    """The state behind a trial's rows: a window of episodes a replica, and what is carried on.

    Definitions, per replica over its last ``smoothing_episodes`` finished episodes:
    ``episode_return_mean``, ``episode_return_min``, ``episode_return_max``,
    ``episode_len_mean``. The trial's are the mean (least, greatest) over replicas, and absent
    until each replica has finished an episode. ``num_episodes`` are those that ended in this
    iteration, all replicas together. What an environment returned as NaN or infinite stays so:
    it is no score, and whoever judges says why.

    A diverged replica counts with the worst value that any replica of the trial has reported:
    a trial knows no others. The driver knows the whole run and puts its worst in place
    (`sweeper.results.divergence`); ``replica/diverged`` is in the row for that.

    Args:
        replicas: how many.
        smoothing_episodes: the window's length.
        mode: ``max`` or ``min``, which says what is worst.
    """

    def __init__(self, replicas: int, smoothing_episodes: int = 100, mode: str = "max") -> None:
        self._pick_worst = min if mode == "max" else max
        self._episodes: list[deque[tuple[float, int]]] = [
            deque(maxlen=smoothing_episodes) for _ in range(replicas)
        ]
        self._env_steps = [0] * replicas
        self._diverged = [False] * replicas
        self._evaluations: list[tuple[float, float] | None] = [None] * replicas
        self._worst: dict[str, float] = {}
        self._learner: dict[str, float] = {}
        self._new_env_steps = 0
        self._new_episodes = 0

    @property
    def env_steps(self) -> int:
        """Real env steps of the replica that has least; diverged ones don't hold it back."""
        alive = [
            steps
            for steps, diverged in zip(self._env_steps, self._diverged, strict=True)
            if not diverged
        ]
        return min(alive or self._env_steps)

    @property
    def diverged(self) -> tuple[bool, ...]:
        """Which replicas are frozen."""
        return tuple(self._diverged)

    def record_training(self, progress: Sequence[ReplicaProgress]) -> None:
        """Take in one iteration.

        Raises:
            TrialDivergedError: more than half of the replicas have diverged.
        """
        self._new_env_steps = sum(p.env_steps for p in progress) - sum(self._env_steps)
        self._new_episodes = sum(len(p.episode_returns) for p in progress)
        for index, replica in enumerate(progress):
            self._env_steps[index] = replica.env_steps
            self._diverged[index] = self._diverged[index] or replica.diverged
            self._episodes[index].extend(
                zip(replica.episode_returns, replica.episode_lengths, strict=True)
            )
            if not self._diverged[index]:
                self._note_worst(RETURN_MEAN, self._return_mean(index))
        self._learner = _mean_by_key(
            replica.learner or {} for replica in progress if not replica.diverged
        )
        if 2 * sum(self._diverged) > len(self._diverged):
            raise TrialDivergedError(
                f"{sum(self._diverged)} of {len(self._diverged)} replicas diverged "
                f"(weights or loss not finite) by {max(self._env_steps)} env steps"
            )

    def record_evaluation(self, results: Sequence[EvaluationResult | None]) -> None:
        """Take in one evaluation; a replica without a result keeps its last one."""
        for index, result in enumerate(results):
            if result is None:
                continue
            mean = float(np.mean(result.episode_returns))
            self._evaluations[index] = (mean, float(np.mean(result.episode_lengths)))
            self._note_worst(EVALUATION_RETURN_MEAN, mean)

    def row(self, *, train_time_s: float) -> dict[str, Any]:
        """The flat row of metrics of the iteration that was recorded last."""
        replicas = range(len(self._episodes))
        returns = [self._count(RETURN_MEAN, i, self._return_mean(i)) for i in replicas]
        evaluations = [evaluation and evaluation[0] for evaluation in self._evaluations]
        counted = [self._count(EVALUATION_RETURN_MEAN, i, evaluations[i]) for i in replicas]
        windows = [self._episodes[i] for i in replicas if not self._diverged[i]]
        row: dict[str, Any] = {
            ENV_STEPS: self.env_steps,
            "num_episodes": self._new_episodes,
            "env_steps_per_s": self._new_env_steps / max(train_time_s, 1e-9),
            **{f"learner/{key}": value for key, value in self._learner.items()},
            "replica/" + ENV_STEPS: list(self._env_steps),
        }
        if any(self._diverged):
            row["replica/diverged"] = list(self._diverged)
        if (mean := _mean(returns)) is not None and all(windows):
            finished = [episode for window in windows for episode in window]
            row[RETURN_MEAN] = mean
            row["episode_return_min"] = min(value for value, _ in finished)
            row["episode_return_max"] = max(value for value, _ in finished)
            row["episode_len_mean"] = float(
                np.mean([np.mean([length for _, length in window]) for window in windows])
            )
            row["replica/" + RETURN_MEAN] = returns
        if (mean := _mean(counted)) is not None:
            row[EVALUATION_RETURN_MEAN] = mean
            lengths = [evaluation[1] for evaluation in self._evaluations if evaluation]
            row["evaluation/episode_len_mean"] = float(np.mean(lengths))
            row["replica/" + EVALUATION_RETURN_MEAN] = counted
        return row

    def state(self) -> dict[str, Any]:
        """Everything that the next row depends on, as JSON."""
        return {
            "episodes": [[list(episode) for episode in window] for window in self._episodes],
            "env_steps": self._env_steps,
            "diverged": self._diverged,
            "evaluations": self._evaluations,
            "worst": self._worst,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`, into an object made with the same arguments."""
        for window, episodes in zip(self._episodes, state["episodes"], strict=True):
            window.clear()
            window.extend((float(value), int(length)) for value, length in episodes)
        self._env_steps = [int(steps) for steps in state["env_steps"]]
        self._diverged = [bool(diverged) for diverged in state["diverged"]]
        self._evaluations = [pair and (pair[0], pair[1]) for pair in state["evaluations"]]
        self._worst = dict(state["worst"])

    def _return_mean(self, index: int) -> float | None:
        window = self._episodes[index]
        return float(np.mean([value for value, _ in window])) if window else None

    def _note_worst(self, metric: str, value: float | None) -> None:
        if value is not None and math.isfinite(value):
            self._worst[metric] = self._pick_worst(value, self._worst.get(metric, value))

    def _count(self, metric: str, index: int, value: float | None) -> float | None:
        return self._worst.get(metric) if self._diverged[index] else value


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if len(present) == len(values) else None


def _mean_by_key(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            if math.isfinite(value):
                values.setdefault(key, []).append(value)
    return {key: float(np.mean(items)) for key, items in sorted(values.items())}


def _format_number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)
