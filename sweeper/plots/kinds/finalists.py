"""Finalists: what each training run of the confirmation came to, with the intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweeper.evidence.confirmation import BASELINE
from sweeper.evidence.samples import Evidence
from sweeper.formatting import count_noun, format_number
from sweeper.plots.chart import Axis, Chart, Mark, Panel, Points, Rule, categories, missing
from sweeper.plots.colours import MUTED, PALETTE, STATE_LOOKS
from sweeper.plots.confirmed import (
    confirmed_title,
    explain_unconfirmed,
    finished_only,
    incomplete_note,
    order,
)
from sweeper.plots.scores import spread_out
from sweeper.plots.source import PlotSource
from sweeper.states import TrialState

__all__ = ["draw"]

TITLE = "Finalists"


def draw(source: PlotSource) -> Chart:
    """Every run, the mean with its interval, and where one more run would land."""
    verdict = finished_only(None if source.selection is None else source.selection.verdict)
    if verdict is None:
        return missing(TITLE, explain_unconfirmed(source))
    shown = order(verdict, source.objective)
    names = [f"{one.name}{' (champion)' if one.name == verdict.champion else ''}" for one in shown]
    marks: list[Mark] = [*_draw_predictions(shown), *_draw_runs(shown), *_draw_means(shown)]
    if source.solved_at is not None:
        marks.append(Rule(at=source.solved_at, is_vertical=True, name="solved", colour=MUTED,
                          dash="dot"))  # fmt: skip
    levels = [one.interval for one in shown if one.interval is not None]
    method = f" ({levels[0].level:.0%}, {levels[0].method})" if levels else ""
    number = max(len(one.runs) for one in shown)
    return Chart(
        title=f"{TITLE} and baseline: {count_noun(number, 'training run')} each"
        if any(one.name == BASELINE for one in shown)
        else f"{TITLE}: {count_noun(number, 'training run')} each",
        subtitle=f"Circles: single training runs. Diamond: their mean with its interval{method}. "
        "Thin line: where one more run would land.",
        panels=(
            Panel(
                x=Axis(title=confirmed_title(source.objective)),
                y=Axis(ticks=categories(names), limits=(-0.6, len(shown) - 0.4), is_reversed=True),
                marks=tuple(marks),
            ),
        ),
        notes=(
            f"Verdict: {verdict.verdict}.",
            *_explain_gaps(shown),
            *incomplete_note(verdict),
        ),
        height=190 + 52 * len(shown),
    )


def _draw_means(shown: Sequence[Evidence]) -> list[Mark]:
    kept = [(place, one) for place, one in enumerate(shown) if one.mean is not None]
    ends = [
        (math.nan, math.nan) if one.interval is None else (one.interval.low, one.interval.high)
        for _, one in kept
    ]
    return [
        Points(
            x=[one.mean or 0.0 for _, one in kept],
            y=[float(place) for place, _ in kept],
            name="mean and interval",
            colour=PALETTE[0],
            symbol="diamond",
            size=9.0,
            x_errors=([low for low, _ in ends], [high for _, high in ends]),
            error_width=2.4,
            labels=[_tell(one) for _, one in kept],
        )
    ]


def _draw_predictions(shown: Sequence[Evidence]) -> list[Mark]:
    kept = [
        (float(place), one.mean, one.prediction)
        for place, one in enumerate(shown)
        if one.mean is not None and one.prediction is not None
    ]
    if not kept:
        return []
    return [
        Points(
            x=[mean for _, mean, _ in kept],
            y=[place for place, _, _ in kept],
            name="",
            colour=MUTED,
            symbol="bar",
            size=1.0,
            x_errors=([one.low for _, _, one in kept], [one.high for _, _, one in kept]),
            error_width=0.9,
        )
    ]


def _draw_runs(shown: Sequence[Evidence]) -> list[Mark]:
    marks: list[Mark] = []
    failed = STATE_LOOKS[TrialState.ERROR]
    for is_diverged in (False, True):
        points = [
            (float(place), value, one, number)
            for place, one in enumerate(shown)
            for number, value in enumerate(one.runs)
            if value is not None and (number in one.diverged_runs) == is_diverged
        ]
        if not points:
            continue
        marks.append(
            Points(
                x=[value for _, value, _, _ in points],
                y=spread_out([place for place, _, _, _ in points], 0.42),
                name="diverged, counts as the worst" if is_diverged else "training run",
                colour=failed.colour if is_diverged else PALETTE[4],
                symbol=failed.symbol if is_diverged else "circle",
                is_open=not is_diverged,
                size=6.0,
                labels=[
                    f"{one.name}, run {number + 1}: {format_number(value)}"
                    for _, value, one, number in points
                ],
            )
        )
    return marks


def _explain_gaps(shown: Sequence[Evidence]) -> list[str]:
    """Which runs and intervals are not there, and why."""
    notes = [
        f"{one.name}: no interval of the mean: {one.interval_reason}."
        for one in shown
        if one.interval is None and one.interval_reason
    ]
    failed = [(one.name, sum(value is None for value in one.runs)) for one in shown]
    return notes + [f"{name}: {count_noun(n, 'run')} without a value." for name, n in failed if n]


def _tell(one: Evidence) -> str:
    text = f"{one.name}: mean {format_number(one.mean)}"
    if one.interval is not None:
        ends = format_number(one.interval.low), format_number(one.interval.high)
        text += f", {ends[0]} to {ends[1]} ({one.interval.level:.0%}, {one.interval.method})"
    if one.prediction is not None:
        ends = format_number(one.prediction.low), format_number(one.prediction.high)
        text += f"; one more run {ends[0]} to {ends[1]} ({one.prediction.level:.0%})"
    if one.solved is not None:
        text += f"; {one.solved.number} of {one.solved.runs} solved"
    return text
