"""The trials of a run as a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from sweeper.evidence.ties import find_ties
from sweeper.formatting import (
    count_noun,
    describe_state,
    fold_parameters,
    format_duration,
    format_number,
    format_parameters,
    format_score,
    format_value,
    short_names,
)
from sweeper.metrics import Objective
from sweeper.opened_run import Run
from sweeper.paths import run_reference
from sweeper.printable import printable
from sweeper.results.ranking import rank_trial
from sweeper.results.records import TrialRecord, describe_divergence, judge_trial
from sweeper.results.spread import spread_of
from sweeper.search.configuration import flatten_parameters
from sweeper.states import Stage, TrialState
from sweeper.views.console import color_state, make_console, make_table, print_text

__all__ = ["print_trials"]

_MAX_TABLE_ROWS = 200
_MAX_ERRORS = 20
_MAX_IDS = 8  # of trials that one line names
_FIXED = ("trial", "state", "score", "env steps", "time")
_TEXT_COLUMNS = 2  # the first two are aligned left, the rest right
_MIN_ROOM = 24  # for parameters in one column; below that the terminal wraps them


def print_trials(opened: Run) -> None:
    """Print the trials, the best first, those without a score last."""
    objective = opened.objective
    records = sorted(opened.results.trials, key=lambda record: rank_trial(record, objective))
    flat = [flatten_parameters(record.parameters) for record in records]
    names = list(dict.fromkeys(name for parameters in flat for name in parameters))
    # Nothing tells apart the trials of a confirmation: they are of few configurations.
    is_search = all(record.stage is Stage.SEARCH for record in records)
    ties = find_ties(records, objective) if is_search else frozenset()
    fixed = [_fixed_cells(record, objective, is_tied=record.trial_id in ties) for record in records]
    headings = [*_FIXED, *short_names(names)]
    rows = [
        [*cells, *(format_value(parameters[name]) if name in parameters else "-" for name in names)]
        for cells, parameters in zip(fixed, flat, strict=True)
    ]
    console = make_console()
    if sys.stdout.isatty() and len(rows) <= _MAX_TABLE_ROWS:
        if _width(headings, rows) <= console.width:
            console.print(_table(headings, rows))
        elif not is_search:
            # The same few configurations again and again, which another table has once.
            console.print(_table(_FIXED, fixed))
            run = run_reference(opened.results.root)
            print_text(console, f"their configurations: sweeper results {run}", "dim")
        else:
            # One column for all parameters, wrapped between them.
            room = max(_MIN_ROOM, console.width - _width(_FIXED, fixed))
            for cells, record in zip(fixed, records, strict=True):
                parameters = format_parameters(record.parameters, is_short=True)
                cells.append("\n".join(fold_parameters(parameters, room)))
            console.print(_table([*_FIXED, "parameters"], fixed, last="p"))
    else:
        for line in _align(headings, rows):
            print(printable(line))  # noqa: T201
    print_text(console, f"score: {objective.score} {objective.metric}, {objective.mode}", "dim")
    for line in _explain_marks(records, objective, ties):
        print_text(console, line, "dim")
    for line in _explain_ends(records):
        print_text(console, line, "dim")
    failed = [record for record in records if record.error]
    for record in failed[:_MAX_ERRORS]:
        print_text(console, f"{record.trial_id}: {record.error}")
    if len(failed) > _MAX_ERRORS:
        more, run = len(failed) - _MAX_ERRORS, run_reference(opened.results.root)
        print_text(console, f"… and {more} more that failed: sweeper logs {run}")
    diverged = [record for record in records if record.diverged and not record.error]
    for record in diverged[:_MAX_ERRORS]:
        print_text(console, f"{record.trial_id}: {describe_divergence(record)}")
    if len(diverged) > _MAX_ERRORS:
        console.print(f"… and {len(diverged) - _MAX_ERRORS} more with frozen replicas")


def _explain_marks(
    records: Sequence[TrialRecord], objective: Objective, ties: frozenset[str]
) -> Iterator[str]:
    """What ± and ~ stand for, where the table has them."""
    spreads = [spread for one in records if (spread := spread_of(one, objective)) is not None]
    numbers = sorted({len(spread.values) for spread in spreads if spread.deviation is not None})
    if not numbers:
        return
    replicas = " or ".join(map(str, numbers))
    yield f"±: standard deviation of the {replicas} replicas"
    if ties:
        yield f"~: can't be told from the best by its replicas ({count_noun(len(ties), 'trial')})"


def _explain_ends(records: Sequence[TrialRecord]) -> Iterator[str]:
    """What ended trials, and what paused them: one line for each reason, the most frequent first.

    Failed trials have a line each, and those that a scheduler stopped say so in their state.
    """
    states = (TrialState.TERMINATED, TrialState.PAUSED)
    groups: dict[str, list[str]] = {}
    for record in records:
        if record.state in states and record.reason:
            words = f"{describe_state(record.state)} by {record.reason}"
            groups.setdefault(words, []).append(record.trial_id)
    ended = sum(map(len, groups.values()))
    for words, ids in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0])):
        if len(ids) == ended > 1:
            yield f"{words}: all {ended}"
            continue
        more = len(ids) - _MAX_IDS
        named = ", ".join(sorted(ids[:_MAX_IDS]))
        yield f"{words}: {named}{f' and {more} more' if more > 0 else ''}"


def _fixed_cells(record: TrialRecord, objective: Objective, *, is_tied: bool) -> list[str]:
    spread = spread_of(record, objective)
    score = format_score(judge_trial(record, objective).value, record.diverged)
    if spread is not None and spread.deviation is not None:
        score = f"{'~' if is_tied else ''}{score} ±{format_number(spread.deviation)}"
    return [
        f"{record.trial_id} of {record.of}" if record.of else record.trial_id,
        _describe_state(record),
        score,
        format_number(record.env_steps),
        "-" if record.time_total_s is None else format_duration(record.time_total_s),
    ]


def _describe_state(record: TrialRecord) -> str:
    word = describe_state(record.state)
    is_at_rung = record.state is TrialState.PRUNED and record.rung is not None
    return f"{word} at rung {record.rung}" if is_at_rung else word


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], last: str = "r") -> Table:
    form = "l" * _TEXT_COLUMNS + "r" * (len(headings) - _TEXT_COLUMNS - 1) + last
    table = make_table(form, headings)
    for trial_id, state, *cells in rows:
        table.add_row(trial_id, color_state(state), *map(Text, cells))
    return table


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]


def _width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Of the whole table, with a gap of 2 after every column."""
    return sum(width + 2 for width in _widths(headings, rows))


def _align(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The table as plain lines: rich takes seconds for thousands of rows."""
    widths = _widths(headings, rows)
    for row in (headings, *rows):
        cells = [
            f"{cell:<{width}}" if column < _TEXT_COLUMNS else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
