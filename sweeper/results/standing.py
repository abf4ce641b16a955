"""The progress of a run: trials by state, the best so far, the time left.

A `Standing` is updated trial by trial, so an update costs the same with ten trials or thousands.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sweeper.metrics import BOUNDS, Objective
from sweeper.results.ranking import Rank, rank_trial
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import env_steps_of, finite_value
from sweeper.spec import ExperimentSpec
from sweeper.states import TrialState

__all__ = ["Best", "Standing", "Workload", "describe_workload", "startup_s", "trial_share"]

# A trial that waits longer than a process takes to start waits for free resources.
_STARTING_S = 15.0


@dataclass(frozen=True)
class Workload:
    """What a run has to do: ``stop`` ends a trial, ``budget_s`` the launch."""

    trials: int
    concurrent: int = 1
    stop: Mapping[str, float] = field(default_factory=dict)
    budget_s: float | None = None


def describe_workload(spec: ExperimentSpec, *, trials: int, concurrent: int) -> Workload:
    """The workload of a spec with its plan's numbers."""
    return Workload(trials, concurrent, spec.stop, spec.budget.time_s)


class Best(NamedTuple):
    """The best trial so far and its score."""

    trial_id: str
    score: float


class _Entry(NamedTuple):
    """What `Standing` keeps of a trial."""

    state: TrialState
    rank: Rank
    spent_s: float | None
    whole_s: float | None
    startup_s: float
    updated: float


class Standing:
    """The progress of a whole run."""

    def __init__(self, workload: Workload, objective: Objective) -> None:
        self._workload, self._objective = workload, objective
        self._entries: dict[str, _Entry] = {}

    def update(self, record: TrialRecord, updated: float) -> None:
        """Update one trial; ``updated`` is the time of its last event, seconds since the epoch."""
        is_over = record.state.is_over
        self._entries[record.trial_id] = _Entry(
            state=record.state,
            rank=rank_trial(record, self._objective),
            spent_s=record.time_total_s,
            whole_s=record.time_total_s if is_over else _whole_s(record, self._workload.stop),
            startup_s=startup_s(record),
            updated=updated,
        )

    @property
    def trials(self) -> int:
        """How many trials there will be; a run may have more than planned."""
        return max(self._workload.trials, len(self._entries))

    def counts(self) -> dict[TrialState, int]:
        """How many trials are in each state; states without a trial are left out."""
        counts = Counter(entry.state for entry in self._entries.values())
        return {state: counts[state] for state in TrialState if counts[state]}

    def score(self, trial_id: str) -> float | None:
        """A trial's score so far; None before it has one."""
        entry = self._entries.get(trial_id)
        if entry is None or math.isinf(entry.rank[1]):
            return None
        return -entry.rank[1] if self._objective.mode == "max" else entry.rank[1]

    def best(self) -> Best | None:
        """The trial that `evidence.selection` would choose now; None without a score."""
        if not self._entries:
            return None
        trial_id = min(self._entries, key=lambda name: self._entries[name].rank)
        score = self.score(trial_id)
        return None if score is None else Best(trial_id, score)

    def left_s(self, now: float, elapsed_s: float) -> float | None:
        """Estimate the seconds until the last trial ends; None before the first report.

        A trial to come is assumed to take the mean of the others: the time that ended trials
        took, and that running trials will take at their current speed. Both exclude the start of
        the process, which later trials reuse. So the estimate accounts for pruning and early
        stops, and improves with every trial that ends.

        Args:
            now: seconds since the epoch.
            elapsed_s: since the launch began, which the budget counts from.
        """
        lefts = [] if self._workload.budget_s is None else [self._workload.budget_s - elapsed_s]
        known = [
            entry.whole_s - entry.startup_s
            for entry in self._entries.values()
            if entry.whole_s is not None
        ]
        if known:
            lefts.append(self._makespan_s(now, sum(known) / len(known)))
        left_s = min(lefts, default=math.inf)
        return max(0.0, left_s) if math.isfinite(left_s) else None

    def _makespan_s(self, now: float, mean_s: float) -> float:
        """How long the open trials take if each goes to the slot that is free first."""
        busy, waiting = [], []
        for entry in self._entries.values():
            if entry.state.is_over:
                continue
            whole_s = mean_s if entry.whole_s is None else entry.whole_s
            rest_s = max(0.0, whole_s - (entry.spent_s or 0.0))
            if entry.state is TrialState.RUNNING:
                busy.append(max(0.0, rest_s - max(0.0, now - entry.updated)))
            else:
                waiting.append(rest_s)
        waiting += [mean_s] * (self._workload.trials - len(self._entries))
        has_room = not any(
            entry.state is TrialState.PENDING and now - entry.updated > _STARTING_S
            for entry in self._entries.values()
        )
        slots = busy + [0.0] * (self._workload.concurrent - len(busy))
        if busy and not has_room:
            slots = busy
        heapq.heapify(slots)
        for rest_s in waiting:
            heapq.heapreplace(slots, slots[0] + rest_s)
        return max(slots, default=0.0)


def trial_share(report: Mapping[str, Any], stop: Mapping[str, float]) -> float:
    """How far a trial has come, 0 to 1, by the criteria that bound it: steps, time, iterations.

    A return to reach is no bound: without another criterion the share is 0.
    """
    shares = [
        value / limit
        for name, limit in stop.items()
        if name in BOUNDS and limit > 0 and (value := finite_value(report, name)) is not None
    ]
    return min(1.0, max(shares, default=0.0))


def startup_s(record: TrialRecord) -> float:
    """How much of the time until the first report was start-up: imports and building.

    The report's speed, of all replicas together, tells how long its training took.
    """
    if not record.reports:
        return 0.0
    first = record.reports[0]
    spent_s, speed = finite_value(first, "time_total_s"), finite_value(first, "env_steps_per_s")
    steps = env_steps_of(first)
    if spent_s is None or steps is None or speed is None or not speed > 0:
        return 0.0
    return max(0.0, spent_s - steps * max(1, len(record.seeds)) / speed)


def _whole_s(record: TrialRecord, stop: Mapping[str, float]) -> float | None:
    """Estimate a trial's total time by its speed since its first report.

    With a single report, by the speed in that report. Of several criteria the one that will be
    met first counts.
    """
    spent_s = record.time_total_s
    if spent_s is None:
        return None
    limit_s = stop.get("time_total_s", math.inf)
    way = {name: limit for name, limit in stop.items() if name != "time_total_s"}
    share = trial_share(record.last_report, way)
    if share <= 0:
        return limit_s if math.isfinite(limit_s) else None
    first = record.reports[0]
    begun_s, begun_share = finite_value(first, "time_total_s"), trial_share(first, way)
    if begun_s is None or share <= begun_share:
        begun_s, begun_share = startup_s(record), 0.0
    return min(limit_s, spent_s + (1 - share) * (spent_s - begun_s) / (share - begun_share))
