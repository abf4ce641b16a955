"""A run as a notebook shows it: its state, the verdict, who came to what, the ten best trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sweeper.evidence.record import Candidate, Selection
from sweeper.formatting import (
    count_noun,
    describe_counts,
    describe_state,
    format_number,
    format_parameters,
)
from sweeper.markup import Html, joined, table, tag
from sweeper.metrics import Objective
from sweeper.printable import printable
from sweeper.results.records import SweepResults

__all__ = ["describe_line", "draw_page"]

_SHOWN = 10


def describe_line(
    results: SweepResults, objective: Objective, selection: Selection | None, total: int
) -> str:
    """A run in a line: its name, its state, how its trials stand, who won.

    Args:
        results: all trials.
        objective: how they are compared.
        selection: the winner; None if nobody won.
        total: how many trials were planned.
    """
    words = f"{results.root.name}: {results.state}, {_describe_trials(results, total)}"
    if selection is not None:
        score = f"{objective.metric} {format_number(selection.score)}"
        words += f"; champion {selection.trial_id}, {score}, {selection.word}"
    return printable(words)


def draw_page(
    results: SweepResults,
    objective: Objective,
    selection: Selection | None,
    failure: str | None,
    total: int,
) -> Html:
    """The run as HTML; every text from elsewhere is escaped.

    Args:
        results: all trials.
        objective: how they are compared.
        selection: the winner; None if nobody won.
        failure: why nobody did.
        total: how many trials were planned.
    """
    trials = _describe_trials(results, total)
    head = tag("p", tag("b", results.root.name), f": {results.state}, {trials}")
    if selection is None:
        return joined(head, tag("p", failure or "no trial has a score yet"))
    first, *rows = selection.table
    return joined(
        head,
        tag("p", selection.verdict_text),
        table(first, rows) if selection.verdict is not None else None,
        _draw_best(results, objective, selection.judged),
    )


def _describe_trials(results: SweepResults, total: int) -> str:
    counts = results.counts()
    search = describe_counts(counts, total) if counts else "no trials yet"
    again = len(results.retrained)
    return search if not again else f"{search}; {count_noun(again, 'trial')} of the confirmation"


def _draw_best(results: SweepResults, objective: Objective, judged: Sequence[Candidate]) -> Html:
    """The search's best trials, in the order of its ranking."""
    shown = judged[:_SHOWN]
    records = {one.trial_id: one for one in results.trials}

    def rows() -> Iterator[tuple[str, ...]]:
        for one in shown:
            record = records.get(one.trial_id)
            parameters = {} if record is None else record.parameters
            spread = "" if one.deviation is None else f" ±{format_number(one.deviation)}"
            yield (
                one.trial_id,
                format_number(one.score) + spread,
                describe_state(one.state),
                format_number(one.env_steps),
                format_parameters(parameters),
            )

    more = len(judged) - len(shown)
    others = tag("p", f"and {count_noun(more, 'trial')} more") if more else None
    head = ("", objective.metric, "state", "env steps", "parameters")
    return joined(table(head, rows()), others)
