"""The state of a launch in the cell of a notebook that started it."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Iterator
from typing import Any

from sweeper.formatting import format_number, format_parameters
from sweeper.journal import Event
from sweeper.markup import Html, joined, table, tag
from sweeper.metrics import BOUNDS
from sweeper.results.ranking import id_key
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.results.scoring import metric_value
from sweeper.results.spread import spread_of
from sweeper.results.standing import trial_share
from sweeper.views.scores import describe_score
from sweeper.views.watch import LaunchWatch

__all__ = ["NotebookProgress", "is_notebook"]

_EVERY_S = 1.0
_MAX_ROWS = 12
_HEAD = ("", "score", "±", "return", "env steps", "of all", "steps/s", "parameters")


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """The state of a launch, drawn again in place every second; at its end a small table stays.

    The driver's thread only notes what changed. A thread of its own computes and draws, so the
    clock advances between two reports.

    Args:
        watch: the launch.
    """

    def __init__(self, watch: LaunchWatch) -> None:
        import IPython.display as ipython

        self._watch = watch
        self._is_over = threading.Event()
        plan = watch.plan
        self._notes = joined(*(tag("p", f"note: {one}") for one in (*plan.notes, *plan.warnings)))
        display: Any = ipython.display
        self._handle = display(_Shown(self._draw()), display_id=True)
        # What a thread displays goes to the cell that its context is of.
        context = contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._redraw,), name="sweeper-notebook", daemon=True
        )
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Note an event."""
        self._watch.receive(event)

    def close(self) -> None:
        """Draw the last state, which stays."""
        self._is_over.set()
        self._thread.join()
        self._show(self._draw(is_over=True))

    def _redraw(self) -> None:
        while not self._is_over.wait(_EVERY_S):
            self._show(self._draw())

    def _show(self, page: Html) -> None:
        if self._handle is not None:
            self._handle.update(_Shown(page))

    def _draw(self, *, is_over: bool = False) -> Html:
        self._watch.refresh()
        return joined(self._notes, draw(self._watch, is_over=is_over))


class _Shown:
    """A page as IPython displays it; as text it is empty."""

    def __init__(self, page: Html) -> None:
        self._page = page

    def __repr__(self) -> str:
        return ""

    def _repr_html_(self) -> str:
        return self._page.text


def draw(watch: LaunchWatch, *, is_over: bool = False) -> Html:
    """The current state of a launch.

    Args:
        watch: the launch, refreshed.
        is_over: whether it has ended, so that nothing is running and no time is left.
    """
    head = tag("p", tag("b", watch.plan.spec.name), f": {watch.describe_counts()}")
    if is_over:
        return joined(head, _draw_best(watch))
    times = tag("p", watch.describe_times(watch.end()))
    silence = watch.describe_silence()
    return joined(
        head,
        times,
        tag("p", silence) if silence else None,
        tag("p", watch.decision) if watch.decision else None,
        _draw_best(watch),
        _draw_running(watch),
    )


def _draw_best(watch: LaunchWatch) -> Html | None:
    record = watch.best_record
    if record is None:
        return None
    score = describe_score(record, watch.plan.spec.objective)
    head = ("best so far", watch.metric, "parameters")
    row = (record.trial_id, score, format_parameters(record.parameters))
    return table(head, [row])


def _draw_running(watch: LaunchWatch) -> Html | None:
    running = sorted(watch.running.values(), key=lambda record: id_key(record.trial_id))
    if not running:
        return None

    def rows() -> Iterator[tuple[str, ...]]:
        for record in running[:_MAX_ROWS]:
            yield _row(watch, record)

    more = len(running) - _MAX_ROWS
    return joined(
        table(("running", *_HEAD[1:]), rows()), tag("p", f"and {more} more") if more > 0 else None
    )


def _row(watch: LaunchWatch, record: TrialRecord) -> tuple[str, ...]:
    spec, report = watch.plan.spec, record.last_report
    spread = spread_of(record, spec.objective)
    is_bounded = any(name in BOUNDS for name in spec.stop)
    return (
        f"{record.trial_id} of {record.of}" if record.of else record.trial_id,
        format_number(judge_trial(record, spec.objective).value),
        format_number(None if spread is None else spread.deviation),
        format_number(metric_value(report, "episode_return_mean")),
        format_number(record.env_steps),
        f"{trial_share(report, spec.stop):.0%}" if is_bounded else "",
        format_number(metric_value(report, "env_steps_per_s")),
        format_parameters(record.parameters),
    )
