"""Shrinkage: what the search thought of each finalist, against what the confirmation found."""

from __future__ import annotations

import math

from sweeper.evidence.confirmation import BASELINE
from sweeper.formatting import format_number
from sweeper.metrics import is_of_evaluation
from sweeper.plots.chart import Axis, Chart, Line, Mark, Panel, Points, missing
from sweeper.plots.colours import MUTED, PALETTE
from sweeper.plots.confirmed import (
    confirmed_title,
    explain_unconfirmed,
    finished_only,
    incomplete_note,
    order,
)
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import score_title

__all__ = ["draw"]

TITLE = "Shrinkage"
_SYMBOLS = ("circle", "square", "diamond", "triangle", "star")


def draw(source: PlotSource) -> Chart:
    """Search scores against confirmed means, with the line on which both agree."""
    verdict = finished_only(None if source.selection is None else source.selection.verdict)
    if verdict is None:
        return missing(TITLE, explain_unconfirmed(source))
    if source.objective.score == "auc":
        return missing(
            TITLE,
            "The search's score is an area under a learning curve, which the confirmation's "
            "returns at the end can't be held against.",
        )
    shown = [
        one
        for one in order(verdict, source.objective)
        if one.name != BASELINE and one.search_score is not None and one.mean is not None
    ]
    if not shown:
        return missing(TITLE, "No finalist has both a search score and a mean.")
    places = [(float(one.search_score or 0.0), float(one.mean or 0.0)) for one in shown]
    ends = [
        (math.nan, math.nan) if one.interval is None else (one.interval.low, one.interval.high)
        for one in shown
    ]
    known = [value for pair in (*places, *ends) for value in pair if math.isfinite(value)]
    low, high = min(known), max(known)
    pad = 0.06 * ((high - low) or max(1.0, abs(high)))
    low, high = low - pad, high + pad
    marks: list[Mark] = [
        Line(x=[low, high], y=[low, high], name="as the search thought", colour=MUTED, dash="dash")
    ]
    for number, (one, (x, y), (bottom, top)) in enumerate(zip(shown, places, ends, strict=True)):
        champion = " (champion)" if one.name == verdict.champion else ""
        marks.append(
            Points(
                x=[x],
                y=[y],
                name=f"{one.name}{champion}",
                colour=PALETTE[number % len(PALETTE)],
                symbol=_SYMBOLS[number % len(_SYMBOLS)],
                size=9.0,
                errors=([bottom], [top]),
                labels=[
                    f"{one.name}: search {format_number(x)}, confirmed {format_number(y)}, "
                    f"shrinkage {format_number(x - y)}"
                ],
            )
        )
    notes: tuple[str, ...] = ()
    if not is_of_evaluation(source.objective.metric):
        notes += ("The search's scores are of episodes while training, not of evaluations.",)
    if verdict.shrinkage is not None:
        notes += (
            f"The champion's score of the search lay {format_number(abs(verdict.shrinkage))} "
            f"{'above' if verdict.shrinkage >= 0 else 'below'} its confirmed mean.",
        )
    below = "below" if source.objective.mode == "max" else "above"
    return Chart(
        title=f"{TITLE}: the search's scores, and what retraining found",
        subtitle=f"Finalists {below} the line did worse when trained again than the search had "
        "thought, which chose the luckiest. Bars: interval of the mean.",
        panels=(
            Panel(
                x=Axis(title=score_title(source.objective), limits=(low, high)),
                y=Axis(title=confirmed_title(source.objective), limits=(low, high)),
                marks=tuple(marks),
            ),
        ),
        notes=(*notes, *incomplete_note(verdict)),
        height=560,
    )
