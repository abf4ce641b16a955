"""The live table of a launch on a terminal, redrawn in place."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.live_render import LiveRender
from rich.segment import Segment
from rich.text import Text

from sweeper.formatting import fold_parameters, format_number, format_parameters, format_score
from sweeper.journal import Event
from sweeper.metrics import BOUNDS
from sweeper.results.ranking import id_key
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.results.scoring import metric_value
from sweeper.results.spread import Spread, spread_of
from sweeper.results.standing import trial_share
from sweeper.search.configuration import flatten_parameters
from sweeper.streams import forgiving
from sweeper.views.console import PrintableConsole
from sweeper.views.scores import describe_score
from sweeper.views.varied import Column, fit_columns
from sweeper.views.watch import LaunchWatch

__all__ = ["LiveProgress", "draw"]

_REDRAW_PER_S = 2
_LAST_LINES_S = 0.5
_WIDE = 100  # below this, parameters come before the return in training and the speed
_NARROW = 60  # below this, the spread is left out, too
_BEST = "best so far"
_MAX_BEST_LINES = 2
_MAX_TIES = 3
_TRIAL_WIDTH = 6
_GAP = "  "
_RETURN = "episode_return_mean"


class LiveProgress:
    """The table; it disappears at the end, before the summary is printed.

    The driver's thread only notes what changed. Rich's own thread computes and draws, so the
    clock advances between two reports and the sweep never waits for the terminal.
    """

    def __init__(self, watch: LaunchWatch) -> None:
        self._watch = watch
        self._stderr = _DivertedStderr()
        self._console = PrintableConsole(file=self._stderr.terminal)
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=_REDRAW_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._live._live_render = _ReflowedRender(self._live.get_renderable(), self._read_width)
        self._live.start(refresh=True)
        # Rich hides the cursor, and a second Ctrl-C would end the process without restoring it.
        self._console.show_cursor(True)
        self._stderr.start(self._print)

    def __call__(self, event: Event) -> None:
        """Note an event."""
        self._watch.receive(event)

    def close(self) -> None:
        """Remove the table and restore stderr."""
        self._stderr.end()
        self._live.stop()
        self._stderr.terminal.close()

    def _render(self) -> Group:
        self._watch.refresh()
        # This terminal's size; rich asks the standard streams, which may be redirected.
        with contextlib.suppress(OSError):
            width, height = self._read_size()
            if width and height and "COLUMNS" not in os.environ:
                self._console.size = (width, height)
        size = self._console.size
        # The terminal echoes ^C at the end of the last line, which must not wrap.
        return Group(*draw(self._watch, width=size.width - len("^C^C"), height=size.height))

    def _read_size(self) -> os.terminal_size:
        return os.get_terminal_size(self._stderr.terminal.fileno())

    def _read_width(self) -> int:
        """The terminal's width; 0 if it is not known."""
        try:
            return self._read_size().columns
        except (OSError, ValueError):  # it is gone
            return 0

    def _print(self, line: str) -> None:
        """Print above the table."""
        self._console.print(Text.from_ansi(line), soft_wrap=True)


class _ReflowedRender(LiveRender):
    """What rich draws in place, erased as it stands after the terminal was made narrower.

    A terminal breaks lines that no longer fit, so the table takes more rows than it was drawn on,
    and rich would leave its first ones.
    """

    def __init__(self, renderable: RenderableType, read_width: Callable[[], int]) -> None:
        super().__init__(renderable, vertical_overflow="crop")
        self._read_width = read_width
        self._lengths: list[int] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        segments = [one for one in super().__rich_console__(console, options) if one is not None]
        drawn = "".join(one.text for one in segments if isinstance(one, Segment))
        self._lengths = [cell_len(line) for line in drawn.split("\n")]
        yield from segments

    def position_cursor(self) -> Control:
        """Move to the beginning of what stands on the terminal, erasing it."""
        self._count_rows()
        return super().position_cursor()

    def restore_cursor(self) -> Control:
        """The same, from the line below."""
        self._count_rows()
        return super().restore_cursor()

    def _count_rows(self) -> None:
        width = self._read_width()
        if self._shape is not None and width:
            rows = sum(max(1, math.ceil(length / width)) for length in self._lengths)
            self._shape = (self._shape[0], rows)


class _DivertedStderr:
    """Captures everything written to standard error, and passes it on line by line.

    Warnings, messages of signal handlers and output of C libraries must not break the table, so
    the file descriptor itself is replaced by a pipe.

    Attributes:
        terminal: the original standard error, for the table.
    """

    def __init__(self) -> None:
        self._descriptor = sys.stderr.fileno()
        # The terminal may be closed while the sweep goes on.
        self.terminal = forgiving(os.dup(self._descriptor), sys.stderr.encoding, closes=True)
        self._thread: threading.Thread | None = None
        self._has_ended = False

    def start(self, show: Callable[[str], None]) -> None:
        """Pass every line to ``show``, in a thread."""
        reading, writing = os.pipe()
        os.dup2(writing, self._descriptor)
        os.close(writing)
        self._thread = threading.Thread(target=self._pump, args=(reading, show), daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Restore standard error."""
        sys.stderr.flush()
        os.dup2(self.terminal.fileno(), self._descriptor)
        if self._thread is not None:
            self._thread.join(_LAST_LINES_S)
        self._has_ended = True

    def _pump(self, reading: int, show: Callable[[str], None]) -> None:
        with open(reading, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                # A child process may outlive the table. Keep reading its output, or SIGPIPE
                # would end it, but drop the lines.
                if line.strip() and not self._has_ended:
                    show(line.rstrip())


def draw(watch: LaunchWatch, *, width: int, height: int) -> list[Text]:
    """The current state of a launch, as lines that fit a terminal.

    Args:
        watch: the launch, refreshed.
        width: of the terminal, in characters.
        height: of the terminal, in lines; if not all running trials fit, the last one says how
            many are missing.
    """
    name = Text(watch.plan.spec.name, style="bold")
    name.truncate(max(10, width // 3), overflow="ellipsis")
    head = Text.assemble(name, _GAP, watch.describe_counts())
    lines = [head, Text(watch.describe_times(watch.end()))]
    if silence := watch.describe_silence():
        lines.append(Text(silence, style="dim"))
    if watch.decision:
        lines.append(Text(watch.decision, style="dim"))
    lines += _best_lines(watch, width)
    running = sorted(watch.running.values(), key=lambda record: id_key(record.trial_id))
    if running:
        columns = _columns(watch, width)
        taken = _TRIAL_WIDTH + sum(size + len(_GAP) for size in columns.values())
        varied, left_out = fit_columns(watch.varied.columns(), width - taken)
        headings = [f"{column.heading:>{column.width}}" for column in varied]
        more = [f"+{left_out}"] if left_out else []
        heading = _row("trial", {name: name for name in columns}, columns, [*headings, *more])
        heading.stylize("dim")
        lines += [Text(), heading]
        # Leave one line free: a terminal scrolls when its last line is full.
        room = max(1, height - len(lines) - 1)
        shown = running if len(running) <= room else running[: max(1, room - 1)]
        lines += [_trial_line(watch, record, columns, varied) for record in shown]
        if len(shown) < len(running):
            lines.append(Text(f"… and {len(running) - len(shown)} more", style="dim"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _best_lines(watch: LaunchWatch, width: int) -> list[Text]:
    best, record = watch.standing.best(), watch.best_record
    if best is None or record is None:
        return []
    first = Text.assemble(
        (_BEST, "dim"),
        f"{_GAP}{best.trial_id}{_GAP}",
        (describe_score(record, watch.plan.spec.objective), "bold"),
        (f"{_GAP}{watch.metric}", "dim"),
    )
    indent = " " * len(_BEST + _GAP)
    words = format_parameters(record.parameters)
    if len(words) > _MAX_BEST_LINES * (width - len(indent) - 10):
        words = format_parameters(record.parameters, is_short=True)
    folded = fold_parameters(words, width - len(indent), max_lines=_MAX_BEST_LINES)
    lines = [Text(), first, *(Text(indent + line) for line in folded)]
    if watch.ties and _has_spread(spread_of(record, watch.plan.spec.objective)):
        named = sorted(watch.ties, key=id_key)
        more = f" and {len(named) - _MAX_TIES} more" if len(named) > _MAX_TIES else ""
        words = f"~ can't be told from it: {', '.join(named[:_MAX_TIES])}{more}"
        lines.append(Text(indent + words, style="dim"))
    return lines


def _has_spread(spread: Spread | None) -> bool:
    return spread is not None and spread.deviation is not None


def _columns(watch: LaunchWatch, width: int) -> dict[str, int]:
    """Names and fixed widths: nothing moves when a number gets longer."""
    has_frozen = any(record.diverged for record in watch.running.values())
    columns = {"of": 8} if any(record.of for record in watch.running.values()) else {}
    columns["score"] = 19 if has_frozen else 10
    if width >= _NARROW and any(len(record.seeds) > 1 for record in watch.running.values()):
        columns["±"] = 7
    if width >= _WIDE and watch.metric != _RETURN:
        columns["return"] = 10
    columns["steps"] = 11
    if width >= _WIDE and any(name in BOUNDS for name in watch.plan.spec.stop):
        columns["of all"] = 6
    if width >= _WIDE:
        columns["steps/s"] = 8
    return columns


def _trial_line(
    watch: LaunchWatch, record: TrialRecord, columns: Mapping[str, int], varied: Sequence[Column]
) -> Text:
    report, objective = record.last_report, watch.plan.spec.objective
    spread = spread_of(record, objective)
    mark = "~" if _has_spread(spread) and record.trial_id in watch.ties else ""
    score = format_score(judge_trial(record, objective).value, record.diverged)
    cells = {
        "of": record.of,
        "score": f"{mark}{score}",
        "±": format_number(None if spread is None else spread.deviation),
        "return": format_number(metric_value(report, _RETURN)),
        "steps": format_number(record.env_steps),
        "of all": f"{trial_share(report, watch.plan.spec.stop):.0%}",
        "steps/s": format_number(metric_value(report, "env_steps_per_s")),
    }
    flat = flatten_parameters(record.parameters)
    return _row(record.trial_id, cells, columns, [column.show(flat) for column in varied])


def _row(
    trial: str, cells: Mapping[str, str], columns: Mapping[str, int], parameters: Sequence[str]
) -> Text:
    values = [f"{cells[name]:>{size}}" for name, size in columns.items()]
    return Text(_GAP.join([f"{trial:<{_TRIAL_WIDTH}}", *values, *parameters]))
