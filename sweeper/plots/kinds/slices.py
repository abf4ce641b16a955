"""Slices: scores against each searched parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sweeper.formatting import count_noun
from sweeper.plots.chart import Axis, Chart, Line, Mark, Panel, missing
from sweeper.plots.colours import MUTED
from sweeper.plots.curves import frame_values, is_beyond
from sweeper.plots.parameters import Parameter, describe_parameters, most_telling
from sweeper.plots.scores import by_state, describe_score, replica_interval, spread_out
from sweeper.plots.source import PlotSource, Scored
from sweeper.plots.texts import score_title
from sweeper.results.spread import spread_of
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState

__all__ = ["draw"]

TITLE = "Scores by parameter"
_MAX_PANELS, _MAX_INTERVALS, _MIN_TREND = 9, 120, 24
_EIGHTHS = 8


def draw(source: PlotSource, *, params: Sequence[str] = ()) -> Chart:
    """Scores against each searched parameter, with the replicas' intervals.

    Args:
        source: the run.
        params: which parameters; by default all, or the nine by which scores differ most.

    Raises:
        UserError: an unknown parameter.
    """
    names = source.pick_parameters(params)
    if source.empty:
        return missing(TITLE, source.empty)
    notes: tuple[str, ...] = ()
    if not names and len(source.searched) > _MAX_PANELS:
        names = most_telling(source, _MAX_PANELS)
        notes += (
            f"Of {len(source.searched)} parameters the {len(names)} by which scores differ most.",
        )
    parameters = describe_parameters(source, names)
    if not parameters:
        why = "All trials have the same values." if source.searched else "Nothing was searched."
        return missing(TITLE, why)
    scored = source.scored
    has_intervals = len(scored) <= _MAX_INTERVALS
    if not has_intervals:
        notes += (f"Above {_MAX_INTERVALS} trials without the replicas' intervals.",)
    elif not any(math.isfinite(replica_interval(one, source.objective)[0]) for one in scored):
        has_intervals = False
        notes += ("No intervals: no trial has several replicas that differ.",)
    if any(one.record.exchanges for one in scored):
        notes += ("Trials of a population stand at the values that they ended with.",)
    without = len(source.trials) - len(scored)
    if without:
        notes += (f"{count_noun(without, 'trial')} without a score left out.",)
    columns = min(3, len(parameters))
    rows = -(-len(parameters) // columns)
    bars = "; bars: 95 % interval by its replicas (Student's t)" if has_intervals else ""
    limits = _frame(source)
    labels = {one.record.trial_id: describe_score(one) for one in scored}  # once for all panels
    if has_intervals and _is_cut(source, limits):
        notes += ("Intervals are cut at the edge: they reach further than any replica has come.",)
    panels = tuple(
        _draw_panel(source, one, has_intervals=has_intervals, labels=labels, limits=limits)
        for one in parameters
    )
    has_trend = any(isinstance(mark, Line) for panel in panels for mark in panel.marks)
    trend = " The line is the median of finished trials." if has_trend else ""
    return Chart(
        title=f"{TITLE}, {count_noun(len(scored), 'trial')}",
        subtitle=f"Each mark is a trial{bars}.{trend}",
        panels=panels,
        columns=columns,
        shares_y=True,
        notes=notes,
        height=150 + 270 * rows,
    )


def _frame(source: PlotSource) -> tuple[float, float] | None:
    """The y axis: all scores, and all replicas' own."""
    spreads = [spread_of(one.record, source.objective) for one in source.scored]
    return frame_values(
        [np.array([one.score for one in source.scored])],
        [np.array(one.values) for one in spreads if one is not None],
    )


def _is_cut(source: PlotSource, limits: tuple[float, float] | None) -> bool:
    ends = np.array([replica_interval(one, source.objective) for one in source.scored]).T
    return is_beyond((ends[0], ends[1]), limits)


def _draw_panel(
    source: PlotSource,
    parameter: Parameter,
    *,
    has_intervals: bool,
    labels: Mapping[str, str],
    limits: tuple[float, float] | None,
) -> Panel:
    kept: list[Scored] = []
    places: list[float] = []
    for one in source.scored:
        flat = flatten_parameters(one.record.parameters)
        if parameter.name in flat and parameter.is_placed(flat[parameter.name]):
            kept.append(one)
            places.append(parameter.place(flat[parameter.name]))
    x = places if parameter.is_number else spread_out(places, 0.36)
    size = 5.5 if len(kept) <= 60 else 4.0 if len(kept) <= 300 else 2.6
    marks: list[Mark] = [
        *by_state(source, kept, x, size=size, has_intervals=has_intervals, labels=labels)
    ]
    trend = _draw_trend(parameter, kept, places)
    missing_here = len(source.scored) - len(kept)
    axis = parameter.axis
    title = (
        f"{axis.title} ({count_noun(missing_here, 'trial')} without)"
        if missing_here
        else axis.title
    )
    return Panel(
        x=Axis(title=title, is_log=axis.is_log, ticks=axis.ticks, limits=_limits(parameter)),
        y=Axis(title=score_title(source.objective), limits=limits),
        marks=(*marks, *trend),
    )


def _limits(parameter: Parameter) -> tuple[float, float] | None:
    if parameter.is_number:
        return parameter.axis.limits
    return -0.5, parameter.high + 0.5


def _draw_trend(
    parameter: Parameter, kept: Sequence[Scored], places: Sequence[float]
) -> list[Mark]:
    """The median of finished trials: of eighths of a range, or of each choice."""
    whole = [
        (place, one.score)
        for place, one in zip(places, kept, strict=True)
        if one.record.state is TrialState.TERMINATED
    ]
    if len(whole) < _MIN_TREND:
        return []
    x, scores = np.array(whole).T
    if not parameter.is_number:
        values = sorted(set(x))
        medians = [float(np.median(scores[x == value])) for value in values]
        points = [(value + shift, median) for value, median in zip(values, medians, strict=True)
                  for shift in (-0.3, 0.3, np.nan)]  # fmt: skip
    else:
        parts = np.array_split(np.argsort(x, kind="stable"), _EIGHTHS)
        points = [(float(np.median(x[part])), float(np.median(scores[part]))) for part in parts]
    return [
        Line(
            x=[place for place, _ in points],
            y=[median for _, median in points],
            name="median",
            colour=MUTED,
            width=2.4,
        )
    ]
