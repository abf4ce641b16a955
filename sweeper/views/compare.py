"""Several runs side by side, for a terminal."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from sweeper.evidence.comparing.comparison import RunComparison
from sweeper.evidence.comparing.curves import MeanCurve
from sweeper.evidence.comparing.rows import Row
from sweeper.evidence.comparing.sparklines import BLOCKS, PLAIN_BLOCKS
from sweeper.evidence.comparing.words import describe_improvement, describe_scale
from sweeper.formatting import count_noun, format_number
from sweeper.printable import printable
from sweeper.views.console import make_console, make_table, print_text

__all__ = ["print_comparison"]

_MAX_WIDTH = 100  # longer lines of words are hard to read
_MAX_CURVE, _MIN_CURVE = 48, 16
_GAP = 2


def print_comparison(comparison: RunComparison) -> None:
    """Print which runs there are, what the comparison comes to, the table, curves and notes."""
    console = make_console()
    for run in comparison.runs:
        print_text(console, f"{run.label}  {run.name}", "bold")
    first = comparison.runs[0].label
    _print_folded(
        console,
        f"The others are held against {first}, by {comparison.metric}, {comparison.mode}.",
        "dim",
    )
    console.print()
    for improvement in comparison.improvements:
        _print_folded(console, describe_improvement(improvement))
    console.print()
    labels = [run.label for run in comparison.runs]
    for rows in (comparison.results, comparison.parameters):
        for places in _split_columns(labels, rows, console.width):
            _print_table(console, labels, rows, places)
    for line in _explain_rows(comparison):
        _print_folded(console, line, "dim")
    _print_curves(console, comparison)
    for note in comparison.notes:
        _print_folded(console, note, "dim")


def _explain_rows(comparison: RunComparison) -> Iterator[str]:
    runs = comparison.runs
    score = []
    if any(run.search.is_optimistic for run in runs):
        score.append("one of the best of its search, so too good on average")
    if any(run.search.deviation is not None for run in runs):
        score.append("± the standard deviation of its replicas, their number in brackets")
    if score:
        yield f"search's score: {'; '.join(score)}"
    if any(run.cost.retrained for run in runs):
        yield "again: in the confirmation, all finalists and the baseline together"


def _print_table(
    console: Console, labels: Sequence[str], rows: Sequence[Row], places: Sequence[int]
) -> None:
    table = make_table("p" * (len(places) + 1), ["", *(labels[place] for place in places)])
    for row in rows:
        table.add_row(Text(row.heading), *(Text(row.cells[place]) for place in places))
    console.print(table)
    console.print()


def _split_columns(
    labels: Sequence[str], rows: Sequence[Row], width: int
) -> Iterator[Sequence[int]]:
    """Which runs stand beside each other: as many as fit, in their order; at least one."""
    if not rows:
        return
    room = free = width - _width([row.heading for row in rows])
    block: list[int] = []
    for place, label in enumerate(labels):
        needed = _GAP + _width([label, *(row.cells[place] for row in rows)])
        if block and needed > free:
            yield block
            block, free = [], room
        block.append(place)
        free -= needed
    yield block


def _width(cells: Sequence[str]) -> int:
    return max(len(printable(cell)) for cell in cells)


def _print_curves(console: Console, comparison: RunComparison) -> None:
    curves = [run.curve for run in comparison.runs]
    labels = [run.label for run in comparison.runs]
    taken = _width(labels) + 2 * _GAP
    metrics = {curve.metric for curve in curves if curve is not None}
    ends = [_describe_curve(curve, is_named=len(metrics) > 1) for curve in curves]
    if console.width - taken - _width(ends) < _MIN_CURVE:
        ends = [_describe_end(curve) for curve in curves]
    room = console.width - taken - _width(ends)
    lines = comparison.draw_curves(max(1, min(_MAX_CURVE, room)), _find_blocks())
    scale = describe_scale(lines, curves)
    if scale is None:
        return
    _print_folded(console, scale)
    for label, line, end in zip(labels, lines.lines, ends, strict=True):
        print_text(console, f"{label:<{_width(labels)}}  {line}  {end}")
    console.print()


def _describe_curve(curve: MeanCurve | None, *, is_named: bool) -> str:
    """Whose curve it is, and where it ends."""
    if curve is None:
        return _describe_end(curve)
    name = f" of {curve.metric}" if is_named else ""
    return f"{count_noun(curve.runs, 'run')} of the {curve.stage}{name}, {_describe_end(curve)}"


def _describe_end(curve: MeanCurve | None) -> str:
    return "no curve" if curve is None else f"ends at {format_number(curve.values[-1])}"


def _find_blocks() -> str:
    """The letters of curves, as far as the output can show them."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "utf-8")
    except (UnicodeError, LookupError):
        return PLAIN_BLOCKS
    return BLOCKS


def _print_folded(console: Console, text: str, style: str = "") -> None:
    width = min(console.width, _MAX_WIDTH)
    folder = textwrap.TextWrapper(
        width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    print_text(console, folder.fill(printable(text)), style)
