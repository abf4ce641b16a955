"""How far a run is, for people to read; what `sweeper status` prints."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Sequence

from rich.text import Text

from sweeper.formatting import (
    count_noun,
    describe_counts,
    fold_parameters,
    format_clock,
    format_duration,
    format_number,
    format_parameters,
    format_score,
    short_path,
)
from sweeper.results.resuming import resume_command
from sweeper.upkeep.overview import RunningTrial, RunOverview
from sweeper.views.console import make_console, make_table, print_pairs
from sweeper.views.scores import diverged_words, spread_words

__all__ = ["MAX_WIDTH", "describe_best", "print_status"]

MAX_WIDTH = 100
"""Longer lines of words are hard to read."""

_MIN_ROOM = 24  # for parameters; below that the terminal wraps them


def print_status(overview: RunOverview) -> None:
    """Print how far a run is and, if it is live, its running trials."""
    console = make_console()
    best = describe_best(overview)
    rows = [
        ("run", short_path(overview.run)),
        ("state", overview.state),
        *([("began with", overview.origin)] if overview.origin else []),
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
    if command := resume_command(overview.run, overview.state, overview.states):
        rows.append(("go on", command))
    if overview.verdict_text:
        folded = textwrap.wrap(overview.verdict_text, min(room, MAX_WIDTH))
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
    headings = ("trial", "score", "steps", "steps/s")
    rows = [
        (
            f"{trial.trial_id} of {trial.of}" if trial.of else trial.trial_id,
            _with_spread(trial.score, trial.diverged, trial.deviation),
            format_number(trial.env_steps),
            format_number(trial.env_steps_per_s),
        )
        for trial in trials
    ]
    console = make_console()
    # Only the parameters give way, and only between each other.
    taken = sum(max(map(len, cells)) + len("  ") for cells in zip(headings, *rows, strict=True))
    room = max(_MIN_ROOM, console.width - taken)
    table = make_table("lrrrp", (*headings, "parameters"))
    for trial, row in zip(trials, rows, strict=True):
        words = format_parameters(trial.parameters, is_short=True)
        table.add_row(*row, Text("\n".join(fold_parameters(words, room))))
    console.print(table)


def describe_best(overview: RunOverview) -> str:
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
    runs += diverged_words(overview.confirmed_diverged)
    return f"{overview.best}: {format_number(overview.confirmed)}{interval} over {runs}"


def _with_spread(score: float | None, diverged: int, deviation: float | None) -> str:
    spread = "" if deviation is None else f" ±{format_number(deviation)}"
    frozen = f", {diverged} frozen" if diverged else ""
    return f"{format_number(score)}{spread}{frozen}"
