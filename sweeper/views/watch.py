"""A launch as its views need it: heard in one thread, looked at from any.

It knows a run only through its results, so that what views say is what the journal says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sweeper.formatting import (
    describe_counts,
    format_clock,
    format_duration,
)
from sweeper.journal import (
    Event,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
)
from sweeper.planning.plan import SweepPlan
from sweeper.results.builder import ResultsBuilder
from sweeper.results.records import TrialRecord
from sweeper.results.standing import Standing, describe_workload
from sweeper.states import TrialState

__all__ = ["LaunchWatch"]

_TRIAL_EVENTS = (TrialAsked, TrialStarted, TrialReported, TrialRetried, TrialEnded)


@dataclass
class LaunchWatch:
    """A launch as a view of it needs it: heard in one thread, looked at from any.

    `hear` takes what an event changed and no more, for it runs between two steps of the sweep;
    `refresh` does the work, once for however many events there were.

    Args:
        plan: what is carried out.
        results: has taken in each event before `hear` is called with it.
        clock: seconds since the epoch.
    """

    plan: SweepPlan
    results: ResultsBuilder
    clock: Callable[[], float] = time.time
    standing: Standing = field(init=False)
    running: dict[str, TrialRecord] = field(default_factory=dict, init=False)
    best_record: TrialRecord | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        chosen = self.plan.spec.selection
        workload = describe_workload(
            self.plan.spec, trials=self.plan.trials, concurrent=self.plan.concurrent
        )
        self.metric = chosen.metric
        self.standing = Standing(workload, self.plan.spec.objective)
        self._records: dict[str, TrialRecord] = {}
        self._changed: dict[str, tuple[TrialRecord, float]] = {}
        self._lock = threading.Lock()
        self._began = self.clock()
        self._ending = ""

    def hear(self, event: Event) -> None:
        """Take note of an event, in the thread that the results belong to."""
        if isinstance(event, LaunchEnded):
            self._ending = "writing the champion and what MLflow lacks"
            return
        if isinstance(event, TrialEnded) and event.state is TrialState.PAUSED:
            self._ending = f"ending: {event.reason}"
        if isinstance(event, LaunchStarted):  # it may go on where another one ended
            self._began, self._ending = event.time, ""
            records = self.results.snapshot().trials
        elif isinstance(event, _TRIAL_EVENTS):
            records = (self.results.trial(event.trial_id),)
        else:
            return
        with self._lock:
            self._changed.update((record.trial_id, (record, event.time)) for record in records)

    def refresh(self) -> None:
        """Bring the standing, the running trials and the best one up to date."""
        with self._lock:
            changed, self._changed = self._changed, {}
        for trial_id, (record, heard) in changed.items():
            self.standing.update(record, heard)
            self._records[trial_id] = record
            if record.state is TrialState.RUNNING:
                self.running[trial_id] = record
            else:
                self.running.pop(trial_id, None)
        best = self.standing.best()
        self.best_record = None if best is None else self._records[best.trial_id]

    def describe_counts(self) -> str:
        """``3 of 32 done, 1 failed, 2 running``; before the first report what is starting."""
        counts = self.standing.counts()
        if not counts:
            return "starting Ray"
        told = describe_counts(counts, self.standing.trials)
        starting = counts.get(TrialState.PENDING, 0)
        return f"{told}, {starting} starting" if starting and not self.running else told

    def end(self) -> float | None:
        """When the launch will end, seconds since the epoch, as far as can be told."""
        now = self.clock()
        left = self.standing.left_s(now, now - self._began)
        return None if left is None else now + left

    def describe_times(self, end: float | None) -> str:
        """``2m10s elapsed, about 3m left (14:32)``."""
        now = self.clock()
        elapsed = f"{format_duration(now - self._began)} elapsed"
        if self._ending:
            return f"{elapsed}, {self._ending}"
        if end is None:
            return elapsed
        if end - now < 1:
            return f"{elapsed}, nearly done"
        return f"{elapsed}, about {format_duration(end - now)} left ({format_clock(end, now)})"
