"""Runs for people to read: tables on stdout, the summary of a launch for stderr."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

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
)
from sweeper.opened_run import Run
from sweeper.planning.plan import SweepPlan
from sweeper.search.configuration import flatten_parameters
from sweeper.states import LaunchEnd, TrialState
from sweeper.upkeep.overview import RunningTrial, RunOverview, planned_trials
from sweeper.views.console import (
    color_state,
    folded_column,
    make_console,
    make_table,
    number_column,
    print_pairs,
    print_text,
    text_column,
)
from sweeper.views.logs import TrialLog, tail_lines

if TYPE_CHECKING:  # `evaluation` imports Ray, which no table needs
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

# After a used-up budget, `sweeper resume` needs more of it.
_RESUME_OPTIONS: Mapping[str, str] = {
    LaunchEnd.BUDGET_TIME: " --time SECONDS",
    LaunchEnd.BUDGET_ENV_STEPS: " --stop budget.env_steps=N",
}


def headline(plan: SweepPlan) -> str:
    """What a launch is about to do, in one line."""
    spec = plan.spec
    seeds = "" if plan.replicas == 1 else f" x {plan.replicas} seeds"
    return (
        f"{spec.name}: {spec.algorithm} on {spec.environment.id} ({spec.backend}), "
        f"{count_noun(plan.trials, 'trial')}{seeds}, {plan.concurrent} at a time"
    )


def print_best(opened: Run) -> None:
    """Print the champion: verdict, score, configuration, checkpoint.

    Raises:
        NothingToSelect: no trial has a score.
    """
    selection = opened.selection
    console = make_console()
    console.print(Text(selection.verdict_text))
    console.print()
    rows = [
        ("trial", selection.trial_id),
        (selection.metric, format_number(selection.score)),
        ("env steps", format_number(selection.env_steps)),
        *(
            (name, format_value(value))
            for name, value in flatten_parameters(selection.configuration).items()
        ),
        ("checkpoint", short_path(selection.checkpoint)),
        ("agent", short_path(opened.agent)),
    ]
    print_pairs(console, rows)
    if selection.checkpoint_note:
        print_text(console, f"note: {selection.checkpoint_note}")
    for exclusion in selection.excluded:
        print_text(console, f"excluded {exclusion.trial_id}: {exclusion.reason}")


def print_status(overview: RunOverview) -> None:
    """Print how far a run is and, if it is live, its running trials."""
    console = make_console()
    best = _describe_best(overview)
    rows = [
        ("run", short_path(overview.run)),
        ("state", overview.state),
        ("trials", describe_counts(overview.states, overview.trials)),
        ("best", f"{best}  {overview.metric}" if overview.best else best),
    ]
    room = console.width - len("running for  ")
    words = format_parameters(overview.parameters or {})
    rows += [("", line) for line in fold_parameters(words, room)]
    rows += _describe_times(overview)
    if command := _resume_command(overview.run, overview.state, overview.states):
        rows.append(("go on", command))
    print_pairs(console, rows)
    if overview.running:
        console.print()
        _print_running(overview.running)


def _describe_times(overview: RunOverview) -> Iterator[tuple[str, str]]:
    if not (overview.updated and overview.started):
        return
    now = time.time()
    is_live = overview.state == "running"
    took_s = (now if is_live else overview.updated) - overview.started
    yield "running for" if is_live else "took", format_duration(took_s)
    yield "last event", f"{format_duration(now - overview.updated)} ago"
    if overview.left_s is not None:
        end = format_clock(now + overview.left_s, now)
        yield "left", f"about {format_duration(overview.left_s)} ({end})"


def _print_running(trials: Sequence[RunningTrial]) -> None:
    table = make_table(
        text_column("trial"),
        *map(number_column, ("score", "steps", "steps/s")),
        text_column("parameters"),
    )
    for trial in trials:
        table.add_row(
            trial.trial_id,
            format_number(trial.score),
            format_number(trial.env_steps),
            format_number(trial.env_steps_per_s),
            Text(format_parameters(trial.parameters, is_short=True)),
        )
    make_console().print(table)


def print_runs(overviews: Sequence[RunOverview], storage: str) -> None:
    """Print the runs of a storage folder, and why damaged ones can't be read."""
    console = make_console()
    if not overviews:
        print_text(console, f"no runs in {storage}")
        return
    table = make_table(
        folded_column("run"),
        text_column("state"),
        number_column("ended"),
        number_column("failed"),
        text_column("best"),
        number_column("last event"),
    )
    now = time.time()
    for run in overviews:
        over = sum(count for state, count in run.states.items() if state.is_over)
        table.add_row(
            Text(run.run.name),
            color_state(run.state),
            f"{over}/{run.trials}",
            str(run.states.get(TrialState.ERROR, 0)),
            _describe_best(run),
            "-" if run.updated is None else f"{format_duration(now - run.updated)} ago",
        )
    console.print(table)
    for run in overviews:
        if run.problem:
            print_text(console, f"{run.run.name}: {run.problem}")


def print_logs(logs: Sequence[TrialLog], run: str, lines: int) -> None:
    """Print which logs a run has, and the last lines of those whose trials failed."""
    console = make_console()
    if not logs:
        print_text(console, f"{run} has no trials yet")
        return
    table = make_table(
        text_column("trial"), text_column("state"), number_column("size"), folded_column("log")
    )
    for log in logs:
        size = "-" if log.size_bytes is None else format_bytes(log.size_bytes)
        table.add_row(log.trial_id, color_state(log.state), size, Text(short_path(log.path)))
    console.print(table)
    for log in logs:
        if log.error is None:
            continue
        console.print()
        print_text(console, f"{log.trial_id}: {log.error}", style="red")
        for line in tail_lines(log.path, lines):
            print_text(console, f"  {line}")


def print_old_runs(runs: Sequence[OldRun]) -> None:
    """Print the runs that are about to be deleted, with their sizes."""
    table = make_table(
        folded_column("run"),
        text_column("state"),
        *map(number_column, ("trials", "last event", "size")),
    )
    now = time.time()
    for run in runs:
        age = f"{format_duration(now - run.updated)} ago"
        size = format_bytes(run.size_bytes)
        table.add_row(Text(run.root.name), color_state(run.state), str(run.trials), age, size)
    make_console().print(table)


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the mean, IQM and interval of an evaluation, and the mean of each agent."""
    summary = evaluation.summary
    if summary.interval is None:
        interval = f"none: {summary.interval_reason}"
    else:
        low, high = map(format_number, summary.interval)
        interval = f"{low} to {high} (95 %, over {evaluation.unit})"
    rows = [
        ("checkpoint", short_path(evaluation.folder)),
        ("environment", evaluation.environment),
        ("episodes", f"{evaluation.episodes} each, seed {evaluation.seed}"),
        ("mean", format_number(summary.mean)),
        ("IQM", format_number(summary.iqm)),
        ("interval", interval),
    ]
    if len(evaluation.agents) > 1:
        rows += [(agent.name, format_number(agent.mean)) for agent in evaluation.agents]
    print_pairs(make_console(), rows)


def print_check(check: Check) -> None:
    """Print one line of `sweeper doctor`."""
    colours = {"ok": "green", "warning": "yellow", "failed": "bold red"}
    status = (f"{check.status:<7}", colours.get(check.status, "dim"))
    line = Text.assemble(status, f"  {check.name:<14}  {check.detail}")
    make_console().print(line, soft_wrap=True)


def summarise(opened: Run, width: int | None = None) -> str:
    """The last lines of a launch: the winner, its parameters, paths, the next commands.

    Args:
        opened: the run.
        width: of the terminal, where long lines are wrapped; None without a terminal.
    """
    root, state = opened.results.root, opened.results.state
    counts = opened.results.counts()
    planned = planned_trials(opened.paths) or sum(counts.values())
    progress = describe_counts(counts, planned) if counts else "no trial has started"
    lines = [f"{state}: {progress}"]
    if opened.best_trial is not None:
        lines += _summarise_best(opened, width)
    elif counts:
        lines.append(f"  no trial has a value of {opened.objective.metric}")
    lines.append(_summary_line("run", short_path(root)))
    if command := _resume_command(root, state, counts):
        lines.append(_summary_line("go on", command))
    if counts.get(TrialState.ERROR):
        failed = count_noun(counts[TrialState.ERROR], "failed trial")
        lines.append(_summary_line("why", f"sweeper logs {root.name}  ({failed})"))
    if counts:
        lines.append(_summary_line("details", f"sweeper results {root.name}"))
        lines.append(_summary_line("", f"sweeper best {root.name}"))
        if opened.spec is not None and opened.spec.tracking is not None:
            lines.append(_summary_line("MLflow UI", _ui_command(opened)))
    return "\n".join(lines)


def _summarise_best(opened: Run, width: int | None) -> Iterator[str]:
    selection = opened.selection
    score, env_steps = format_number(selection.score), format_number(selection.env_steps)
    winner = f"{selection.trial_id}: {selection.metric} {score} at {env_steps} env steps"
    yield _summary_line("best", winner)
    parameters = opened.results.trial(selection.trial_id).parameters
    words = format_parameters(parameters) or "no searched parameters"
    room = None if width is None else width - len(_summary_line("", ""))
    for line in [words] if room is None else fold_parameters(words, room):
        yield _summary_line("", line)
    yield _summary_line("checkpoint", short_path(selection.checkpoint))
    if opened.paths.champion.is_dir():
        yield _summary_line("champion", short_path(opened.paths.champion))


def _summary_line(name: str, text: str) -> str:
    return f"  {name:<10}  {text}"


def _resume_command(root: Path, state: str, counts: Mapping[TrialState, int]) -> str | None:
    """The command that continues a run; None if it is live or has nothing left to do."""
    can_resume = state == LaunchEnd.INTERRUPTED or counts.get(TrialState.PAUSED)
    if state == "running" or not can_resume:
        return None
    return f"sweeper resume {root.name}{_RESUME_OPTIONS.get(state, '')}"


def _ui_command(opened: Run) -> str:
    # Under a checkout's `make sweep`, the console script is not on the PATH.
    return "make ui" if "MAKELEVEL" in os.environ else f"sweeper ui {opened.results.root.name}"


def _describe_best(overview: RunOverview) -> str:
    return f"{overview.best} ({format_number(overview.score)})" if overview.best else "-"
