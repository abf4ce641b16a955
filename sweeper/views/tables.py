"""Runs as a person reads them on a terminal: tables on stdout, a summary on stderr."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.api import Run
from sweeper.evidence.selection import rank_trial
from sweeper.planning.plan import SweepPlan
from sweeper.results.records import flatten_parameters, judge_trial
from sweeper.views.overview import planned_trials
from sweeper.views.trial_logs import TrialLog, tail_lines
from sweeper.wording import (
    count_noun,
    describe_counts,
    format_bytes,
    format_clock,
    format_duration,
    format_number,
    format_parameters,
    last_parts,
    short_path,
    shorten_names,
)

if TYPE_CHECKING:  # `evaluation` needs Ray, which no table does
    from sweeper.doctor import Check
    from sweeper.evidence.evaluation import Evaluation
    from sweeper.running.cleaning import OldRun

__all__ = [
    "headline",
    "print_best",
    "print_check",
    "print_evaluation",
    "print_logs",
    "print_old_runs",
    "print_runs",
    "print_status",
    "print_trials",
    "summarise",
]


_ENDLESS = 100_000
_MANY_ROWS = 200
_MANY_ERRORS = 20
_OWN_COLUMNS = 5  # of a trial, before its parameters
_ENDED = ("TERMINATED", "PRUNED", "ERROR")


def headline(plan: SweepPlan) -> str:
    """What a launch is about to do, in a line."""
    spec = plan.spec
    runs = "" if plan.replicas == 1 else f" x {plan.replicas} seeds"
    return (
        f"{spec.name}: {spec.algorithm} on {spec.environment.id} ({spec.backend}), "
        f"{_count(plan.trials, 'trial')}{runs}, {plan.concurrent} at a time"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def print_trials(opened: Run) -> None:
    """The trials, best first, those without a score last."""
    rules = dataclasses.asdict(opened.rules)
    records = sorted(opened.results.trials, key=lambda record: rank_trial(record, **rules))
    names = _varied(records)
    heads = ["trial", "state", "score", "env steps", "time", *last_parts(names)]
    rows = []
    for record in records:
        flat = flatten_parameters(record.parameters)
        rows.append(
            [
                record.trial_id,
                record.state,
                format_number(judge_trial(record, **rules).value),
                format_number(record.env_steps),
                "-" if record.time_total_s is None else format_duration(record.time_total_s),
                *(format_number(flat.get(name)) for name in names),
            ]
        )
    console = _console()
    if sys.stdout.isatty() and len(rows) <= _MANY_ROWS:
        console.print(_trials_table(heads, rows))
    else:
        for line in _align(heads, rows):
            click.echo(line)
    told = "score: {score} {metric}, {mode}".format(**rules)
    console.print(Text(told, style="dim"), soft_wrap=True)
    failed = [record for record in records if record.error]
    for record in failed[:_MANY_ERRORS]:
        console.print(Text(f"{record.trial_id}: {record.error}"), soft_wrap=True)
    if len(failed) > _MANY_ERRORS:
        console.print(f"… and {len(failed) - _MANY_ERRORS} more that failed: sweeper logs")


def _trials_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = _table()
    for column, head in enumerate(heads):
        justify: Any = "right" if column > 1 else "left"
        table.add_column(
            Text(head), justify=justify, overflow="fold", no_wrap=column < _OWN_COLUMNS
        )
    for trial_id, state, *rest in rows:
        table.add_row(trial_id, _state(state), *(Text(cell) for cell in rest))
    return table


def _align(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The same in plain lines: a table of rich takes seconds for thousands of rows."""
    cells = [heads, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    for row in cells:
        words = [
            f"{cell:>{width}}" if column > 1 else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(words).rstrip()


def print_best(opened: Run) -> None:
    """The champion."""
    selection, document = opened.selection, opened.best
    console = _console()
    console.print(Text(selection.verdict_text))
    console.print()
    rows = [
        ("trial", selection.trial_id),
        (f"{selection.metric}", format_number(selection.score)),
        ("env steps", format_number(selection.env_steps)),
        *(
            (name, format_number(value))
            for name, value in flatten_parameters(selection.configuration).items()
        ),
        ("checkpoint", document["checkpoint"] or "-"),
        ("agent", document["agent"] or "-"),
    ]
    _print_pairs(console, rows)
    if selection.checkpoint_note:
        console.print(Text(f"note: {selection.checkpoint_note}"), soft_wrap=True)
    for exclusion in selection.excluded:
        text = f"excluded {exclusion.trial_id}: {exclusion.reason}"
        console.print(Text(text), soft_wrap=True)


def print_status(described: Mapping[str, Any]) -> None:
    """How far a run is; of a live one also what it is doing."""
    is_live = described["state"] == "running"
    rows = [
        ("run", short_path(described["run"])),
        ("state", described["state"]),
        ("trials", describe_counts(described["states"], described["trials"])),
        ("best", _describe_best(described)),
    ]
    if described["best"]:
        rows[-1] = ("best", f"{_describe_best(described)}  {described['metric']}")
        rows.append(("", format_parameters(described["parameters"] or {})))
    if described["updated"]:
        now = time.time()
        until = now if is_live else described["updated"]
        took = format_duration(until - described["started"])
        rows.append(("running for" if is_live else "took", took))
        rows.append(("last event", f"{format_duration(now - described['updated'])} ago"))
        if described["left_s"] is not None:
            end = format_clock(now + described["left_s"], now)
            rows.append(("left", f"about {format_duration(described['left_s'])} ({end})"))
    if not is_live and described["states"].get("PAUSED"):
        rows.append(("go on", f"sweeper resume {Path(described['run']).name}"))
    console = _console()
    _print_pairs(console, rows)
    if described["running"]:
        console.print()
        console.print(_running_table(described["running"]))


def _running_table(running: Sequence[Mapping[str, Any]]) -> Table:
    table = _table()
    table.add_column("trial", no_wrap=True)
    for name in ("score", "steps", "steps/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("parameters", no_wrap=True, overflow="ellipsis")
    for trial in running:
        table.add_row(
            trial["trial_id"],
            format_number(trial["score"]),
            format_number(trial["env_steps"]),
            format_number(trial["env_steps_per_s"]),
            Text(shorten_names(trial["parameters"])),
        )
    return table


def print_runs(described: Sequence[Mapping[str, Any]], storage: str) -> None:
    """The runs of a storage."""
    console = _console()
    if not described:
        console.print(Text(f"no runs in {storage}"), soft_wrap=True)
        return
    table = _table()
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("ended", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column("best", no_wrap=True)
    table.add_column("last event", justify="right", no_wrap=True)
    now = time.time()
    for row in described:
        updated = row["updated"]
        table.add_row(
            Text(Path(row["run"]).name),
            _state(row["state"]),
            f"{sum(row['states'].get(state, 0) for state in _ENDED)}/{row['trials']}",
            str(row["states"].get("ERROR", 0)),
            _describe_best(row),
            "-" if updated is None else f"{format_duration(now - updated)} ago",
        )
    console.print(table)
    for row in described:
        if row["problem"]:
            text = f"{Path(row['run']).name}: {row['problem']}"
            console.print(Text(text), soft_wrap=True)


def print_logs(logs: Sequence[TrialLog], run: str, lines: int) -> None:
    """Which logs a run has, and the last lines of those whose trials failed."""
    console = _console()
    if not logs:
        console.print(Text(f"{run} has no trials yet"), soft_wrap=True)
        return
    table = _table()
    table.add_column("trial", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("log", overflow="fold")
    for log in logs:
        size = "-" if log.size is None else format_bytes(log.size)
        table.add_row(log.trial_id, _state(log.state), size, Text(short_path(log.path)))
    console.print(table)
    for log in logs:
        if log.error is None:
            continue
        console.print()
        console.print(Text(f"{log.trial_id}: {log.error}", style="red"), soft_wrap=True)
        for line in tail_lines(log.path, lines):
            console.print(Text(f"  {line}"), soft_wrap=True)


def print_old_runs(runs: Sequence[OldRun]) -> None:
    """Runs that may be deleted, with their size."""
    table = _table()
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("last event", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    now = time.time()
    for run in runs:
        age = f"{format_duration(now - run.updated)} ago"
        size = format_bytes(run.size)
        table.add_row(Text(run.root.name), _state(run.state), str(run.trials), age, size)
    _console().print(table)


def print_evaluation(made: Evaluation) -> None:
    """What an agent, or the replicas of a checkpoint, came to."""
    summary = made.summary
    if summary.interval is None:
        interval = f"none: {summary.interval_reason}"
    else:
        low, high = (format_number(bound) for bound in summary.interval)
        interval = f"{low} to {high} (95 %, over {made.unit})"
    rows = [
        ("checkpoint", short_path(made.folder)),
        ("environment", made.environment),
        ("episodes", f"{made.episodes} each, seed {made.seed}"),
        ("mean", format_number(summary.mean)),
        ("IQM", format_number(summary.iqm)),
        ("interval", interval),
    ]
    if len(made.agents) > 1:
        rows += [(agent.name, format_number(agent.mean)) for agent in made.agents]
    _print_pairs(_console(), rows)


def print_check(check: Check) -> None:
    """One line of `sweeper doctor`."""
    colours = {"ok": "green", "warning": "yellow", "failed": "bold red"}
    status = (f"{check.status:<7}", colours.get(check.status, "dim"))
    line = Text.assemble(status, f"  {check.name:<14}  {check.detail}")
    _console().print(line, soft_wrap=True)


def summarise(opened: Run) -> str:
    """The last lines of a launch: who won, with what, where things are, what to do next."""
    root = opened.results.root
    counts = opened.results.counts()
    planned = planned_trials(opened.paths) or sum(counts.values())
    told = describe_counts(counts, planned) if counts else "no trials"
    lines = [f"{opened.results.state}: {told}"]
    if opened.best_trial is not None:
        selection = opened.selection
        record = opened.results.trial(selection.trial_id)
        lines += [
            f"  best        {selection.trial_id}: {selection.metric} "
            f"{format_number(selection.score)} at {format_number(selection.env_steps)} env steps",
            f"              {format_parameters(record.parameters) or 'no searched parameters'}",
            f"  checkpoint  {short_path(selection.checkpoint)}",
        ]
        if opened.paths.champion.is_dir():
            lines.append(f"  champion    {short_path(opened.paths.champion)}")
    elif counts:
        lines.append(f"  no trial has a value of {opened.rules.metric}")
    lines.append(f"  run         {short_path(root)}")
    if counts.get("PAUSED"):
        lines.append(f"  go on       sweeper resume {root.name}")
    if counts.get("ERROR"):
        failed = count_noun(counts["ERROR"], "failed trial")
        lines.append(f"  why         sweeper logs {root.name}  ({failed})")
    lines.append(f"  details     sweeper results {root.name}")
    lines.append(f"              sweeper best {root.name}")
    if opened.spec is not None and opened.spec.tracking is not None:
        lines.append(f"  MLflow UI   {_ui_command(opened)}")
    return "\n".join(lines)


def _ui_command(opened: Run) -> str:
    # From a checkout's `make sweep` the console script is not on the PATH.
    command = "sweeper ui" if "MAKELEVEL" not in os.environ else "make ui"
    return command if command == "make ui" else f"{command} {opened.results.root.name}"


def _describe_best(described: Mapping[str, Any]) -> str:
    if not described["best"]:
        return "-"
    return f"{described['best']} ({format_number(described['score'])})"


def _varied(records: Any) -> list[str]:
    names: dict[str, None] = {}
    for record in records:
        names.update(dict.fromkeys(flatten_parameters(record.parameters)))
    return list(names)


def _state(state: str) -> Text:
    colours = {"RUNNING": "green", "PAUSED": "yellow", "INTERRUPTED": "yellow"}
    colours |= dict.fromkeys(("ERROR", "FAILED", "DAMAGED"), "red")
    return Text(state, style=colours.get(state.upper(), ""))


def _console() -> Console:
    """Standard output; what goes into a pipe or a file is not cut or folded to any width."""
    return Console() if sys.stdout.isatty() else Console(width=_ENDLESS)


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")


def _print_pairs(console: Console, rows: Sequence[tuple[str, Any]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(Text(f"{name:<{width}}  {value}"), soft_wrap=True)
