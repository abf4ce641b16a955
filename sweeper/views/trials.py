"""The trials of a run as a table."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.api import Run
from sweeper.formatting import (
    describe_state,
    fold_parameters,
    format_duration,
    format_number,
    format_value,
    last_parts,
    shorten_names,
)
from sweeper.metrics import Objective
from sweeper.results.ranking import rank_trial
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.search.configuration import flatten_parameters
from sweeper.views.console import color_state, make_console, make_table

__all__ = ["print_trials"]

_MANY_ROWS = 200
_MANY_ERRORS = 20
_OWN = ("trial", "state", "score", "env steps", "time")
_LEFT = 2  # of them are words, which stand on the left
_MIN_ROOM = 24  # for parameters in one column; in less they are left to the terminal


def print_trials(opened: Run) -> None:
    """The trials, best first, those without a score last."""
    objective = opened.objective
    records = sorted(opened.results.trials, key=lambda record: rank_trial(record, objective))
    flat = [flatten_parameters(record.parameters) for record in records]
    names = list(dict.fromkeys(name for parameters in flat for name in parameters))
    own = [_own_cells(record, objective) for record in records]
    heads = [*_OWN, *last_parts(names)]
    rows = [
        [*cells, *(format_value(varied[name]) if name in varied else "-" for name in names)]
        for cells, varied in zip(own, flat, strict=True)
    ]
    console = make_console()
    if sys.stdout.isatty() and len(rows) <= _MANY_ROWS:
        widths = _widths(heads, rows)
        if sum(widths) + 2 * len(widths) <= console.width:
            console.print(_wide_table(heads, rows))
        else:
            console.print(_narrow_table(console, own, records))
    else:
        for line in _align(heads, rows):
            click.echo(line)
    told = f"score: {objective.score} {objective.metric}, {objective.mode}"
    console.print(Text(told, style="dim"), soft_wrap=True)
    failed = [record for record in records if record.error]
    for record in failed[:_MANY_ERRORS]:
        console.print(Text(f"{record.trial_id}: {record.error}"), soft_wrap=True)
    if len(failed) > _MANY_ERRORS:
        console.print(f"… and {len(failed) - _MANY_ERRORS} more that failed: sweeper logs")


def _own_cells(record: TrialRecord, objective: Objective) -> list[str]:
    return [
        record.trial_id,
        describe_state(record.state),
        format_number(judge_trial(record, objective).value),
        format_number(record.env_steps),
        "-" if record.time_total_s is None else format_duration(record.time_total_s),
    ]


def _wide_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = make_table()
    for column, head in enumerate(heads):
        justify: Any = "left" if column < _LEFT else "right"
        table.add_column(Text(head), justify=justify, no_wrap=True)
    for trial_id, state, *rest in rows:
        table.add_row(trial_id, color_state(state), *(Text(cell) for cell in rest))
    return table


def _narrow_table(
    console: Console, own: Sequence[Sequence[str]], records: Sequence[TrialRecord]
) -> Table:
    """All parameters in one column, broken between them, where a column each is too much."""
    table = make_table()
    for column, head in enumerate(_OWN):
        justify: Any = "left" if column < _LEFT else "right"
        table.add_column(head, justify=justify, no_wrap=True)
    table.add_column("parameters", overflow="fold")
    widths = _widths(_OWN, own)
    room = max(_MIN_ROOM, console.width - sum(widths) - 2 * len(widths))
    for (trial_id, state, *rest), record in zip(own, records, strict=True):
        words = "\n".join(fold_parameters(shorten_names(record.parameters), room))
        table.add_row(trial_id, color_state(state), *(Text(cell) for cell in rest), Text(words))
    return table


def _widths(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]


def _align(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The same in plain lines: a table of rich takes seconds for thousands of rows."""
    widths = _widths(heads, rows)
    for row in (heads, *rows):
        words = [
            f"{cell:<{width}}" if column < _LEFT else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(words).rstrip()
