"""Aggregate curves: learning curves averaged over the trials that share a value."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.formatting import count_noun, format_number
from sweeper.hints import show
from sweeper.metrics import canonical_metric
from sweeper.plots.chart import Axis, Chart, Line, Mark, Panel, missing
from sweeper.plots.colours import colour_on_scale, series_style
from sweeper.plots.curves import (
    CUT_BANDS,
    Bundle,
    ReplicaCurve,
    average,
    choose_steps,
    frame_values,
    is_beyond,
    read_bundle,
    read_mean,
)
from sweeper.plots.options import check_number
from sweeper.plots.parameters import describe_parameter, most_telling
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import label_parameters, metric_title, shorten, show_value, steps_title
from sweeper.plots.thinning import keep_extremes
from sweeper.results.records import TrialRecord
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState

__all__ = ["Group", "draw", "group_trials"]

TITLE = "Aggregate learning curves"
CONFIGURATION = "configuration"
_MAX_GROUPS, _MAX_POINTS = 12, 200


@dataclass(frozen=True)
class Group:
    """Trials that share a value, or a range of values.

    Attributes:
        name: for the legend.
        trials: in their order.
        place: on the scale of the values, 0 to 1; None where values have no order.
    """

    name: str
    trials: tuple[TrialRecord, ...]
    place: float | None = None


def draw(
    source: PlotSource,
    *,
    metric: str | None = None,
    by: str | None = None,
    bins: int = 4,
) -> Chart:
    """Learning curves, averaged by a parameter's value or by configuration.

    Args:
        source: the run.
        metric: whose curves; by default the run's.
        by: a searched parameter, or ``configuration``; by default the parameter that scores
            differ most by.
        bins: into how many groups of about equal size numbers are parted, at most 12.

    Raises:
        UserError: an unknown metric or parameter.
    """
    check_number("bins", bins, 1, _MAX_GROUPS)
    name = source.objective.metric if metric is None else canonical_metric(metric)
    if metric is not None:
        source.check_metric(name)
    if by is not None and by != CONFIGURATION:
        by = source.pick_parameters([by])[0]
    elif by is None:
        found = most_telling(source, 1)
        by = found[0] if found else CONFIGURATION
    trials = [one for one in source.trials if one.reports]
    if not trials:
        why = source.empty or "No trial has a report."
        return missing(TITLE, why)
    steps, notes = choose_steps(trials, name)
    bundles = {one.trial_id: read_bundle(one, name, steps) for one in trials}
    groups, left_out = group_trials(source, trials, by, bins)
    marks: list[Mark] = []
    for number, group in enumerate(groups):
        marks += _draw_group(group, number, bundles)
    if not marks:
        return missing(TITLE, f"No trial reported a finite value of {shorten(name, 60)}.")
    limits = frame_values(curve.y for one in bundles.values() for curve in one.curves)
    bands = [(np.asarray(one.band[0]), np.asarray(one.band[1]))
             for one in marks if isinstance(one, Line) and one.band]  # fmt: skip
    if any(is_beyond(band, limits) for band in bands):
        notes += (CUT_BANDS,)
    if left_out:
        notes += (left_out,)
    if any(isinstance(one, Line) and one.dash != "solid" for one in marks):
        notes += (
            "Where trials of a group have stopped, the line goes on dashed over the others: if "
            "they were pruned, those are the better ones.",
        )
    if any(one.state is TrialState.PRUNED for one in trials) and by != CONFIGURATION:
        notes += ("Pruned trials count as far as they got.",)
    what = "configuration" if by == CONFIGURATION else shorten(by)
    return Chart(
        title=f"{TITLE} by {what}",
        subtitle="Mean over the trials of a group; band: 95 % interval of that mean (Student's t) "
        "over trials, each the mean of its replicas."
        if by != CONFIGURATION
        else "Mean over all replicas of a configuration; band: 95 % interval (Student's t).",
        panels=(
            Panel(
                x=Axis(title=steps_title(steps)),
                y=Axis(title=metric_title(name), limits=limits),
                marks=tuple(marks),
            ),
        ),
        notes=notes,
    )


def group_trials(
    source: PlotSource, trials: Sequence[TrialRecord], by: str, bins: int
) -> tuple[list[Group], str]:
    """The groups in order, and a note on who is in none.

    Args:
        source: the run.
        trials: to be grouped.
        by: a searched parameter's dotted name, or ``configuration``.
        bins: of numbers, how many groups of about equal size.
    """
    if by == CONFIGURATION:
        return _group_configurations(source, trials)
    found = [(one, flatten_parameters(one.parameters)) for one in trials]
    having = [(one, flat[by]) for one, flat in found if by in flat]
    without = len(trials) - len(having)
    left_out = f"{count_noun(without, 'trial')} without {shorten(by)} left out." if without else ""
    parameter = describe_parameter(source, by)
    if parameter is not None and parameter.is_number:
        having = [(one, value) for one, value in having if parameter.is_placed(value)]
        numbers = np.array([float(value) for _, value in having], dtype=np.float64)
        distinct = np.unique(numbers)
        if len(distinct) > bins:
            return _bin(having, numbers, bins, label_parameters([by])[by]), left_out
    values: dict[str, list[TrialRecord]] = {}
    for one, value in having:
        values.setdefault(show(value), []).append(one)
    keys = list(values)
    if parameter is not None and parameter.is_number:
        keys.sort(key=float)
    rest = len(keys) - _MAX_GROUPS
    if rest > 0:
        keys = sorted(keys, key=lambda key: -len(values[key]))[:_MAX_GROUPS]
        left_out += f" The {rest} rarest values are left out."
    short = label_parameters([by])[by]
    return [
        Group(f"{short} {show_value(_value_of(values[key][0], by))}", tuple(values[key]))
        for key in keys
    ], left_out.strip()


def _value_of(record: TrialRecord, name: str) -> object:
    return flatten_parameters(record.parameters)[name]


def _group_configurations(
    source: PlotSource, trials: Sequence[TrialRecord]
) -> tuple[list[Group], str]:
    same: dict[str, list[TrialRecord]] = {}
    for one in trials:
        same.setdefault(show_all(one), []).append(one)
    order = {one.trial_id: place for place, one in enumerate(source.ranked)}
    groups = sorted(same.values(), key=lambda group: min(order[one.trial_id] for one in group))
    rest = len(groups) - _MAX_GROUPS
    note = f"Of {len(groups)} configurations the best {_MAX_GROUPS} are drawn." if rest > 0 else ""
    named = [
        Group(", ".join(one.trial_id for one in group[:4]) + ("…" if len(group) > 4 else ""),
              tuple(group))
        for group in groups[:_MAX_GROUPS]
    ]  # fmt: skip
    return named, note


def show_all(record: TrialRecord) -> str:
    """A configuration as a text that is the same for equal ones."""
    return repr(sorted((name, repr(one)) for name, one in
                       flatten_parameters(record.configuration).items()))  # fmt: skip


def _bin(
    having: Sequence[tuple[TrialRecord, object]],
    numbers: np.ndarray[tuple[int], np.dtype[np.float64]],
    bins: int,
    name: str,
) -> list[Group]:
    """Groups of about equal size; equal values are never parted."""
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, bins + 1), method="nearest"))
    place = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(edges) - 2)
    groups = []
    for number in range(len(edges) - 1):
        inside = [one for (one, _), at in zip(having, place, strict=True) if at == number]
        if not inside:
            continue
        values = numbers[place == number]
        ends = format_number(float(values.min())), format_number(float(values.max()))
        words = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        share = number / max(1, len(edges) - 2)
        groups.append(Group(f"{name} {words}", tuple(inside), share))
    return groups


def _draw_group(group: Group, number: int, read: Mapping[str, Bundle]) -> Iterator[Mark]:
    bundles = [read[one.trial_id] for one in group.trials]
    curves: list[ReplicaCurve] = []
    if len(group.trials) == 1 or (group.place is None and _is_one_configuration(group)):
        curves = [curve for one in bundles for curve in one.curves]
    else:
        means = [mean for one in bundles if (mean := read_mean(one)) is not None]
        curves = [ReplicaCurve(None, one.x, one.y) for one in means]
    curves = [one for one in curves if len(one.x)]
    mean = average(curves)
    colour, _ = series_style(number)
    if group.place is not None:
        colour = colour_on_scale(group.place)
    name = f"{group.name} ({count_noun(len(group.trials), 'trial')})"
    if mean is not None:
        kept = keep_extremes(mean.y, _MAX_POINTS)
        yield Line(
            x=mean.x[kept],
            y=mean.y[kept],
            name=name,
            colour=colour,
            band=(mean.low[kept], mean.high[kept]),
            labels=[
                f"{group.name}: {format_number(float(mean.y[place]))} at {mean.x[place]:,.0f}, "
                f"{count_noun(mean.number, 'curve')}"
                for place in kept
            ],
        )
    yield from _go_on(curves, mean.x[-1] if mean is not None else -math.inf, name, colour,
                      is_named=mean is None)  # fmt: skip


def _go_on(
    curves: Sequence[ReplicaCurve], begin: float, name: str, colour: str, *, is_named: bool
) -> Iterator[Mark]:
    """The mean over those that go on, where others of the group have stopped."""
    x = np.unique(np.concatenate([one.x for one in curves])) if curves else np.empty(0)
    x = x[x >= begin]
    if len(x) < 2:
        return
    table = np.stack([one.at(x) for one in curves])
    counts = np.isfinite(table).sum(axis=0)
    y = np.where(counts > 0, np.nansum(table, axis=0) / np.maximum(counts, 1), np.nan)
    kept = keep_extremes(y, _MAX_POINTS)
    yield Line(
        x=x[kept],
        y=y[kept],
        name=name if is_named else "",
        group=name,
        colour=colour,
        dash="dash",
        width=1.3,
        labels=[
            f"{name}: {format_number(float(y[place]))} at {x[place]:,.0f}, "
            f"{count_noun(int(counts[place]), 'curve')} of {len(curves)}"
            for place in kept
        ],
    )


def _is_one_configuration(group: Group) -> bool:
    return len({show_all(one) for one in group.trials}) == 1
