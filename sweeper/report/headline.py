"""The head of a report: what the run came to in a sentence, and where the run stands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sweeper.formatting import count_noun, format_duration, format_parameters
from sweeper.markup import Child, Html, joined, tag
from sweeper.report.elements import pairs
from sweeper.report.source import ReportSource
from sweeper.results.cost import find_cost
from sweeper.states import LaunchEnd

__all__ = ["describe_moment", "head"]

_MAX_WORDS = 240  # of the champion's parameters; the section on it has all


def head(source: ReportSource) -> Html:
    """The verdict, the champion and the state of the run."""
    selection = source.selection
    if selection is None:
        word, text = "no champion", source.failure or "No trial has a score."
    else:
        word, text = selection.word, selection.verdict_text
    first, dot, rest = text.partition(". ")
    return joined(
        tag("p", source.spec.algorithm if source.spec else "Ray Tune", " · ", _task(source)),
        tag("h1", source.name),
        tag(
            "p",
            tag("span", word, class_=f"badge {word.replace(' ', '-')}"),
            f" {first}{dot}",
            class_="lead",
        ),
        tag("p", rest) if rest else None,
        _live(source),
        *(tag("p", problem, class_="note") for problem in source.problems),
        pairs(*_facts(source)),
    )


def _task(source: ReportSource) -> str:
    if source.spec is None:
        return "an experiment that was made without sweeper" if source.is_tune else "unknown task"
    return f"{source.spec.environment.id} · {source.spec.backend}"


def _live(source: ReportSource) -> Child:
    if not source.results.is_live:
        return None
    again = tag("code", f"sweeper report {source.reference}")
    return tag(
        "p",
        "The run is still going on. This is what it had come to by ",
        f"{describe_moment(source.now)}; ",
        again,
        " writes the page again.",
        class_="note",
    )


def _facts(source: ReportSource) -> Iterator[tuple[Child, Child]]:
    results, selection = source.results, source.selection
    champion: Child = "none"
    if selection is not None:
        found = source.results.trial(selection.trial_id).parameters
        words = format_parameters(found, is_short=True)
        words = words if len(words) <= _MAX_WORDS else f"{words[: _MAX_WORDS - 1]}…"
        link = tag("a", selection.trial_id, href="#configuration")
        champion = joined(link, f" {words}" if words else None)
    yield "Champion", champion
    yield "State", _describe_state(source)
    if (objective := source.judged_by) is not None:
        yield "Metric", f"{objective.metric}, {objective.mode} ({objective.score})"
    yield "Trials", count_noun(len(results.trials), "trial")
    if results.started is not None:
        yield "Started", describe_moment(results.started)
    if results.updated is not None and not results.is_live:
        yield "Ended", describe_moment(results.updated)
    if results.launches:
        took = format_duration(find_cost(results, None).time_s)
        launches = len(results.launches)
        yield "Took", took if launches == 1 else f"{took} in {launches} launches"
    if results.origin is not None:
        yield "Began with", str(results.origin)


def _describe_state(source: ReportSource) -> str:
    state = source.results.state
    if state == LaunchEnd.INTERRUPTED:
        return "interrupted; it can go on"
    if state.startswith("budget."):
        return f"ended by its budget ({state})"
    return state


def describe_moment(moment: float) -> str:
    """``2026-11-25 03:10``, in the local time of whoever writes the report; ``-`` if no date."""
    try:
        return f"{datetime.fromtimestamp(moment).astimezone():%Y-%m-%d %H:%M %Z}"
    except (ValueError, OverflowError, OSError):
        return "-"
