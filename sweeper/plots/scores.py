"""Scores as colours, as intervals, and in words: shared by the kinds that show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sweeper.evidence.statistics import mean_interval
from sweeper.formatting import format_number
from sweeper.metrics import Objective
from sweeper.plots.chart import Points, Scale
from sweeper.plots.colours import STATE_LOOKS
from sweeper.plots.source import PlotSource, Scored
from sweeper.plots.texts import describe_trial, score_title
from sweeper.results.spread import spread_of

__all__ = ["apart", "by_state", "describe_score", "replica_interval", "score_scale", "spread_out"]

_REST = 0.05  # of the worst scores, all of one colour


def score_scale(scores: Sequence[float], objective: Objective) -> Scale:
    """A colour scale on which more light is better; the worst twentieth shares the dark end.

    Args:
        scores: finite, at least one.
        objective: says which are better.
    """
    is_max = objective.mode == "max"
    low, high = (
        float(end) for end in np.quantile(scores, [_REST, 1.0] if is_max else [0, 1 - _REST])
    )
    if not low < high:
        low, high = apart(min(scores), max(scores))
    return Scale(title=score_title(objective), limits=(low, high), is_reversed=not is_max)


def apart(low: float, high: float) -> tuple[float, float]:
    """The ends of a scale: the same, or moved apart where they are one."""
    if low < high:
        return low, high
    half = max(0.5, 0.05 * abs(low))
    return low - half, high + half


def replica_interval(scored: Scored, objective: Objective) -> tuple[float, float]:
    """Where a configuration's mean lies by its replicas (95 %, Student's t); NaN if unknown."""
    spread = spread_of(scored.record, objective)
    interval = None if spread is None else mean_interval(spread.values)
    if interval is None:
        return math.nan, math.nan
    return interval.low, interval.high


def describe_score(scored: Scored) -> str:
    """What a reader who points at a trial is told."""
    return describe_trial(scored.record, f"score {format_number(scored.score)}")


def spread_out(places: Sequence[float], width: float) -> list[float]:
    """Places moved a little to either side, always the same, so that equal ones can be told apart.

    Args:
        places: of points.
        width: how far they may come to lie apart.
    """
    golden = (math.sqrt(5) - 1) / 2
    return [place + width * ((number * golden) % 1 - 0.5) for number, place in enumerate(places)]


def by_state(
    source: PlotSource,
    scored: Sequence[Scored],
    x: Sequence[float],
    *,
    size: float,
    has_intervals: bool,
    labels: Mapping[str, str] | None = None,
) -> list[Points]:
    """Scores as points, a mark for each state.

    Args:
        source: of the run.
        scored: the trials.
        x: where each lies.
        size: of the points.
        has_intervals: whether to draw their replicas' intervals.
        labels: what a reader who points at a trial is told, by its id; by default `describe_score`.
    """
    told = labels or {one.record.trial_id: describe_score(one) for one in scored}
    marks = []
    for state, look in STATE_LOOKS.items():
        part = [
            (one, place) for one, place in zip(scored, x, strict=True) if one.record.state is state
        ]
        if not part:
            continue
        ends = [replica_interval(one, source.objective) for one, _ in part] if has_intervals else []
        marks.append(
            Points(
                x=[place for _, place in part],
                y=[one.score for one, _ in part],
                name=look.word,
                colour=look.colour,
                symbol=look.symbol,
                is_open=look.is_open,
                size=size,
                opacity=0.85,
                errors=([low for low, _ in ends], [high for _, high in ends]) if ends else None,
                error_width=0.8,
                labels=[told[one.record.trial_id] for one, _ in part],
            )
        )
    return marks
