"""What a sweep has come to so far, and what it cost: curves and numbers of MLflow's parent run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.journal import Event, LaunchStarted
from sweeper.metrics import Objective
from sweeper.results.scoring import env_steps_of, finite_value
from sweeper.states import TrialState

__all__ = ["BEST", "Cost", "MetricValue", "SweepProgress"]

BEST = "Decision/so_far"
"""Before ``_by_trials`` and ``_by_env_steps``: the best score of the search so far."""

MetricValue = tuple[str, float, int, int]
"""Name, value, timestamp in ms, step: the arguments of an MLflow ``Metric``, in its order."""


@dataclass(frozen=True)
class Cost:
    """What a trial cost: env steps of all replicas, and seconds of training."""

    env_steps: int = 0
    train_s: float = 0.0

    @classmethod
    def of(cls, report: Mapping[str, Any], replicas: int) -> Cost:
        """By a trial's last report."""
        steps = max(0.0, env_steps_of(report) or 0.0)
        return cls(
            int(min(steps * max(1, replicas), 2.0**62)), finite_value(report, "time_total_s") or 0.0
        )


@dataclass
class SweepProgress:
    """Follows a sweep by its events, and by how its trials ended."""

    objective: Objective
    _costs: dict[str, Cost] = field(default_factory=dict)
    _finished: dict[str, int] = field(default_factory=dict)
    _searched: int = 0
    _best: float | None = None
    _wall_s: float = 0.0
    _began: float | None = None
    _latest: float = 0.0

    def take(self, event: Event) -> None:
        """Count a launch's time, whether it ended in order or was killed."""
        if isinstance(event, LaunchStarted):
            self._wall_s, self._began = self.wall_clock_s, event.time
        self._latest = event.time

    def take_end(
        self, trial_id: str, state: str, cost: Cost, score: float | None, stamp: int
    ) -> list[MetricValue]:
        """Count a trial of the search that ended; returns the new points of the best score.

        Args:
            trial_id: counted once, however often it ends.
            state: of the trial; only one that ran to its own end can be the best.
            cost: so far.
            score: None, or NaN, if it has none.
            stamp: of its end, in ms.
        """
        before = self._costs.get(trial_id, Cost())
        self._costs[trial_id] = cost
        self._searched += cost.env_steps - before.env_steps
        if state == TrialState.PAUSED:
            return []
        number = self._finished.setdefault(trial_id, len(self._finished) + 1)
        if state == TrialState.TERMINATED:
            merit = self.objective.merit
            if merit(score) > merit(self._best):
                self._best = score
        if self._best is None or number < len(self._finished):
            return []
        return [
            (f"{BEST}_by_trials", self._best, stamp, number),
            (f"{BEST}_by_env_steps", self._best, stamp, min(self._searched, 2**62)),
        ]

    def take_retrained(self, trial_id: str, cost: Cost) -> None:
        """Count what a trial of the confirmation cost."""
        self._costs[trial_id] = cost

    @property
    def wall_clock_s(self) -> float:
        """Seconds of all launches, without the time between them."""
        return self._wall_s + (0.0 if self._began is None else self._latest - self._began)

    def totals(self) -> dict[str, float]:
        """What the sweep cost so far, by MLflow's names."""
        costs = self._costs.values()
        return {
            "cost/env_steps": float(sum(cost.env_steps for cost in costs)),
            "cost/train_s": sum(cost.train_s for cost in costs),
            "cost/wall_clock_s": self.wall_clock_s,
        }

    @property
    def updated_ms(self) -> int:
        """When the last event was, in ms."""
        return int(self._latest * 1000)
