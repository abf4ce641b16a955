"""Runs for people to read: tables on stdout, the summary of a launch for stderr."""

from __future__ import annotations

import math
import os
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from sweeper.evidence.record import Selection
from sweeper.formatting import (
    count_noun,
    describe_counts,
    fold_parameters,
    format_bytes,
    format_clock,
    format_duration,
    format_number,
    format_parameters,
    format_score,
    format_value,
    short_path,
)
from sweeper.metrics import NUM_CAPPED_EPISODES
from sweeper.opened_run import Run
from sweeper.planning.plan import SweepPlan
from sweeper.results.scoring import metric_value
from sweeper.search.configuration import flatten_parameters
from sweeper.states import LaunchEnd, TrialState
from sweeper.upkeep.overview import RunningTrial, RunOverview, planned
from sweeper.views.advice import advice_rows
from sweeper.views.confirmation import describe_stage
from sweeper.views.console import color_state, make_console, make_table, print_pairs, print_text
from sweeper.views.evaluation import describe_cap
from sweeper.views.logs import TrialLog, tail_lines
from sweeper.views.scores import evidence_rows, learning_rows, spread_words

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
    "print_status",
    "summarise",
]

_MAX_WIDTH = 100  # longer lines of words are hard to read
_SUMMARY_WIDTH = 80
_SUMMARY_LINE = "  {:<10}  {}"
# After a used-up budget, `sweeper resume` needs more of it.
_RESUME_OPTIONS: Mapping[str, str] = {
    LaunchEnd.BUDGET_TIME: " --time SECONDS",
    LaunchEnd.BUDGET_ENV_STEPS: " --stop budget.env_steps=N",
}


def headline(plan: SweepPlan) -> str:
    """What a launch is about to do, in one line."""
    spec = plan.spec
    seeds = "" if plan.replicas == 1 else f" x {plan.replicas} seeds"
    then = "" if plan.confirmation is None else f"; then {describe_stage(plan.confirmation)}"
    return (
        f"{spec.name}: {spec.algorithm} on {spec.environment.id} ({spec.backend}), "
        f"{count_noun(plan.trials, 'trial')}{seeds}, {plan.concurrent} at a time{then}"
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
    rows += advice_rows(opened, min(console.width, _MAX_WIDTH) - max(len(row[0]) for row in rows))
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
    if overview.confirmed is not None:
        spread = spread_words(overview.deviation, overview.replicas)
        score = format_score(overview.score, overview.diverged)
        rows.append(("", f"in the search {score}{spread}"))

    room = console.width - len("running for  ")
    words = format_parameters(overview.parameters or {})
    rows += [("", line) for line in fold_parameters(words, room)]
    if overview.retrained:
        number = sum(overview.retrained.values())
        rows.append(("confirmation", describe_counts(overview.retrained, number)))
    rows += _describe_times(overview)
    if overview.pruned:
        rows.append(("last pruned", overview.pruned))
    if command := _resume_command(overview.run, overview.state, overview.states):
        rows.append(("go on", command))
    if overview.verdict_text:
        folded = textwrap.wrap(overview.verdict_text, min(room, _MAX_WIDTH))
        rows += zip(["verdict", *[""] * len(folded)], folded, strict=False)
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
    table = make_table("lrrrl", ("trial", "score", "steps", "steps/s", "parameters"))
    for trial in trials:
        table.add_row(
            f"{trial.trial_id} of {trial.of}" if trial.of else trial.trial_id,
            _with_spread(trial.score, trial.diverged, trial.deviation),
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
            _describe_best(run),
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
    counts = opened.results.counts()
    total = planned(opened.paths, "trials") or sum(counts.values())
    lines = [f"{state}: {describe_counts(counts, total) if counts else 'no trial has started'}"]
    if counts and opened.best_trial is None:
        lines.append(f"  no trial has a value of {opened.objective.metric}")
    rows = [*_summarise_best(opened, width), ("run", short_path(root))]
    if command := _resume_command(root, state, counts):
        rows.append(("go on", command))
    if failed := counts.get(TrialState.ERROR):
        rows.append(("why", f"sweeper logs {root.name}  ({count_noun(failed, 'failed trial')})"))
    if counts:
        rows += [("details", f"sweeper results {root.name}"), ("", f"sweeper best {root.name}")]
        if opened.spec is not None and opened.spec.tracking is not None:
            # Under a checkout's `make sweep`, the console script is not on the PATH.
            command = "make ui" if "MAKELEVEL" in os.environ else f"sweeper ui {root.name}"
            rows.append(("MLflow UI", command))
    return "\n".join([*lines, *(_SUMMARY_LINE.format(*row) for row in rows)])


def _summarise_best(opened: Run, width: float) -> Iterator[tuple[str, str]]:
    if opened.best_trial is None:
        return
    selection = opened.selection
    env_steps = format_number(selection.env_steps)
    yield (
        "best",
        f"{selection.trial_id}: {selection.metric} {_score(selection)} at {env_steps} env steps",
    )
    parameters = opened.results.trial(selection.trial_id).parameters
    words = format_parameters(parameters) or "no searched parameters"
    for line in fold_parameters(words, width - len(_SUMMARY_LINE.format("", ""))):
        yield "", line
    yield "checkpoint", short_path(selection.checkpoint)
    if opened.paths.champion.is_dir():
        yield "champion", short_path(opened.paths.champion)
    if note := _describe_capped(opened):
        yield "note", note
    room = int(min(width, _SUMMARY_WIDTH)) - len(_SUMMARY_LINE.format("", ""))
    folded = textwrap.wrap(selection.verdict_text, max(20, room))
    yield from zip(["verdict", *[""] * len(folded)], folded, strict=False)
    yield from advice_rows(opened, room)


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


def _resume_command(root: Path, state: str, counts: Mapping[TrialState, int]) -> str | None:
    """The command that continues a run; None if it is live or has nothing left to do."""
    can_resume = state == LaunchEnd.INTERRUPTED or counts.get(TrialState.PAUSED)
    if state == "running" or not can_resume:
        return None
    return f"sweeper resume {root.name}{_RESUME_OPTIONS.get(state, '')}"


def _describe_best(overview: RunOverview) -> str:
    """The winner with its mean on fresh seeds, or else its score; both with what they rest on."""
    if overview.best is None:
        return "-"
    if overview.confirmed is None:
        spread = spread_words(overview.deviation, overview.replicas)
        return f"{overview.best} ({format_score(overview.score, overview.diverged)}{spread})"
    interval = ""
    if overview.confirmed_interval is not None:
        interval = " ({} to {})".format(*map(format_number, overview.confirmed_interval))
    runs = count_noun(overview.confirmed_runs, "fresh run")
    return f"{overview.best}: {format_number(overview.confirmed)}{interval} over {runs}"


def _with_spread(score: float | None, diverged: int, deviation: float | None) -> str:
    spread = "" if deviation is None else f" ±{format_number(deviation)}"
    frozen = f", {diverged} frozen" if diverged else ""
    return f"{format_number(score)}{spread}{frozen}"
