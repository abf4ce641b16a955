"""Runs as a person reads them on a terminal: tables on stdout, a summary on stderr."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from sweeper.api import Run
from sweeper.formatting import (
    count_noun,
    describe_counts,
    fold_parameters,
    format_bytes,
    format_clock,
    format_duration,
    format_number,
    format_parameters,
    format_value,
    short_path,
    shorten_names,
)
from sweeper.planning.plan import SweepPlan
from sweeper.search.configuration import flatten_parameters
from sweeper.states import LaunchEnd, TrialState
from sweeper.upkeep.overview import planned_trials
from sweeper.views.console import color_state, make_console, make_table, print_pairs
from sweeper.views.logs import TrialLog, tail_lines

if TYPE_CHECKING:  # `evaluation` needs Ray, which no table does
    from sweeper.evidence.evaluation import Evaluation
    from sweeper.upkeep.cleaning import OldRun
    from sweeper.upkeep.doctor import Check

__all__ = [
    "headline",
    "print_best",
    "print_check",
    "print_evaluation",
    "print_logs",
    "print_old_runs",
    "print_runs",
    "print_status",
    "summarise",
]


# What going on needs where a budget is used up.
_MORE: dict[str, str] = {
    LaunchEnd.BUDGET_TIME: " --time SECONDS",
    LaunchEnd.BUDGET_ENV_STEPS: " --stop budget.env_steps=N",
}


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


def print_best(opened: Run) -> None:
    """The champion."""
    selection, document = opened.selection, opened.best
    console = make_console()
    console.print(Text(selection.verdict_text))
    console.print()
    rows = [
        ("trial", selection.trial_id),
        (f"{selection.metric}", format_number(selection.score)),
        ("env steps", format_number(selection.env_steps)),
        *(
            (name, format_value(value))
            for name, value in flatten_parameters(selection.configuration).items()
        ),
        ("checkpoint", short_path(document["checkpoint"])),
        ("agent", short_path(document["agent"])),
    ]
    print_pairs(console, rows)
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
        words = format_parameters(described["parameters"] or {})
        room = make_console().width - len("running for  ")
        rows += [("", line) for line in fold_parameters(words, room)]
    if described["updated"]:
        now = time.time()
        until = now if is_live else described["updated"]
        took = format_duration(until - described["started"])
        rows.append(("running for" if is_live else "took", took))
        rows.append(("last event", f"{format_duration(now - described['updated'])} ago"))
        if described["left_s"] is not None:
            end = format_clock(now + described["left_s"], now)
            rows.append(("left", f"about {format_duration(described['left_s'])} ({end})"))
    if not is_live and (
        described["states"].get(TrialState.PAUSED) or described["state"] == LaunchEnd.INTERRUPTED
    ):
        more = _MORE.get(described["state"], "")
        rows.append(("go on", f"sweeper resume {Path(described['run']).name}{more}"))
    console = make_console()
    print_pairs(console, rows)
    if described["running"]:
        console.print()
        console.print(_running_table(described["running"]))


def _running_table(running: Sequence[Mapping[str, Any]]) -> Table:
    table = make_table()
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
    console = make_console()
    if not described:
        console.print(Text(f"no runs in {storage}"), soft_wrap=True)
        return
    table = make_table()
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("ended", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column("best", no_wrap=True)
    table.add_column("last event", justify="right", no_wrap=True)
    now = time.time()
    for row in described:
        updated = row["updated"]
        over = sum(row["states"].get(state, 0) for state in TrialState if state.is_over)
        table.add_row(
            Text(Path(row["run"]).name),
            color_state(row["state"]),
            f"{over}/{row['trials']}",
            str(row["states"].get(TrialState.ERROR, 0)),
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
    console = make_console()
    if not logs:
        console.print(Text(f"{run} has no trials yet"), soft_wrap=True)
        return
    table = make_table()
    table.add_column("trial", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("log", overflow="fold")
    for log in logs:
        size = "-" if log.size is None else format_bytes(log.size)
        table.add_row(log.trial_id, color_state(log.state), size, Text(short_path(log.path)))
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
    table = make_table()
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("last event", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    now = time.time()
    for run in runs:
        age = f"{format_duration(now - run.updated)} ago"
        size = format_bytes(run.size)
        table.add_row(Text(run.root.name), color_state(run.state), str(run.trials), age, size)
    make_console().print(table)


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
    print_pairs(make_console(), rows)


def print_check(check: Check) -> None:
    """One line of `sweeper doctor`."""
    colours = {"ok": "green", "warning": "yellow", "failed": "bold red"}
    status = (f"{check.status:<7}", colours.get(check.status, "dim"))
    line = Text.assemble(status, f"  {check.name:<14}  {check.detail}")
    make_console().print(line, soft_wrap=True)


def summarise(opened: Run, width: int | None = None) -> str:
    """The last lines of a launch: who won, with what, where things are, what to do next.

    Args:
        opened: the run.
        width: of the terminal, to break long lines at; None for no terminal.
    """
    root = opened.results.root
    counts = opened.results.counts()
    planned = planned_trials(opened.paths) or sum(counts.values())
    told = describe_counts(counts, planned) if counts else "no trial has started"
    lines = [f"{opened.results.state}: {told}"]
    if opened.best_trial is not None:
        selection = opened.selection
        record = opened.results.trial(selection.trial_id)
        lines += [
            f"  best        {selection.trial_id}: {selection.metric} "
            f"{format_number(selection.score)} at {format_number(selection.env_steps)} env steps",
            *_summarise_parameters(record.parameters, width),
            f"  checkpoint  {short_path(selection.checkpoint)}",
        ]
        if opened.paths.champion.is_dir():
            lines.append(f"  champion    {short_path(opened.paths.champion)}")
    elif counts:
        lines.append(f"  no trial has a value of {opened.objective.metric}")
    lines.append(f"  run         {short_path(root)}")
    if counts.get(TrialState.PAUSED) or opened.results.state == LaunchEnd.INTERRUPTED:
        more = _MORE.get(opened.results.state, "")
        lines.append(f"  go on       sweeper resume {root.name}{more}")
    if not counts:
        return "\n".join(lines)
    if counts.get(TrialState.ERROR):
        failed = count_noun(counts[TrialState.ERROR], "failed trial")
        lines.append(f"  why         sweeper logs {root.name}  ({failed})")
    lines.append(f"  details     sweeper results {root.name}")
    lines.append(f"              sweeper best {root.name}")
    if opened.spec is not None and opened.spec.tracking is not None:
        lines.append(f"  MLflow UI   {_ui_command(opened)}")
    return "\n".join(lines)


def _summarise_parameters(parameters: Mapping[str, Any], width: int | None) -> list[str]:
    words = format_parameters(parameters) or "no searched parameters"
    indent = " " * 14
    lines = [words] if width is None else fold_parameters(words, width - len(indent))
    return [indent + line for line in lines]


def _ui_command(opened: Run) -> str:
    # From a checkout's `make sweep` the console script is not on the PATH.
    command = "sweeper ui" if "MAKELEVEL" not in os.environ else "make ui"
    return command if command == "make ui" else f"{command} {opened.results.root.name}"


def _describe_best(described: Mapping[str, Any]) -> str:
    if not described["best"]:
        return "-"
    return f"{described['best']} ({format_number(described['score'])})"
