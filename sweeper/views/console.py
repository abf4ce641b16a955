"""What all tables on standard output share: a console, columns, colours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.formatting import describe_state

__all__ = ["color_state", "make_console", "make_table", "print_pairs"]

_ENDLESS = 100_000
_COLOURS = {
    "running": "green",
    **dict.fromkeys(("paused", "interrupted"), "yellow"),
    **dict.fromkeys(("failed", "damaged"), "red"),
}


def make_console() -> Console:
    """Standard output; what goes into a pipe or a file is not cut or folded to any width."""
    return Console() if sys.stdout.isatty() else Console(width=_ENDLESS)


def make_table() -> Table:
    """A table without lines."""
    return Table(box=None, pad_edge=False, header_style="bold")


def color_state(state: str) -> Text:
    """The state of a run or a trial in words, in the colour of how bad it is."""
    word = describe_state(state)
    return Text(word, style=_COLOURS.get(word, ""))


def print_pairs(console: Console, rows: Sequence[tuple[str, Any]]) -> None:
    """Names and values, the values below one another."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(Text(f"{name:<{width}}  {value}"), soft_wrap=True)
