"""What all tables on standard output share: the console, columns, colours."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.formatting import describe_state

__all__ = ["color_state", "make_console", "make_table", "print_pairs", "print_text"]

_PIPE_WIDTH = 100_000
_COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "l": {"no_wrap": True},
    "r": {"no_wrap": True, "justify": "right"},
    "p": {"overflow": "fold"},
}
_COLOURS = {
    "running": "green",
    **dict.fromkeys(("paused", "interrupted"), "yellow"),
    **dict.fromkeys(("failed", "damaged"), "red"),
}


def make_console() -> Console:
    """Standard output. Nothing is cropped or wrapped in a pipe or a file."""
    return Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)


def make_table(form: str, headings: Iterable[str]) -> Table:
    """A table without lines.

    Args:
        form: one letter per column, like LaTeX's: ``l`` left, ``r`` right, ``p`` a paragraph of
            several lines.
        headings: one per column.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for kind, heading in zip(form, headings, strict=True):
        table.add_column(Text(heading), **_COLUMNS[kind])
    return table


def color_state(state: str) -> Text:
    """The state of a run or a trial, coloured if it is running or needs attention."""
    word = describe_state(state)
    return Text(word, style=_COLOURS.get(word, ""))


def print_pairs(console: Console, rows: Sequence[tuple[str, Any]]) -> None:
    """Print names and values, the values aligned."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print_text(console, f"{name:<{width}}  {value}")


def print_text(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is: no markup, and longer than the terminal if need be."""
    console.print(Text(text, style=style), soft_wrap=True)
