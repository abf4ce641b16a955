"""What all tables on standard output share: the console, columns, colours."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from sweeper.formatting import describe_state
from sweeper.printable import printable

__all__ = [
    "PrintableConsole",
    "color_state",
    "make_console",
    "make_table",
    "print_pairs",
    "print_text",
]

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


class PrintableConsole(Console):
    """A console on which no text can do more than be read; see `sweeper.printable`."""

    def on_broken_pipe(self) -> None:
        """Let the error through, as any other write does; rich would end the process."""
        self.quiet = True
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Render, and spell out what the terminal would act on."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                yield Segment(printable(segment.text), segment.style)
            else:
                yield segment


def make_console() -> Console:
    """Standard output. Nothing is cropped or wrapped in a pipe or a file."""
    return PrintableConsole() if sys.stdout.isatty() else PrintableConsole(width=_PIPE_WIDTH)


def make_table(form: str, headings: Iterable[str]) -> Table:
    """A table without lines.

    Args:
        form: one letter per column, like LaTeX's: ``l`` left, ``r`` right, ``p`` a paragraph of
            several lines.
        headings: one per column.
    """
    table = _PrintableTable(box=None, pad_edge=False, header_style="bold")
    for kind, heading in zip(form, headings, strict=True):
        table.add_column(Text(printable(heading)), **_COLUMNS[kind])
    return table


class _PrintableTable(Table):
    """A table whose columns are as wide as what is shown of their cells."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row; see `rich.table.Table.add_row`."""
        super().add_row(*map(_spell_out, cells), **options)


def _spell_out(cell: RenderableType | None) -> RenderableType | None:
    if isinstance(cell, Text) and not cell.plain.isprintable():
        return Text(printable(cell.plain), style=cell.style)
    return printable(cell) if isinstance(cell, str) else cell


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
