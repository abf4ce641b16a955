"""What a person sees while a launch goes on: a table on a terminal, lines elsewhere.

Both write to stderr and know a run only through its results, so that what they say is what the
journal says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sweeper.errors import UserError
from sweeper.journal import Event, TrialEnded, TrialReported, TrialRetried
from sweeper.paths import RunPaths
from sweeper.plan import SweepPlan
from sweeper.records import SweepResults, TrialRecord
from sweeper.results import ResultsBuilder
from sweeper.scoring import metric_value
from sweeper.selection import NothingToSelect, Selection, select
from sweeper.wording import format_duration, format_number, format_parameters

__all__ = ["LineProgress", "LiveProgress", "make_progress"]

_LINE_EVERY_S = 15.0
_REDRAW_PER_S = 2


def make_progress(plan: SweepPlan, paths: RunPaths, results: ResultsBuilder) -> Any:
    """The live table if stderr is a terminal, else lines."""
    kind = LiveProgress if sys.stderr.isatty() else LineProgress
    return kind(plan, paths, results)


class _Watch:
    """What both views share: the plan, the metric, the counts."""

    def __init__(self, plan: SweepPlan, paths: RunPaths, results: ResultsBuilder) -> None:
        self._plan = plan
        self._paths = paths
        self._results = results
        self._rules = plan.spec.selection
        self._started = time.monotonic()

    def _select(self, results: SweepResults) -> Selection | None:
        rules = self._rules
        try:
            return select(results, metric=rules.metric, mode=rules.mode, score=rules.score)
        except (NothingToSelect, UserError):  # nothing has reported the metric yet
            return None

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _count_line(self, results: SweepResults) -> str:
        counts = results.counts()
        parts = [f"{counts.get('TERMINATED', 0)}/{self._plan.trials} done"]
        parts += [
            f"{counts[state]} {word}"
            for state, word in (
                ("RUNNING", "running"),
                ("PRUNED", "pruned"),
                ("PAUSED", "paused"),
                ("ERROR", "failed"),
            )
            if counts.get(state)
        ]
        return ", ".join(parts)

    def _time_line(self, left: float | None) -> str:
        elapsed = f"{format_duration(self._elapsed())} elapsed"
        return elapsed if left is None else f"{elapsed}, about {format_duration(left)} left"

    def _left_s(self, results: SweepResults) -> float | None:
        """Time left, from the share of all env steps that is done and what they took."""
        total = self._plan.env_steps
        done = sum(record.env_steps or 0 for record in results.trials)
        done += sum(
            self._steps_a_trial() - (record.env_steps or 0)
            for record in results.trials
            if record.state in ("TERMINATED", "PRUNED", "ERROR")
        )
        steps = self._steps_a_trial() * self._plan.trials
        if not total or done <= 0 or steps <= done:
            return None
        return self._elapsed() * (steps - done) / done

    def _steps_a_trial(self) -> int:
        return int(self._plan.spec.stop.get("num_env_steps_sampled_lifetime", 0))


class LineProgress(_Watch):
    """A line when a trial ends, and one now and then."""

    def __init__(self, plan: SweepPlan, paths: RunPaths, results: ResultsBuilder) -> None:
        super().__init__(plan, paths, results)
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Say what the event means, if anything."""
        if isinstance(event, TrialEnded):
            self._say(self._describe_end(event))
        elif isinstance(event, TrialRetried):
            self._say(f"{event.trial_id} failed and is tried again: {event.error}")
        elif isinstance(event, TrialReported) and time.monotonic() - self._last > _LINE_EVERY_S:
            results = self._results.snapshot()
            best = self._select(results)
            tail = f"; best so far {best.trial_id}: {format_number(best.score)}" if best else ""
            times = self._time_line(self._left_s(results))
            self._say(f"{self._count_line(results)}, {times}{tail}")

    def close(self) -> None:
        """Nothing is left to say."""

    def _describe_end(self, event: TrialEnded) -> str:
        record = self._results.trial(event.trial_id)
        metric = self._rules.metric
        score = format_number(metric_value(record.last_report, metric))
        if event.state == "ERROR":
            log = self._paths.trial_log(event.trial_id)
            return f"{event.trial_id} failed ({event.reason}): {event.error}; log: {log}"
        return (
            f"{event.trial_id} {event.state.lower()} ({event.reason}): {metric} {score}, "
            f"{format_number(record.env_steps)} steps, {format_parameters(record.parameters)}"
        )

    def _say(self, text: str) -> None:
        self._last = time.monotonic()
        print(text, file=sys.stderr, flush=True)  # noqa: T201


class LiveProgress(_Watch):
    """One table, redrawn in place; it vanishes at the end, when the summary takes over.

    The driver's thread makes the picture, for it alone touches the results; rich's own thread
    draws it again now and then, so that the clock goes on between two reports.
    """

    def __init__(self, plan: SweepPlan, paths: RunPaths, results: ResultsBuilder) -> None:
        super().__init__(plan, paths, results)
        self._counts = "starting Ray"
        self._body: tuple[Any, ...] = ()
        self._end: float | None = None
        self._made = 0.0
        self._live = Live(
            get_renderable=self._render,
            console=Console(stderr=True),
            refresh_per_second=_REDRAW_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def __call__(self, event: Event) -> None:
        """Make the picture anew, at most twice a second."""
        now = time.monotonic()
        if now - self._made < 1 / _REDRAW_PER_S and not isinstance(event, TrialEnded):
            return
        self._made = now
        results = self._results.snapshot()
        left = self._left_s(results)
        self._end = None if left is None else now + left
        self._counts = self._count_line(results)
        self._body = (*self._best_line(results), self._table(results))

    def close(self) -> None:
        """Take the table away."""
        self._live.stop()

    def _render(self) -> Group:
        left = None if self._end is None else self._end - time.monotonic()
        head = f"{self._plan.spec.name}: {self._counts}, {self._time_line(left)}"
        return Group(Text(head, no_wrap=True, overflow="ellipsis"), *self._body)

    def _best_line(self, results: SweepResults) -> tuple[Text, ...]:
        selection = self._select(results)
        if selection is None:
            return ()
        best = results.trial(selection.trial_id)
        text = (
            f"best so far {best.trial_id}: {format_number(selection.score)}  "
            f"{format_parameters(best.parameters)}"
        )
        return (Text(text, no_wrap=True, overflow="ellipsis"),)

    def _table(self, results: SweepResults) -> Table:
        metric = self._rules.metric
        table = Table(box=None, pad_edge=False, expand=False)
        table.add_column("trial", no_wrap=True)
        table.add_column(metric.rsplit("/", 1)[0] if "/" in metric else "score", justify="right")
        table.add_column("return", justify="right", no_wrap=True)
        table.add_column("steps", justify="right", no_wrap=True)
        table.add_column("steps/s", justify="right", no_wrap=True)
        table.add_column("parameters", no_wrap=True, overflow="ellipsis", ratio=1)
        for record in _running(results):
            report = record.last_report
            table.add_row(
                record.trial_id,
                format_number(metric_value(report, metric)),
                format_number(metric_value(report, "episode_return_mean")),
                format_number(record.env_steps),
                format_number(metric_value(report, "env_steps_per_s")),
                format_parameters(record.parameters),
            )
        return table


def _running(results: SweepResults) -> Iterator[TrialRecord]:
    return (record for record in results.trials if record.state == "RUNNING")
