"""Learning curves: a metric against env steps, of the best trials, with a band over replicas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sweeper.formatting import count_noun, format_number
from sweeper.metrics import canonical_metric
from sweeper.plots.chart import Axis, Chart, Line, Mark, Panel, Rule, missing
from sweeper.plots.colours import MUTED, series_style
from sweeper.plots.curves import (
    BANDS,
    CUT_BANDS,
    Bundle,
    MeanCurve,
    ReplicaCurve,
    choose_steps,
    frame_values,
    is_beyond,
    reach_out,
    read_bundle,
    read_mean,
)
from sweeper.plots.options import check_choice, check_number
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import (
    label_parameters,
    metric_title,
    shorten,
    show_value,
    steps_title,
)
from sweeper.plots.thinning import join_lines, keep_extremes
from sweeper.results.records import TrialRecord
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState

__all__ = ["draw"]

TITLE = "Learning curves"
_MAX_BANDS, _ALL_BANDS = 3, 5  # of more than five trials only the first three have bands
_MAX_POINTS, _MAX_BACKGROUND, _MAX_THIN = 200, 20_000, 1_500
_STATE_WORDS = {
    TrialState.PRUNED: "pruned",
    TrialState.ERROR: "failed",
    TrialState.RUNNING: "running",
}


def draw(
    source: PlotSource,
    *,
    metric: str | None = None,
    trials: Sequence[str] = (),
    top: int = 8,
    replicas: bool = False,
    band: str = "interval",
) -> Chart:
    """A metric against env steps per replica.

    Args:
        source: the run.
        metric: whose curves; by default the run's.
        trials: ids, of either stage; by default the best ones of the search, by the run's score.
        top: how many of them, at most 18.
        replicas: draw each replica's curve, too.
        band: ``interval`` or ``range``: see `curves.average`.

    Raises:
        UserError: an unknown metric, trial or band.
    """
    check_choice("band", band, BANDS)
    check_number("top", top, 1, 18)
    name = source.objective.metric if metric is None else canonical_metric(metric)
    if metric is not None:
        source.check_metric(name)
    chosen = source.pick_trials(trials) if trials else list(source.ranked)
    steps, notes = choose_steps(chosen, name)
    bundles = [read_bundle(one, name, steps) for one in chosen]
    shown = [one for one in bundles if one.has_points]
    if not shown:
        return missing(TITLE, _explain_nothing(source, chosen, name))
    front = shown if trials else shown[:top]
    marks, thinned = _draw_behind(shown[len(front) :])
    labels = _name_trials([one.record for one in front], source)
    has_band = is_cut = False
    behind = [np.asarray(one.y) for one in marks if isinstance(one, Line)]
    limits = frame_values(behind, (curve.y for one in front for curve in one.curves))
    for number, bundle in enumerate(front):
        mean = read_mean(bundle, band)
        has_band = has_band or (mean is not None and bool(np.isfinite(mean.low).any()))
        is_banded = number < _MAX_BANDS or len(front) <= _ALL_BANDS
        if mean is not None and is_banded:
            is_cut = is_cut or is_beyond((mean.low, mean.high), limits)
        marks += _draw_trial(
            bundle, mean, number, labels[number], replicas=replicas, is_banded=is_banded
        )
    if has_band and len(front) > _ALL_BANDS:
        notes += (f"Only the first {_MAX_BANDS} have bands, which would hide each other.",)
    if source.solved_at is not None and name == source.objective.metric:
        limits, is_near = reach_out(limits, source.solved_at)
        if is_near:
            marks.append(Rule(at=source.solved_at, name="solved", colour=MUTED, dash="dot"))
        else:
            notes += (f"Solved counts {format_number(source.solved_at)}, far off the axis.",)
    if is_cut:
        notes += (CUT_BANDS,)
    left_out = len(chosen) - len(shown)
    if left_out:
        notes += (f"{count_noun(left_out, 'trial')} without a value left out.",)
    diverged = sum(curve.is_diverged for one in front for curve in one.curves)
    if diverged:
        notes += (
            f"{count_noun(diverged, 'replica')} diverged, and "
            f"{'counts' if diverged == 1 else 'count'} as the worst value of the run.",
        )
    return Chart(
        title=f"{TITLE} of {_whose(front, shown, by_name=bool(trials))}",
        subtitle=_describe(front, band, has_band=has_band, has_replicas=replicas),
        panels=(
            Panel(
                x=Axis(title=steps_title(steps)),
                y=Axis(title=metric_title(name), limits=limits),
                marks=tuple(marks),
            ),
        ),
        notes=(*notes, *thinned),
    )  # fmt: skip


def _whose(front: Sequence[Bundle], shown: Sequence[Bundle], *, by_name: bool) -> str:
    if by_name or len(front) == len(shown):
        return "all trials" if not by_name and len(front) > 1 else count_noun(len(front), "trial")
    return f"the best {len(front)} of {len(shown)} trials"


def _describe(front: Sequence[Bundle], band: str, *, has_band: bool, has_replicas: bool) -> str:
    numbers = sorted({len(one.curves) for one in front})
    runs = " or ".join(map(str, numbers[-3:]))
    if numbers == [1]:
        return "Each line is a single training run: there is no band."
    if band == "range":
        words = f"Interquartile mean over {runs} replicas; band: from the lowest to the highest."
    elif has_band:
        words = f"Mean over {runs} replicas; band: 95 % interval of the mean (Student's t)."
    else:
        words = f"Mean over {runs} replicas."
    return words + (" Thin lines: each replica." if has_replicas else "")


def _draw_behind(bundles: Sequence[Bundle]) -> tuple[list[Mark], tuple[str, ...]]:
    """All trials that are not highlighted, as one grey line with gaps."""
    if not bundles:
        return [], ()
    drawn = bundles
    notes: tuple[str, ...] = ()
    if len(bundles) > _MAX_THIN:
        places = np.linspace(0, len(bundles) - 1, _MAX_THIN).round().astype(int)
        drawn = [bundles[place] for place in places]
        notes = (f"Of the {len(bundles)} others only {_MAX_THIN} are drawn, evenly by rank.",)
    most = max(8, min(_MAX_POINTS, _MAX_BACKGROUND // len(drawn)))
    lines, is_thinned = [], False
    for bundle in drawn:
        mean = read_mean(bundle)
        if mean is None:
            continue
        kept = keep_extremes(mean.y, most)
        is_thinned = is_thinned or len(kept) < len(mean.y)
        lines.append((mean.x[kept], mean.y[kept]))
    if not lines:
        return [], notes
    if is_thinned:
        notes += (f"Grey curves are thinned to about {most} points each, extremes kept.",)
    x, y = join_lines(lines)
    name = f"the other {len(lines)}"
    opacity = 0.55 if len(lines) < 40 else 0.35 if len(lines) < 300 else 0.22
    return [Line(x=x, y=y, name=name, colour=MUTED, width=0.8, opacity=opacity)], notes


def _draw_trial(
    bundle: Bundle,
    mean: MeanCurve | None,
    number: int,
    label: str,
    *,
    replicas: bool,
    is_banded: bool,
) -> Iterator[Mark]:
    colour, dash = series_style(number)
    if replicas or mean is None:
        for place, curve in enumerate(bundle.curves):
            kept = keep_extremes(curve.y, _MAX_POINTS)
            whose = f"replica {place + 1}" if curve.seed is None else f"seed {curve.seed}"
            yield Line(
                x=curve.x[kept],
                y=curve.y[kept],
                name=label if mean is None and place == 0 else "",
                group=label,
                colour=colour,
                dash=dash,
                width=0.9,
                opacity=0.55,
                labels=_tell(bundle.record.trial_id, curve, kept, whose),
            )
    if mean is None:
        return
    kept = keep_extremes(mean.y, _MAX_POINTS)
    yield Line(
        x=mean.x[kept],
        y=mean.y[kept],
        name=label,
        colour=colour,
        dash=dash,
        band=(mean.low[kept], mean.high[kept]) if is_banded else None,
        labels=[_tell_mean(bundle.record, mean, place) for place in kept],
    )


def _tell(trial_id: str, curve: ReplicaCurve, kept: NDArray[np.intp], whose: str) -> list[str]:
    return [
        f"{trial_id}, {whose}: {format_number(float(curve.y[place]))} at {curve.x[place]:,.0f}"
        for place in kept
    ]


def _tell_mean(record: TrialRecord, mean: MeanCurve, place: int) -> str:
    text = f"{record.trial_id}: {format_number(float(mean.y[place]))} at {mean.x[place]:,.0f}"
    low, high = float(mean.low[place]), float(mean.high[place])
    if np.isfinite(low):
        text += f" ({format_number(low)} to {format_number(high)})"
    return text


def _name_trials(records: Sequence[TrialRecord], source: PlotSource) -> list[str]:
    """Ids, with the values in which the trials differ, as far as they fit."""
    names = [
        name
        for name in source.searched
        if len({repr(flatten_parameters(one.parameters).get(name)) for one in records}) > 1
    ][:3]
    short = label_parameters(names)
    labels = []
    for record in records:
        flat = flatten_parameters(record.parameters)
        values = ", ".join(
            f"{shorten(short[name], 16)} {show_value(flat[name])}" for name in names if name in flat
        )
        state = _STATE_WORDS.get(record.state, "")
        winner = source.selection is not None and source.selection.trial_id == record.trial_id
        words = ", ".join(part for part in ("champion" if winner else "", state, values) if part)
        whose = f" of {record.of}" if record.of else ""
        labels.append(f"{record.trial_id}{whose}" + (f": {words}" if words else ""))
    return labels


def _explain_nothing(source: PlotSource, chosen: Sequence[TrialRecord], metric: str) -> str:
    if not source.trials:
        return source.empty or "The run has no trials."
    reports = sum(len(one.reports) for one in chosen)
    if not reports:
        failed = sum(one.state is TrialState.ERROR for one in chosen)
        why = f"{failed} of them failed" if failed else "none has reported yet"
        return f"None of {count_noun(len(chosen), 'trial')} has a report: {why}."
    return (
        f"None of {count_noun(len(chosen), 'trial')} reported a finite value of "
        f"{shorten(metric, 60)}."
    )
