"""Turns the progress of a trial's replicas into the row of metrics that the trial reports."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from sweeper.episode_metrics import combine_replicas, pick_worst
from sweeper.metrics import ENV_STEPS, IS_NEW_EVALUATION, NUM_CAPPED_EPISODES, Objective
from sweeper.trainables.contract import EvaluationResult, ReplicaProgress, TrialDivergedError

__all__ = ["TrialMetrics"]

_Episodes: TypeAlias = Sequence[tuple[float, int]]
"""Return and length of each."""

_TRAINING: Mapping[str, Callable[[_Episodes], float]] = {
    "episode_return_mean": lambda episodes: float(np.mean([value for value, _ in episodes])),
    "episode_return_min": lambda episodes: min(value for value, _ in episodes),
    "episode_return_max": lambda episodes: max(value for value, _ in episodes),
    "episode_len_mean": lambda episodes: float(np.mean([length for _, length in episodes])),
}
# In the order in which a replica's last evaluation is kept.
_EVALUATION = ("evaluation/episode_return_mean", "evaluation/episode_len_mean")


class TrialMetrics:
    """The state behind a trial's rows, e.g. each replica's window of finished episodes.

    ``episode_return_mean``, ``_min``, ``_max`` and ``episode_len_mean`` are computed over each
    replica's last ``smoothing_episodes`` finished episodes, then averaged over replicas (or their
    minimum, maximum). They are absent until each replica has finished an episode. Those below
    ``evaluation/`` repeat the last evaluation; ``evaluation/is_new`` says whether the row follows
    one. The replicas' own values are below ``replica/``.
    ``num_episodes`` counts the episodes that ended in this iteration, of all replicas.
    ``evaluation/num_capped_episodes`` counts those of all that played; absent without a cap.

    In all metrics of episodes a diverged replica counts with the worst value that any replica of
    the trial has reported. The driver, which knows the whole run, replaces it by the worst value
    of the run (`sweeper.results.divergence`); ``replica/diverged`` in the row marks it.

    Args:
        objective: how trials are judged, which says what is worst.
    """

    def __init__(
        self,
        replicas: int,
        smoothing_episodes: int = 100,
        objective: Objective | None = None,
    ) -> None:
        self._objective = objective or Objective()
        self._episodes: list[deque[tuple[float, int]]] = [
            deque(maxlen=smoothing_episodes) for _ in range(replicas)
        ]
        self._env_steps = [0] * replicas
        self._diverged = [False] * replicas
        self._causes: list[str | None] = [None] * replicas
        self._evaluations: list[tuple[float, float] | None] = [None] * replicas
        self._capped: list[int | None] = [None] * replicas
        self._is_evaluated = False
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
        self._is_evaluated = False
        for index, replica in enumerate(progress):
            self._env_steps[index] = replica.env_steps
            self._diverged[index] = self._diverged[index] or replica.diverged
            self._causes[index] = self._causes[index] or replica.cause
            self._episodes[index].extend(
                zip(replica.episode_returns, replica.episode_lengths, strict=True)
            )
            self._note_worsts(index)
        self._learner = _mean_by_key(
            replica.learner or {} for replica in progress if not replica.diverged
        )
        self._refuse_majority()

    def record_evaluation(self, results: Sequence[EvaluationResult | None]) -> None:
        """Record one evaluation; a replica that did not play, or diverged in it, has none.

        Raises:
            TrialDivergedError: more than half of the replicas have diverged.
        """
        self._is_evaluated = True
        for index, result in enumerate(results):
            if result is None or result.diverged:
                continue
            returns, lengths = result.episode_returns, result.episode_lengths
            self._evaluations[index] = float(np.mean(returns)), float(np.mean(lengths))
            self._capped[index] = result.num_capped
            self._note_worsts(index)
        self.record_divergence(results)

    def record_divergence(self, results: Sequence[EvaluationResult | None]) -> None:
        """Record which replicas diverged in an evaluation, and nothing else of it.

        Raises:
            TrialDivergedError: more than half of the replicas have diverged.
        """
        for index, result in enumerate(results):
            if result is not None and result.diverged:
                self._diverged[index] = True
                self._causes[index] = self._causes[index] or result.cause
        self._refuse_majority()

    def row(self, *, train_time_s: float) -> dict[str, Any]:
        """The flat row of metrics of the iteration recorded last."""
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
        for metric in _TRAINING:
            row |= self._over_replicas(metric)
        evaluated: dict[str, Any] = {}
        for metric in _EVALUATION:
            evaluated |= self._over_replicas(metric)
        if evaluated:
            row |= {**evaluated, IS_NEW_EVALUATION: self._is_evaluated}
            played = zip(self._capped, self._diverged, strict=True)
            capped = [number for number, frozen in played if number is not None and not frozen]
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
            "is_evaluated": self._is_evaluated,
            "worst": self._worst,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`, into an object made with the same arguments."""
        for window, episodes in zip(self._episodes, state["episodes"], strict=True):
            window.clear()
            window.extend((float(value), int(length)) for value, length in episodes)
        self._env_steps = [int(steps) for steps in state["env_steps"]]
        self._diverged = [bool(diverged) for diverged in state["diverged"]]
        # Older checkpoints lack the causes and the next two.
        self._causes = list(state.get("causes", self._causes))
        self._is_evaluated = bool(state.get("is_evaluated", False))
        self._evaluations = [pair and (pair[0], pair[1]) for pair in state["evaluations"]]
        self._capped = list(state.get("capped", self._capped))
        self._worst = dict(state["worst"])
        for index in range(len(self._episodes)):  # older checkpoints have that of returns alone
            self._note_worsts(index)

    def _refuse_majority(self) -> None:
        number, replicas = sum(self._diverged), len(self._diverged)
        if 2 * number <= replicas:
            return
        cause = next((cause for cause in self._causes if cause is not None), None)
        why = f" (weights or loss not finite) by {max(self._env_steps)} env steps"
        raise TrialDivergedError(
            f"{number} of {replicas} replicas diverged{why if cause is None else f': {cause}'}"
        )

    def _find(self, metric: str, index: int) -> float | None:
        if metric in _TRAINING:
            window = self._episodes[index]
            return _TRAINING[metric](window) if window else None
        evaluation = self._evaluations[index]
        return None if evaluation is None else evaluation[_EVALUATION.index(metric)]

    def _note_worsts(self, index: int) -> None:
        if self._diverged[index]:
            return
        for metric in (*_TRAINING, *_EVALUATION):
            value = self._find(metric, index)
            if value is not None and math.isfinite(value):
                pick = pick_worst(metric, self._objective)
                self._worst[metric] = pick(value, self._worst.get(metric, value))

    def _over_replicas(self, metric: str) -> dict[str, Any]:
        """The trial's value and its replicas'; empty until each replica has one."""
        values = [
            self._worst.get(metric) if is_diverged else self._find(metric, index)
            for index, is_diverged in enumerate(self._diverged)
        ]
        present = [value for value in values if value is not None]
        if len(present) < len(values):
            return {}
        return {metric: combine_replicas(metric, present), f"replica/{metric}": present}


def _mean_by_key(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            if math.isfinite(value):
                values.setdefault(key, []).append(value)
    return {key: float(np.mean(items)) for key, items in sorted(values.items())}
