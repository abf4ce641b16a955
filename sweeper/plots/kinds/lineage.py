"""Lineage: who copied whom in a population, and what values did while it trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sweeper.formatting import count_noun
from sweeper.plots.chart import Axis, Chart, Line, Mark, Panel, Points, categories, missing
from sweeper.plots.colours import BEST, MUTED, PALETTE
from sweeper.plots.parameters import Parameter, describe_parameters
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import describe_trial, show_value
from sweeper.results.lineage import Segment, list_exchanges, trace_ancestry
from sweeper.results.records import TrialRecord
from sweeper.search.configuration import flatten_parameters

__all__ = ["draw", "value_steps"]

TITLE = "Lineage"
_MAX_PANELS = 3


def draw(source: PlotSource, *, params: Sequence[str] = ()) -> Chart:
    """Each trial as a lane, copies as strokes between lanes, and the values over env steps.

    Args:
        source: the run.
        params: whose values; by default the first three that were changed.

    Raises:
        UserError: an unknown parameter.
    """
    names = source.pick_parameters(params)
    if not source.trials:
        return missing(TITLE, source.empty or "The run has no trials.")
    exchanges = list_exchanges(source.results)
    if not exchanges:
        why = "No trial took over another's weights"
        if source.scheduler is not None and source.scheduler not in ("pbt", "pb2"):
            why += f": only a population does (scheduler pbt), and this run's scheduler is {source.scheduler}"  # noqa: E501
        return missing(TITLE, f"{why}.")
    trials = [one for one in source.trials if one.reports or one.exchanges]
    lanes = {one.trial_id: float(place) for place, one in enumerate(trials)}
    winner = None if source.selection is None else source.selection.trial_id
    segments = trace_ancestry(source.results, winner) if winner in lanes else ()
    changed = names or _find_changed(source, segments)
    parameters = describe_parameters(source, changed)[:_MAX_PANELS] if changed else []
    panels = [_draw_lanes(source, trials, lanes, segments)]
    panels += [_draw_values(source, trials, one, segments) for one in parameters]
    notes: tuple[str, ...] = ()
    rest = len(changed) - len(parameters)
    if rest > 0:
        notes += (f"{count_noun(rest, 'more parameter')} changed.",)
    return Chart(
        title=f"{TITLE}: {count_noun(len(exchanges), 'exchange')} among "
        f"{count_noun(len(trials), 'trial')}",
        subtitle="Lanes are trials; a stroke goes from the checkpoint that was copied to the trial "
        "that went on from it. Green: what the champion's weights went through.",
        panels=tuple(panels),
        columns=len(panels) if len(panels) <= 3 else 2,
        notes=notes,
        height=(170 + min(420, 16 * len(lanes)) if len(panels) == 1 else 470)
        + (300 if len(panels) > 3 else 0),
    )


def value_steps(record: TrialRecord, name: str) -> list[tuple[float, Any]]:
    """A parameter's values with the env steps from which the trial had them, and at its end.

    None where the parameter did not apply.
    """
    first = flatten_parameters(record.parameters_at(-1)).get(name)
    found: list[tuple[float, Any]] = [(0.0, first)]
    for exchange in record.exchanges:
        value = flatten_parameters(exchange.parameters).get(name)
        found.append((float(exchange.donor_env_steps), value))
    end = float(record.env_steps or 0)
    if end > found[-1][0]:
        found.append((end, found[-1][1]))
    return found


def _find_changed(source: PlotSource, segments: Sequence[Segment]) -> list[str]:
    """The parameters that an exchange changed, those of the champion's ancestry first."""
    own = [flatten_parameters(one.parameters) for one in segments]
    changed = [
        name
        for name in source.searched
        if len({repr(one.get(name)) for one in own}) > 1
    ]  # fmt: skip
    for record in source.trials:
        for exchange in record.exchanges:
            old, new = map(flatten_parameters, (exchange.replaced, exchange.parameters))
            changed += [name for name in source.searched if old.get(name) != new.get(name)]
    return list(dict.fromkeys(changed))


def _draw_lanes(
    source: PlotSource,
    trials: Sequence[TrialRecord],
    lanes: dict[str, float],
    segments: Sequence[Segment],
) -> Panel:
    nan = math.nan
    x: list[float] = []
    y: list[float] = []
    for one in trials:
        x += [0.0, float(one.env_steps or 0), nan]
        y += [lanes[one.trial_id]] * 2 + [nan]
    strokes_x: list[float] = []
    strokes_y: list[float] = []
    copies: list[tuple[float, float, str]] = []
    for exchange in list_exchanges(source.results):
        if exchange.donor not in lanes or exchange.trial_id not in lanes:
            continue
        ends = float(exchange.donor_env_steps), float(exchange.env_steps)
        strokes_x += [*ends, nan]
        strokes_y += [lanes[exchange.donor], lanes[exchange.trial_id], nan]
        told = f"{exchange.trial_id} copied {exchange.donor}: {exchange.reason}"
        copies.append((ends[1], lanes[exchange.trial_id], told))
    marks: list[Mark] = [
        Line(x=x, y=y, name="", colour=MUTED, width=1.2, opacity=0.6),
        Line(x=strokes_x, y=strokes_y, name="copied", colour=PALETTE[1], width=1.0, opacity=0.8),
        Points(
            x=[one[0] for one in copies],
            y=[one[1] for one in copies],
            name="who copied",
            colour=PALETTE[1],
            symbol="triangle",
            size=6.0 if len(copies) <= 100 else 3.5,
            labels=[one[2] for one in copies],
        ),
    ]
    marks += _draw_ancestry(source, lanes, segments)
    short = len(trials) <= 40
    return Panel(
        title="who copied whom",
        x=Axis(title="env steps per replica"),
        y=Axis(
            title="trial",
            ticks=categories([one.trial_id for one in trials]),
            limits=(-0.8, len(trials) - 0.2),
            is_reversed=True,
        ),
        marks=tuple(marks) if short or copies else tuple(marks[:2]),
    )


def _draw_ancestry(
    source: PlotSource, lanes: dict[str, float], segments: Sequence[Segment]
) -> list[Mark]:
    if not segments:
        return []
    record = source.results.trial(segments[-1].trial_id)
    ends = [float(one.env_steps) for one in segments[1:]] + [float(record.env_steps or 0)]
    x: list[float] = []
    y: list[float] = []
    for segment, end in zip(segments, ends, strict=True):
        if segment.trial_id in lanes:
            x += [float(segment.env_steps), end]
            y += [lanes[segment.trial_id]] * 2
    told = describe_trial(record, "the champion's weights")
    return [Line(x=x, y=y, name="champion's weights", colour=BEST, width=3.0, labels=[told])]


def _draw_values(
    source: PlotSource,
    trials: Sequence[TrialRecord],
    parameter: Parameter,
    segments: Sequence[Segment],
) -> Panel:
    x: list[float] = []
    y: list[float] = []
    for record in trials:
        for steps, value in value_steps(record, parameter.name):
            x.append(steps)
            y.append(parameter.place(value) if value is not None else math.nan)
        x.append(math.nan)
        y.append(math.nan)
    marks: list[Mark] = [
        Line(
            x=x,
            y=y,
            name="each trial",
            colour=MUTED,
            width=0.9,
            opacity=0.6 if len(trials) <= 60 else 0.3,
            is_steps=True,
        )
    ]
    if segments:
        last = source.results.trial(segments[-1].trial_id)
        values = [
            (float(one.env_steps), flatten_parameters(one.parameters).get(parameter.name))
            for one in segments
        ]
        values.append((float(last.env_steps or 0), values[-1][1]))
        marks.append(
            Line(
                x=[steps for steps, _ in values],
                y=[math.nan if one is None else parameter.place(one) for _, one in values],
                name="champion's weights",
                colour=BEST,
                width=3.0,
                is_steps=True,
                labels=[f"{show_value(one)} from {steps:,.0f}" for steps, one in values],
            )
        )
    axis = parameter.axis
    limits = axis.limits if parameter.is_number else (-0.5, parameter.high + 0.5)
    return Panel(
        title=parameter.label,
        x=Axis(title="env steps per replica"),
        y=Axis(title=parameter.label, is_log=axis.is_log, ticks=axis.ticks, limits=limits),
        marks=tuple(marks),
    )
