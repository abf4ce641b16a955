"""A launch told in lines, where there is no terminal to draw a table on."""

from __future__ import annotations

import sys
import threading

from sweeper.formatting import (
    count_noun,
    describe_state,
    format_number,
    format_parameters,
)
from sweeper.journal import (
    Event,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
)
from sweeper.paths import RunPaths
from sweeper.results.scoring import metric_value
from sweeper.states import TrialState
from sweeper.views.watch import LaunchWatch

__all__ = ["LineProgress"]

_LINE_EVERY_S = 15.0
_SILENT_S = 60.0  # in iterations that take so long, someone may think that all stands still
_LOOK_EVERY_S = 1.0
# Trials that take no time must not fill a log: so many ends are told one by one at once, and
# after that one a second.
_END_LINES = 10


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
        if event.state is TrialState.ERROR:
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
