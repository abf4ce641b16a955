"""Turns the progress of a trial's replicas into the row of metrics that the trial reports."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sweeper.metrics import ENV_STEPS, NUM_CAPPED_EPISODES
from sweeper.trainables.contract import EvaluationResult, ReplicaProgress, TrialDivergedError

__all__ = ["TrialMetrics"]

RETURN_MEAN = "episode_return_mean"
EVALUATION_RETURN_MEAN = "evaluation/episode_return_mean"


class TrialMetrics:
    """The state behind a trial's rows, e.g. each replica's window of finished episodes.

    ``episode_return_mean``, ``_min``, ``_max`` and ``episode_len_mean`` are computed over each
    replica's last ``smoothing_episodes`` finished episodes, then averaged over replicas (or their
    minimum, maximum). They are absent until each replica has finished an episode.
    ``num_episodes`` counts the episodes that ended in this iteration, of all replicas. A return
    that is not finite is the environment's fault, and its replica counts as diverged.
    ``evaluation/num_capped_episodes`` counts those of all replicas; absent without a cap.

    A diverged replica counts with the worst value that any replica of the trial has reported. The
    driver, which knows the whole run, replaces it by the worst value of the run
    (`sweeper.results.divergence`); ``replica/diverged`` in the row marks it.

    Args:
        mode: ``max`` or ``min``, the better direction.
    """

    def __init__(self, replicas: int, smoothing_episodes: int = 100, mode: str = "max") -> None:
        self._pick_worst = min if mode == "max" else max
        self._episodes: list[deque[tuple[float, int]]] = [
            deque(maxlen=smoothing_episodes) for _ in range(replicas)
        ]
        self._env_steps = [0] * replicas
        self._diverged = [False] * replicas
        self._causes: list[str | None] = [None] * replicas
        self._evaluations: list[tuple[float, float] | None] = [None] * replicas
        self._capped: list[int | None] = [None] * replicas
        self._worst: dict[str, float] = {}
        self._learner: dict[str, float] = {}
        self._new_env_steps = 0
        self._new_episodes = 0

    @property
    def env_steps(self) -> int:
        """The minimum of real env steps over the replicas that have not diverged."""
        alive = [
            steps
            for steps, diverged in zip(self._env_steps, self._diverged, strict=True)
            if not diverged
        ]
        return min(alive or self._env_steps)

    @property
    def diverged(self) -> tuple[bool, ...]:
        """Which replicas have diverged."""
        return tuple(self._diverged)

    def record_training(self, progress: Sequence[ReplicaProgress]) -> None:
        """Record one iteration.

        Raises:
            TrialDivergedError: more than half of the replicas have diverged.
        """
        self._new_env_steps = sum(p.env_steps for p in progress) - sum(self._env_steps)
        self._new_episodes = sum(len(p.episode_returns) for p in progress)
        for index, replica in enumerate(progress):
            self._env_steps[index] = replica.env_steps
            self._diverged[index] = self._diverged[index] or replica.diverged
            self._causes[index] = self._causes[index] or replica.cause
            self._episodes[index].extend(
                zip(replica.episode_returns, replica.episode_lengths, strict=True)
            )
            if not self._diverged[index]:
                self._note_worst(RETURN_MEAN, self._return_mean(index))
        self._learner = _mean_by_key(
            replica.learner or {} for replica in progress if not replica.diverged
        )
        self._refuse_majority()

    def record_evaluation(self, results: Sequence[EvaluationResult | None]) -> None:
        """Record one evaluation; a replica without a result keeps its last one.

        A return that is not finite is the environment's fault, and freezes the replica.

        Raises:
            TrialDivergedError: more than half of the replicas have diverged.
        """
        for index, result in enumerate(results):
            if result is None:
                continue
            mean = float(np.mean(result.episode_returns))
            if not math.isfinite(mean):
                self._diverged[index] = True
                cause = f"the environment gave a return of {mean} in an evaluation"
                self._causes[index] = self._causes[index] or cause
                continue
            self._evaluations[index] = (mean, float(np.mean(result.episode_lengths)))
            self._capped[index] = result.num_capped
            self._note_worst(EVALUATION_RETURN_MEAN, mean)
        self._refuse_majority()

    def row(self, *, train_time_s: float) -> dict[str, Any]:
        """The flat row of metrics of the iteration recorded last."""
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
            row["num_diverged_replicas"] = sum(self._diverged)
        if any(self._causes):
            row["replica/diverged_because"] = list(self._causes)
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
            capped = [number for number in self._capped if number is not None]
            if capped:
                row[NUM_CAPPED_EPISODES] = sum(capped)
        return row

    def state(self) -> dict[str, Any]:
        """Everything that the next row depends on, as JSON."""
        return {
            "episodes": [[list(episode) for episode in window] for window in self._episodes],
            "env_steps": self._env_steps,
            "diverged": self._diverged,
            "causes": self._causes,
            "evaluations": self._evaluations,
            "capped": self._capped,
            "worst": self._worst,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`, into an object made with the same arguments."""
        for window, episodes in zip(self._episodes, state["episodes"], strict=True):
            window.clear()
            window.extend((float(value), int(length)) for value, length in episodes)
        self._env_steps = [int(steps) for steps in state["env_steps"]]
        self._diverged = [bool(diverged) for diverged in state["diverged"]]
        self._causes = list(state.get("causes", self._causes))  # older checkpoints have none
        self._evaluations = [pair and (pair[0], pair[1]) for pair in state["evaluations"]]
        self._capped = list(state.get("capped", self._capped))  # absent in older checkpoints
        self._worst = dict(state["worst"])

    def _refuse_majority(self) -> None:
        number, replicas = sum(self._diverged), len(self._diverged)
        if 2 * number <= replicas:
            return
        cause = next((cause for cause in self._causes if cause is not None), None)
        why = f" (weights or loss not finite) by {max(self._env_steps)} env steps"
        raise TrialDivergedError(
            f"{number} of {replicas} replicas diverged{why if cause is None else f': {cause}'}"
        )

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
