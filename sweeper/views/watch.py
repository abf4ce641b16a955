"""The state of a running launch, for its views.

It is read from the run's results only, so views show what the journal says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sweeper.evidence.ties import Ties
from sweeper.formatting import describe_counts, format_clock, format_duration
from sweeper.journal import (
    ConfirmationPlanned,
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
from sweeper.results.exchanges import describe_copy
from sweeper.results.records import TrialRecord, describe_pruning
from sweeper.results.standing import Standing, Workload, describe_workload
from sweeper.states import Stage, TrialState
from sweeper.views.varied import VariedParameters

__all__ = ["LaunchWatch"]

_SILENT_S = 60.0
_TRIAL_EVENTS = (TrialAsked, TrialStarted, TrialReported, TrialRetried, TrialEnded)


class LaunchWatch:
    """The state of a launch: one thread feeds it events, any thread may read it.

    `receive` only notes what changed, because it runs between two steps of the sweep. `refresh`
    does the work, once for all events since the last call.

    Args:
        plan: the plan of the launch.
        results: must have applied an event before `receive` gets it.
        clock: returns seconds since the epoch.

    Attributes:
        standing: the progress of the run, as of the last `refresh`.
        confirmation: of the confirmation, once it is planned; None before.
        running: the running trials of either stage, by id.
        best_record: the best trial so far; None before the first score.
        metric: the metric that trials are compared by.
        varied: which parameters tell the search's trials apart.
        decision: the scheduler's last one to stop a trial, or to have it copy another, in words;
            empty before the first.
    """

    def __init__(
        self, plan: SweepPlan, results: ResultsBuilder, clock: Callable[[], float] = time.time
    ) -> None:
        self.plan, self.results, self.clock = plan, results, clock
        workload = describe_workload(plan.spec, trials=plan.trials, concurrent=plan.concurrent)
        self.standing = Standing(workload, plan.spec.objective)
        self.confirmation: Standing | None = None
        self.running: dict[str, TrialRecord] = {}
        self.best_record: TrialRecord | None = None
        self.metric = plan.spec.selection.metric
        self.varied = VariedParameters()
        self.decision = ""
        self._ties = Ties(plan.spec.objective)
        self._records: dict[str, TrialRecord] = {}
        self._heard: dict[str, float] = {}  # when each running trial had its last event
        self._changed: dict[str, tuple[TrialRecord, float]] = {}
        self._lock = threading.Lock()
        self._began = self.clock()
        self._ending = ""

    def receive(self, event: Event) -> None:
        """Note what an event changed; call it in the thread that applies events to the results."""
        if isinstance(event, LaunchEnded):
            self._ending = "writing the champion and what MLflow lacks"
            return
        if isinstance(event, TrialEnded) and event.state is TrialState.PAUSED:
            self._ending = f"ending: {event.reason}"
        if isinstance(event, LaunchStarted):  # a resumed run has trials already
            self._began, self._ending = event.time, ""
            snapshot = self.results.snapshot()
            records = (*snapshot.trials, *snapshot.retrained)
            self._begin_confirmation()
        elif isinstance(event, ConfirmationPlanned):
            self._begin_confirmation()
            return
        elif isinstance(event, _TRIAL_EVENTS):
            records = (self.results.trial(event.trial_id),)
            if isinstance(event, TrialEnded) and (words := describe_pruning(records[0])):
                self.decision = f"{event.trial_id} {words}"
            if isinstance(event, TrialReported) and (words := describe_copy(event)):
                self.decision = f"{event.trial_id} {words}"
        else:
            return
        with self._lock:
            self._changed.update((record.trial_id, (record, event.time)) for record in records)

    def refresh(self) -> None:
        """Bring the standing, the running trials and the best one up to date."""
        with self._lock:
            changed, self._changed = self._changed, {}
        for trial_id, (record, updated) in changed.items():
            if record.stage is Stage.SEARCH:
                self.standing.update(record, updated)
                self._ties.update(record)
                self.varied.add(trial_id, record.parameters)
            elif self.confirmation is not None and not record.is_outdated:
                self.confirmation.update(record, updated)
            self._records[trial_id] = record
            if record.state is TrialState.RUNNING:
                self.running[trial_id] = record
                self._heard[trial_id] = updated
            else:
                self.running.pop(trial_id, None)
                self._heard.pop(trial_id, None)
        best = self.standing.best()
        self.best_record = None if best is None else self._records[best.trial_id]

    @property
    def ties(self) -> frozenset[str]:
        """The search's trials that can't be told from the best one, as of the last `refresh`."""
        return self._ties.find()

    def _begin_confirmation(self) -> None:
        planned = self.results.confirmation
        if planned is None:
            return
        samples = len(planned.finalists) + bool(planned.baseline)
        intended = self.plan.confirmation
        concurrent = 1 if intended is None else intended.concurrent
        workload = Workload(samples, concurrent, self.plan.spec.stop)
        self.confirmation = Standing(workload, self.plan.spec.objective)

    def describe_counts(self) -> str:
        """``3 of 32 done, 1 failed, 2 running``, or what is still starting."""
        counts = self.standing.counts()
        if not counts:
            return "starting Ray"
        text = describe_counts(counts, self.standing.trials)
        if self.confirmation is not None:
            counts = self.confirmation.counts()
            text += f"; confirmation: {describe_counts(counts, self.confirmation.trials)}"
        starting = counts.get(TrialState.PENDING, 0)
        return f"{text}, {starting} starting" if starting and not self.running else text

    def describe_silence(self) -> str:
        """Which trial has not reported for longest, from a minute on; empty if none.

        A trial says nothing while it evaluates, so this can't tell that from a long iteration.
        """
        silent = {name: self.clock() - heard for name, heard in self._heard.items()}
        silent = {name: took_s for name, took_s in silent.items() if took_s >= _SILENT_S}
        if not silent or self._ending:
            return ""
        name = max(silent, key=lambda one: silent[one])
        others = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        doing = (
            "a long iteration or evaluation" if self.plan.spec.evaluation else "a long iteration"
        )
        return f"{name}{others}: no report for {format_duration(silent[name])} ({doing})"

    def end(self) -> float | None:
        """The estimated end of the launch, seconds since the epoch; None if unknown."""
        now = self.clock()
        if self.confirmation is not None:
            left = self.confirmation.left_s(now, 0.0)
            return None if left is None else now + left
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
