"""The progress of a launch as lines, for a stderr that is no terminal."""

from __future__ import annotations

import sys
import threading

from sweeper.formatting import (
    count_noun,
    describe_state,
    format_number,
    format_parameters,
    format_score,
)
from sweeper.journal import Event, TrialCheckpointed, TrialEnded, TrialReported, TrialRetried
from sweeper.paths import RunPaths
from sweeper.printable import printable
from sweeper.results.records import describe_divergence, describe_pruning
from sweeper.states import TrialState
from sweeper.views.scores import describe_score, objective_of
from sweeper.views.watch import LaunchWatch

__all__ = ["LineProgress"]

_LINE_EVERY_S = 15.0
_SILENT_S = 60.0  # print at least this often, so a slow iteration does not look like a hang
_CHECK_EVERY_S = 1.0
# Very short trials must not fill a log: up to 10 ends are printed at once, then one per second.
_MAX_END_LINES = 10


class LineProgress:
    """Prints a line when a trial ends, and a status line every 15 seconds or so.

    After `start`, a thread prints the status also while no events arrive.
    """

    def __init__(self, watch: LaunchWatch, paths: RunPaths) -> None:
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._watch = watch
        self._paths = paths
        self._printed = watch.clock()
        # A token bucket for the lines of ended trials.
        self._tokens = float(_MAX_END_LINES)
        self._refilled = self._printed
        self._skipped = 0
        self._errors: set[str] = set()

    def start(self) -> None:
        """Start the thread that breaks long silences; it ends with `close`."""
        threading.Thread(target=self._check, name="sweeper-progress", daemon=True).start()

    def __call__(self, event: Event) -> None:
        """Print what the event means, if anything."""
        self._watch.receive(event)
        with self._lock:
            silent_s = self._watch.clock() - self._printed
            if isinstance(event, TrialEnded):
                is_new = event.error is not None and event.error not in self._errors
                if self._take_token() or is_new:
                    self._print(self._describe_end(event))
                else:
                    self._skipped += 1
                if event.error:
                    self._errors.add(event.error)
            elif isinstance(event, TrialRetried):
                self._print(f"{event.trial_id} failed and is tried again: {event.error}")
            elif isinstance(event, TrialReported | TrialCheckpointed) and silent_s > _LINE_EVERY_S:
                self._print(self._describe_standing())

    def break_silence(self) -> None:
        """Print the status if nothing was printed for a minute."""
        with self._lock:
            if self._watch.clock() - self._printed >= _SILENT_S:
                self._print(self._describe_standing())

    def close(self) -> None:
        """End the thread, and print the status if ended trials were skipped."""
        self._is_over.set()
        with self._lock:
            if self._skipped:
                self._print(self._describe_standing())

    def _check(self) -> None:
        while not self._is_over.wait(_CHECK_EVERY_S):
            self.break_silence()

    def _take_token(self) -> bool:
        now = self._watch.clock()
        self._tokens = min(_MAX_END_LINES, self._tokens + max(0.0, now - self._refilled))
        self._refilled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _describe_standing(self) -> str:
        watch = self._watch
        watch.refresh()
        text = f"{watch.describe_counts()}, {watch.describe_times(watch.end())}"
        if silence := watch.describe_silence():
            text = f"{text}; {silence}"
        best = watch.standing.best()
        if best is None:
            return text
        score = format_score(best.score)
        if watch.best_record is not None:
            score = describe_score(watch.best_record, watch.plan.spec.objective)
        return f"{text}; best so far {best.trial_id}: {score}"

    def _describe_end(self, event: TrialEnded) -> str:
        record = self._watch.results.trial(event.trial_id)
        if event.state is TrialState.ERROR:
            log = self._paths.trial_log(event.trial_id)
            return f"{event.trial_id} failed ({event.reason}): {event.error}; log: {log}"
        parameters = format_parameters(record.parameters)
        if pruning := describe_pruning(record):
            return f"{event.trial_id} {pruning}{f'; {parameters}' if parameters else ''}"
        objective = self._watch.plan.spec.objective
        metric, score = objective_of(record, objective).metric, describe_score(record, objective)
        of = f" of {record.of}" if record.of else ""
        if event.error:  # while the launch was ending
            reason = f"{event.reason}; it failed before it was saved: {event.error}"
            return f"{event.trial_id} {describe_state(event.state)} ({reason})"
        divergence = describe_divergence(record)
        frozen = f"; {divergence}" if divergence else ""
        return (
            f"{event.trial_id}{of} {describe_state(event.state)} ({event.reason}): {metric} "
            f"{score}, "
            f"{format_number(record.env_steps)} env steps"
            f"{f', {parameters}' if parameters else ''}{frozen}"
        )

    def _print(self, text: str) -> None:
        self._printed = self._watch.clock()
        if self._skipped:
            text += f" (and {count_noun(self._skipped, 'more trial')} ended)"
            self._skipped = 0
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201
