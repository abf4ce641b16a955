"""Runs as a person reads them on a terminal: tables on stdout, a summary on stderr."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.api import Run
from sweeper.plan import SweepPlan
from sweeper.records import flatten_parameters, judge_trial
from sweeper.selection import rank_trial
from sweeper.space import Distribution, constants, distributions
from sweeper.spec.yaml_text import dotted
from sweeper.wording import format_duration, format_number, format_parameters, short_path

__all__ = [
    "headline",
    "print_best",
    "print_plan",
    "print_runs",
    "print_status",
    "print_trials",
    "summarise",
]


def headline(plan: SweepPlan) -> str:
    """What a launch is about to do, in a line."""
    spec = plan.spec
    runs = "" if plan.replicas == 1 else f" x {plan.replicas} seeds"
    return (
        f"{spec.name}: {spec.algorithm} on {spec.environment.id} ({spec.backend}), "
        f"{_count(plan.trials, 'trial')}{runs}, {plan.concurrent} at a time"
    )


def print_plan(plan: SweepPlan) -> None:
    """What a spec will do, as a colleague would say it."""
    spec = plan.spec
    console = Console()
    searched = [
        (dotted(path), describe_distribution(leaf))
        for path, leaf in distributions(spec.param_space)
    ]
    steps = "not bounded" if plan.env_steps is None else f"{plan.env_steps:,} env steps in all"
    criteria = [f"{name} >= {format_number(value)}" for name, value in spec.stop.items()]
    seeds = ", ".join(str(seed) for seed in spec.seeds)
    _print_pairs(
        console,
        [
            ("sweep", headline(plan)),
            ("search", _describe_search(plan)),
            *(("  " + name, text) for name, text in searched),
            ("fixed", format_parameters(constants(spec.param_space)) or "the defaults"),
            ("seeds", seeds),
            ("stop", ", or ".join(criteria) or "-"),
            ("work", steps),
            *([("budget", format_duration(spec.budget.time_s))] if spec.budget.time_s else []),
            ("evaluation", _describe_evaluation(plan)),
            (
                "selection",
                f"{spec.selection.score} {spec.selection.metric}, {spec.selection.mode}",
            ),
            ("written to", f"{spec.storage}/{spec.name}-<date>-<time>/"),
            ("MLflow", "off" if spec.tracking is None else spec.tracking.uri),
        ],
    )
    for note in (*plan.notes, *plan.warnings):
        console.print(Text(f"note: {note}"))


def _describe_search(plan: SweepPlan) -> str:
    search = plan.spec.search
    samples = "" if search.num_samples == 1 else f" x {search.num_samples} samples"
    return f"{search.algorithm}{samples}, seed {search.seed}, {_count(plan.trials, 'trial')}"


def _describe_evaluation(plan: SweepPlan) -> str:
    evaluation = plan.spec.evaluation
    if evaluation is None:
        return "off"
    every = evaluation.every_env_steps
    rhythm = "at the end" if every is None else f"every {every:,} env steps and at the end"
    how = "exploring" if evaluation.explore else "greedy"
    return f"{_count(evaluation.episodes, 'episode')}, {how}, {rhythm}"


def describe_distribution(leaf: Distribution) -> str:
    """``loguniform 0.0001 to 0.01``, ``choice of 64, 128``."""
    if leaf.kind in ("choice", "grid_search"):
        text = f"{leaf.kind.removesuffix('_search')} of " + ", ".join(
            format_number(value) for value in leaf.args
        )
    else:
        text = f"{leaf.kind} {', '.join(format_number(value) for value in leaf.args)}"
    if leaf.when:
        text += " when " + ", ".join(f"{name} is {value}" for name, value in leaf.when.items())
    return text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def print_trials(opened: Run) -> None:
    """The trials, best first, those without a score last."""
    rules = dataclasses.asdict(opened.rules)
    records = sorted(opened.results.trials, key=lambda record: rank_trial(record, **rules))
    names = _varied(records)
    table = _table()
    table.add_column("trial", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("env steps", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, overflow="fold", justify="right")
    for record in records:
        flat = flatten_parameters(record.parameters)
        table.add_row(
            record.trial_id,
            _state(record.state),
            format_number(judge_trial(record, **rules).value),
            format_number(record.env_steps),
            "-" if record.time_total_s is None else format_duration(record.time_total_s),
            *(format_number(flat.get(name)) for name in names),
        )
    console = Console()
    console.print(table)
    console.print(
        Text("score: {score} {metric}, {mode}".format(**rules), style="dim"), soft_wrap=True
    )
    for record in records:
        if record.error:
            console.print(Text(f"{record.trial_id}: {record.error}"), soft_wrap=True)


def print_best(opened: Run) -> None:
    """The champion."""
    selection, document = opened.selection, opened.best
    console = Console()
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
    """How far a run is."""
    states = described["states"]
    rows = [
        ("run", described["run"]),
        ("state", described["state"]),
        ("trials", f"{sum(states.values())} of {described['trials']}"),
        *((f"  {state.lower()}", str(count)) for state, count in states.items()),
        ("best", _describe_best(described)),
    ]
    if described["updated"]:
        ago = format_duration(time.time() - described["updated"])
        took = format_duration(described["updated"] - described["started"])
        rows.append(("took" if described["state"] != "running" else "running for", took))
        rows.append(("last event", f"{ago} ago"))
    _print_pairs(Console(), rows)


def print_runs(described: Sequence[Mapping[str, Any]], storage: str) -> None:
    """The runs of a storage."""
    console = Console()
    if not described:
        console.print(f"no runs in {storage}")
        return
    table = _table()
    table.add_column("run", overflow="fold")
    table.add_column("state", no_wrap=True)
    table.add_column("trials", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    table.add_column("best", no_wrap=True)
    for row in described:
        table.add_row(
            Path(row["run"]).name,
            row["state"],
            f"{sum(row['states'].values())}/{row['trials']}",
            str(row["states"].get("ERROR", 0)),
            _describe_best(row),
        )
    console.print(table)


def summarise(opened: Run) -> str:
    """The last lines of a launch: who won, with what, where things are, what to do next."""
    root = opened.results.root
    counts = opened.results.counts()
    parts = [f"{count} {state.lower()}" for state, count in counts.items()]
    lines = [f"{opened.results.state}: {', '.join(parts) or 'no trials'}"]
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
    lines.append(f"  details     sweeper results {root.name}, sweeper best {root.name}")
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
    colours = {"ERROR": "red", "RUNNING": "green", "PAUSED": "yellow"}
    return Text(state, style=colours.get(state, ""))


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")


def _print_pairs(console: Console, rows: Sequence[tuple[str, Any]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(Text(f"{name:<{width}}  {value}"), soft_wrap=True)
