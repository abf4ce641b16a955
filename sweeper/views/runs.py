"""Runs for people to read: tables on stdout, the summary of a launch for stderr."""

from __future__ import annotations

import math
import os
import textwrap
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from sweeper.evidence.record import Selection
from sweeper.formatting import (
    count_noun,
    describe_counts,
    fold_parameters,
    format_bytes,
    format_duration,
    format_number,
    format_parameters,
    format_score,
    format_value,
    short_path,
)
from sweeper.metrics import NUM_CAPPED_EPISODES
from sweeper.opened_run import Run
from sweeper.paths import run_reference
from sweeper.planning.plan import SweepPlan
from sweeper.recorded_plan import planned
from sweeper.results.resuming import resume_command
from sweeper.results.scoring import metric_value
from sweeper.run_files import is_regular
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState
from sweeper.upkeep.overview import RunOverview
from sweeper.views.advice import advice_rows
from sweeper.views.confirmation import describe_stage
from sweeper.views.console import color_state, make_console, make_table, print_pairs, print_text
from sweeper.views.evaluation import describe_cap
from sweeper.views.logs import TrialLog, tail_lines
from sweeper.views.scores import evidence_rows, learning_rows, spread_words
from sweeper.views.status import MAX_WIDTH, describe_best

if TYPE_CHECKING:
    from sweeper.upkeep.cleaning import OldRun
    from sweeper.upkeep.doctor import Check

__all__ = [
    "headline",
    "print_best",
    "print_check",
    "print_logs",
    "print_old_runs",
    "print_runs",
    "summarise",
]

_SUMMARY_WIDTH = 80
_SUMMARY_LINE = "  {:<10}  {}"


def headline(plan: SweepPlan) -> str:
    """What a launch is about to do, in one line."""
    spec = plan.spec
    seeds = "" if plan.replicas == 1 else f" x {plan.replicas} seeds"
    at_once = "as many as fit" if spec.follows_cluster else plan.concurrent
    begins = "" if plan.origin is None else f"; begins with {plan.origin}"
    then = "" if plan.confirmation is None else f"; then {describe_stage(plan.confirmation)}"
    return (
        f"{spec.name}: {spec.algorithm} on {spec.environment.id} ({spec.backend}), "
        f"{count_noun(plan.trials, 'trial')}{seeds}, {at_once} at a time{then}{begins}"
    )


def print_best(opened: Run, threshold: float | None = None) -> None:
    """Print the champion: verdict, score, configuration, checkpoint.

    Args:
        opened: the run.
        threshold: say how soon its runs reached it; by default ``selection.solved_at``.

    Raises:
        NothingToSelect: no trial has a score.
    """
    selection = opened.selection
    console = make_console()
    console.print(Text(selection.verdict_text), end="\n\n")
    configuration = flatten_parameters(selection.configuration)
    rows = [
        ("trial", selection.trial_id),
        (selection.metric, _score(selection)),
        ("env steps", format_number(selection.env_steps)),
        *evidence_rows(selection),
        *learning_rows(opened.learning(threshold)),
        *((name, format_value(value)) for name, value in configuration.items()),
        ("checkpoint", short_path(selection.checkpoint)),
        ("agent", short_path(opened.agent)),
    ]
    schedule = opened.schedule
    if schedule is not None:
        rows.append(("schedule", short_path(schedule)))
    rows += advice_rows(opened, min(console.width, MAX_WIDTH) - max(len(row[0]) for row in rows))
    print_pairs(console, rows)
    if schedule is not None:
        changes = f"its values changed while it trained, and these are the last: {schedule.name}"
        print_text(console, f"note: {changes} has all of them as a spec for `sweeper train`")
    for note in (selection.checkpoint_note, _describe_capped(opened)):
        if note:
            print_text(console, f"note: {note}")
    for exclusion in selection.excluded:
        print_text(console, f"excluded {exclusion.trial_id}: {exclusion.reason}")


def _score(selection: Selection) -> str:
    """The search's score of the winner, with its spread."""
    spread = spread_words(selection.deviation, selection.replicas)
    return format_score(selection.score, selection.diverged) + spread


def print_runs(overviews: Sequence[RunOverview], storage: str) -> None:
    """Print the runs of a storage folder, and why damaged ones can't be read."""
    console = make_console()
    if not overviews:
        print_text(console, f"no runs in {storage}")
        return
    headings = ("run", "state", "ended", "failed", "best", "verdict", "last event")
    # A name is there to be copied: what can be broken before it is the score.
    is_short = max(len(run.run.name) for run in overviews) <= console.width // 3
    table = make_table(f"{'l' if is_short else 'p'}lrrplr", headings)
    now = time.time()
    for run in overviews:
        over = sum(count for state, count in run.states.items() if state.is_over)
        table.add_row(
            Text(run.run.name),
            color_state(run.state),
            f"{over}/{run.trials}",
            str(run.states.get(TrialState.ERROR, 0)),
            describe_best(run),
            run.verdict or "-",
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
    table = make_table("llrp", ("trial", "state", "size", "log"))
    for log in logs:
        size = "-" if log.size_bytes is None else format_bytes(log.size_bytes)
        table.add_row(log.trial_id, color_state(log.state), size, Text(short_path(log.path)))
    console.print(table)
    pruned = [log for log in logs if log.pruned is not None]
    if pruned:
        console.print()
    for log in pruned:
        print_text(console, f"{log.trial_id} {log.pruned}")
    for log in logs:
        if log.error is None:
            continue
        console.print()
        print_text(console, f"{log.trial_id}: {log.error}", style="red")
        for line in tail_lines(log.path, lines):
            print_text(console, f"  {line}")


def print_old_runs(runs: Sequence[OldRun]) -> None:
    """Print the runs that are about to be deleted, with their sizes."""
    table = make_table("plrrr", ("run", "state", "trials", "last event", "size"))
    now = time.time()
    for run in runs:
        age = f"{format_duration(now - run.updated)} ago"
        size = format_bytes(run.size_bytes)
        table.add_row(Text(run.run.name), color_state(run.state), str(run.trials), age, size)
    make_console().print(table)


def print_check(check: Check) -> None:
    """Print one line of `sweeper doctor`."""
    colours = {"ok": "green", "warning": "yellow", "failed": "bold red"}
    status = (f"{check.status:<7}", colours.get(check.status, "dim"))
    line = Text.assemble(status, f"  {check.name:<14}  {check.detail}")
    make_console().print(line, soft_wrap=True)


def summarise(opened: Run, width: float = math.inf) -> str:
    """The last lines of a launch: the winner, its parameters, paths, the next commands.

    Args:
        opened: the run.
        width: in characters; parameters are wrapped there.
    """
    root, state = opened.results.root, opened.results.state
    counts, run = opened.results.counts(), run_reference(root)
    total = planned(opened.paths, "trials") or sum(counts.values())
    lines = [f"{state}: {describe_counts(counts, total) if counts else 'no trial has started'}"]
    if counts and opened.best_trial is None:
        lines.append(f"  no trial has a value of {opened.objective.metric}")
    rows = [*_summarise_best(opened, width), ("run", short_path(root))]
    if command := resume_command(root, state, counts):
        rows.append(("go on", command))
    if failed := counts.get(TrialState.ERROR):
        rows.append(("why", f"sweeper logs {run}  ({count_noun(failed, 'failed trial')})"))
    if is_regular(opened.paths.report):
        rows.append(("report", short_path(opened.paths.report)))
    if counts:
        rows += [("details", f"sweeper results {run}"), ("", f"sweeper best {run}")]
        if opened.spec is not None and opened.spec.tracking is not None:
            # Under a checkout's `make sweep`, the console script is not on the PATH.
            is_made = "MAKELEVEL" in os.environ and run == root.name
            rows.append(("MLflow UI", "make ui" if is_made else f"sweeper ui {run}"))
    return "\n".join([*lines, *(_SUMMARY_LINE.format(*row) for row in rows)])


def _summarise_best(opened: Run, width: float) -> Iterator[tuple[str, str]]:
    if opened.best_trial is None:
        return
    selection = opened.selection
    env_steps = format_number(selection.env_steps)
    room = max(20, int(min(width, _SUMMARY_WIDTH)) - len(_SUMMARY_LINE.format("", "")))
    score = f"{selection.trial_id}: {selection.metric} {_score(selection)} at {env_steps} env steps"
    yield from _fold("best", score, room)
    parameters = opened.results.trial(selection.trial_id).parameters
    words = format_parameters(parameters) or "no searched parameters"
    for line in fold_parameters(words, width - len(_SUMMARY_LINE.format("", ""))):
        yield "", line
    yield "checkpoint", short_path(selection.checkpoint)
    if opened.agent is not None:
        yield "champion", short_path(opened.agent)
    if note := _describe_capped(opened):
        yield "note", note
    yield from _fold("verdict", selection.verdict_text, room)
    yield from advice_rows(opened, room)


def _fold(name: str, text: str, width: int) -> Iterator[tuple[str, str]]:
    """Rows of a text in lines of so many characters; the first one has the name."""
    lines = textwrap.wrap(text, width)
    yield from zip([name, *[""] * len(lines)], lines, strict=False)


def _describe_capped(opened: Run) -> str | None:
    """Say how many evaluation episodes of the winner were cut; None if none was."""
    record = opened.results.trial(opened.selection.trial_id)
    number = metric_value(record.last_report, NUM_CAPPED_EPISODES)
    if not number or opened.spec is None or opened.spec.evaluation is None:
        return None
    evaluation = opened.spec.evaluation
    played = evaluation.episodes * len(record.seeds)
    words = describe_cap(evaluation.max_episode_steps)
    return f"{number:g} of {played} evaluation episodes of {record.trial_id} {words}"
