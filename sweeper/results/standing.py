"""How far a run is: its trials by state, the best of them so far, the time that is left.

A `Standing` takes in one trial's record after the other, so that keeping it up to date costs
the same whether a run has ten trials or thousands.
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
from sweeper.results.scoring import env_steps_of, metric_value
from sweeper.spec import ExperimentSpec
from sweeper.states import TrialState

__all__ = ["Best", "Standing", "Workload", "describe_workload", "startup_s", "trial_share"]

# A trial that has waited for its process longer than this waits for room.
_STARTING_S = 15.0


@dataclass(frozen=True)
class Workload:
    """What a run set out to do.

    Attributes:
        trials: how many in all.
        concurrent: at a time.
        stop: what ends a trial, the spec's ``stop``.
        budget_s: of the whole launch.
    """

    trials: int
    concurrent: int = 1
    stop: Mapping[str, float] = field(default_factory=dict)
    budget_s: float | None = None


def describe_workload(spec: ExperimentSpec, *, trials: int, concurrent: int) -> Workload:
    """The workload of a spec with its plan's numbers."""
    return Workload(
        trials=trials, concurrent=concurrent, stop=spec.stop, budget_s=spec.budget.time_s
    )


class Best(NamedTuple):
    """The best trial so far and its score."""

    trial_id: str
    score: float


class _Entry(NamedTuple):
    """What the standing needs to know of a trial."""

    state: TrialState
    rank: Rank
    spent_s: float | None
    whole_s: float | None
    startup_s: float
    heard: float


class Standing:
    """The state of a run as a whole.

    Args:
        workload: what is to be done.
        objective: what decides between trials.
    """

    def __init__(self, workload: Workload, objective: Objective) -> None:
        self._workload = workload
        self._objective = objective
        self._entries: dict[str, _Entry] = {}

    def update(self, record: TrialRecord, heard: float) -> None:
        """Take in a trial as it is now.

        Args:
            record: the trial.
            heard: time of its last event, seconds since the epoch.
        """
        is_over = record.state.is_over
        self._entries[record.trial_id] = _Entry(
            state=record.state,
            rank=rank_trial(record, self._objective),
            spent_s=record.time_total_s,
            whole_s=record.time_total_s if is_over else _whole_s(record, self._workload.stop),
            startup_s=startup_s(record),
            heard=heard,
        )

    @property
    def trials(self) -> int:
        """How many trials there will be; a run may turn out to have more than was planned."""
        return max(self._workload.trials, len(self._entries))

    def counts(self) -> dict[TrialState, int]:
        """How many trials are in each state, states without any left out."""
        counts = Counter(entry.state for entry in self._entries.values())
        return {state: counts[state] for state in TrialState if counts[state]}

    def score(self, trial_id: str) -> float | None:
        """What a trial is worth by the objective so far; None before it has a score."""
        entry = self._entries.get(trial_id)
        if entry is None or math.isinf(entry.rank[0]):
            return None
        return -entry.rank[0] if self._objective.mode == "max" else entry.rank[0]

    def best(self) -> Best | None:
        """The best trial so far, as `evidence.selection` would choose it; None without a score."""
        if not self._entries:
            return None
        trial_id = min(self._entries, key=lambda name: self._entries[name].rank)
        score = self.score(trial_id)
        return None if score is None else Best(trial_id, score)

    def left_s(self, now: float, elapsed_s: float) -> float | None:
        """Seconds until the last trial ends, as far as can be told.

        A trial that is not over is taken to cost what the others cost: the ended ones what
        they took, the running ones what they will have taken at their present speed, both
        without the start of their process, which trials to come find there. So the estimate
        gets better with every trial that ends, and knows of pruning and early stops.

        Args:
            now: seconds since the epoch.
            elapsed_s: since the launch began; the budget counts from there.
        """
        lefts = [] if self._workload.budget_s is None else [self._workload.budget_s - elapsed_s]
        known = [
            entry.whole_s - entry.startup_s
            for entry in self._entries.values()
            if entry.whole_s is not None
        ]
        if known:
            lefts.append(self._makespan_s(now, sum(known) / len(known)))
        return max(0.0, min(lefts)) if lefts else None

    def _makespan_s(self, now: float, mean_s: float) -> float:
        """How long the open trials take, each given to the slot that is free first."""
        busy, waiting = [], []
        for entry in self._entries.values():
            if entry.state.is_over:
                continue
            whole_s = mean_s if entry.whole_s is None else entry.whole_s
            rest_s = max(0.0, whole_s - (entry.spent_s or 0.0))
            if entry.state is TrialState.RUNNING:
                busy.append(max(0.0, rest_s - max(0.0, now - entry.heard)))
            else:
                waiting.append(rest_s)
        waiting += [mean_s] * (self._workload.trials - len(self._entries))
        has_room = not any(
            entry.state is TrialState.PENDING and now - entry.heard > _STARTING_S
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
    """How much of its way a trial has gone, 0 to 1, by the criteria that bound every trial.

    A return to be reached bounds nothing: 0 if there is no other criterion.

    Args:
        report: the trial's last one.
        stop: what ends it.
    """
    shares = [
        value / limit
        for name, limit in stop.items()
        if name in BOUNDS
        and limit > 0
        and (value := metric_value(report, name)) is not None
        and math.isfinite(value)
    ]
    return min(1.0, max(shares, default=0.0))


def startup_s(record: TrialRecord) -> float:
    """What of the time until the first report was not training: imports and building, once.

    A report says how fast its iteration was, all replicas together.
    """
    if not record.reports:
        return 0.0
    first = record.reports[0]
    spent_s, speed = metric_value(first, "time_total_s"), metric_value(first, "env_steps_per_s")
    steps = env_steps_of(first)
    if spent_s is None or steps is None or speed is None or not speed > 0:
        return 0.0
    return max(0.0, spent_s - steps * max(1, len(record.seeds)) / speed)


def _whole_s(record: TrialRecord, stop: Mapping[str, float]) -> float | None:
    """What a trial will have taken at its end, at its speed since its first report.

    With one report there is that one's own speed. Of several bounds the one that will be met
    first counts.
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
    begun_s, begun_share = metric_value(first, "time_total_s"), trial_share(first, way)
    if begun_s is None or share <= begun_share:
        begun_s, begun_share = startup_s(record), 0.0
    return min(limit_s, spent_s + (1 - share) * (spent_s - begun_s) / (share - begun_share))
