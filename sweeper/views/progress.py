"""What a person sees while a launch goes on: a table on a terminal, lines elsewhere.

Both write to stderr and know a run only through its results, so that what they say is what the
journal says.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sweeper.journal import (
    Event,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
)
from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import Rules, metric_value
from sweeper.results.standing import Standing, describe_workload
from sweeper.results.sweep_results import ResultsBuilder
from sweeper.wording import (
    count_noun,
    describe_counts,
    describe_state,
    format_clock,
    format_duration,
    format_number,
    format_parameters,
)

__all__ = ["LaunchWatch", "LineProgress", "make_progress"]

_LINE_EVERY_S = 15.0
_SILENT_S = 60.0  # in iterations that take so long, someone may think that all stands still
_LOOK_EVERY_S = 1.0
# Trials that take no time must not fill a log: so many ends are told one by one at once, and
# after that one a second.
_END_LINES = 10

_TRIAL_EVENTS = (TrialAsked, TrialStarted, TrialReported, TrialRetried, TrialEnded)


def make_progress(plan: SweepPlan, paths: RunPaths, results: ResultsBuilder) -> Any:
    """The live table if stderr is a terminal that can be drawn on, else lines.

    Lines, too, where Ray and the others were asked to speak: they write to stdout as well.
    """
    watch = LaunchWatch(plan, results)
    can_draw = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    if can_draw and logging.getLogger().getEffectiveLevel() > logging.INFO:
        from sweeper.views.live_view import LiveProgress

        return LiveProgress(watch)
    lines = LineProgress(watch, paths)
    lines.start()
    return lines


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
        self.standing = Standing(workload, Rules(chosen.metric, chosen.mode, chosen.score))
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
        if isinstance(event, TrialEnded) and event.state == "PAUSED":
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
            if record.state == "RUNNING":
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
        starting = counts.get("PENDING", 0)
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


class LineProgress:
    """A line when a trial ends, and one now and then.

    `start` sees to it that one comes also while nothing happens, from a thread of its own.
    """

    def __init__(self, watch: LaunchWatch, paths: RunPaths) -> None:
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._watch = watch
        self._paths = paths
        self._last = watch.clock()
        self._allowed = float(_END_LINES)
        self._counted = self._last
        self._unsaid = 0
        self._errors: set[str] = set()

    def start(self) -> None:
        """Break the silence from now on, until the launch is over."""
        threading.Thread(target=self._look, name="sweeper-progress", daemon=True).start()

    def __call__(self, event: Event) -> None:
        """Say what the event means, if anything."""
        self._watch.hear(event)
        with self._lock:
            self._hear(event)

    def break_silence(self) -> None:
        """Say how far the launch is, if nothing was said for long."""
        with self._lock:
            if self._watch.clock() - self._last >= _SILENT_S:
                self._say(self._describe_standing())

    def close(self) -> None:
        """Say what was left out."""
        self._is_over.set()
        with self._lock:
            if self._unsaid:
                self._say(self._describe_standing())

    def _look(self) -> None:
        while not self._is_over.wait(_LOOK_EVERY_S):
            self.break_silence()

    def _hear(self, event: Event) -> None:
        since = self._watch.clock() - self._last
        if isinstance(event, TrialEnded):
            is_new = event.error is not None and event.error not in self._errors
            if self._may_say() or is_new:
                self._say(self._describe_end(event))
            else:
                self._unsaid += 1
            if event.error:
                self._errors.add(event.error)
        elif isinstance(event, TrialRetried):
            self._say(f"{event.trial_id} failed and is tried again: {event.error}")
        elif isinstance(event, TrialReported | TrialCheckpointed) and since > _LINE_EVERY_S:
            self._say(self._describe_standing())

    def _may_say(self) -> bool:
        now = self._watch.clock()
        self._allowed = min(_END_LINES, self._allowed + max(0.0, now - self._counted))
        self._counted = now
        if self._allowed < 1:
            return False
        self._allowed -= 1
        return True

    def _describe_standing(self) -> str:
        watch = self._watch
        watch.refresh()
        text = f"{watch.describe_counts()}, {watch.describe_times(watch.end())}"
        best = watch.standing.best()
        return f"{text}; best so far {best.trial_id}: {format_number(best.score)}" if best else text

    def _describe_end(self, event: TrialEnded) -> str:
        record = self._watch.results.trial(event.trial_id)
        if event.state == "ERROR":
            log = self._paths.trial_log(event.trial_id)
            return f"{event.trial_id} failed ({event.reason}): {event.error}; log: {log}"
        metric = self._watch.metric
        score = format_number(metric_value(record.last_report, metric))
        return (
            f"{event.trial_id} {describe_state(event.state)} ({event.reason}): {metric} {score}, "
            f"{format_number(record.env_steps)} env steps, {format_parameters(record.parameters)}"
        )

    def _say(self, text: str) -> None:
        self._last = self._watch.clock()
        if self._unsaid:
            text += f" (and {count_noun(self._unsaid, 'more trial')} ended)"
            self._unsaid = 0
        print(text, file=sys.stderr, flush=True)  # noqa: T201
