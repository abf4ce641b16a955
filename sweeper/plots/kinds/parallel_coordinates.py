"""Parallel coordinates: each trial is a line across its parameters' values and its score."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweeper.formatting import count_noun, format_number
from sweeper.plots.chart import Chart, Panel, ParallelAxes, ParallelAxis, missing
from sweeper.plots.colours import STATE_LOOKS
from sweeper.plots.parameters import Parameter, describe_parameters, most_telling
from sweeper.plots.scores import apart, describe_score, score_scale
from sweeper.plots.source import PlotSource, Scored
from sweeper.plots.texts import metric_title
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState

__all__ = ["draw"]

TITLE = "Parallel coordinates"
_MAX_AXES = 9
_UNSET, _FLOOR = 0.0, 0.1  # where a parameter that does not apply lies, and where values begin


def draw(source: PlotSource, *, params: Sequence[str] = ()) -> Chart:
    """All searched parameters and the score, a line for each trial.

    Args:
        source: the run.
        params: which parameters, in this order; by default all, or the nine by which scores differ
            most.

    Raises:
        UserError: an unknown parameter.
    """
    names = source.pick_parameters(params)
    if source.empty:
        return missing(TITLE, source.empty)
    notes: tuple[str, ...] = ()
    if not names and len(source.searched) > _MAX_AXES:
        kept = set(most_telling(source, _MAX_AXES))
        names = [name for name in source.searched if name in kept]
        notes += (
            f"Of {len(source.searched)} parameters the {len(names)} by which scores differ most.",
        )
    parameters = describe_parameters(source, names)
    if not parameters:
        why = "All trials have the same values." if source.searched else "Nothing was searched."
        return missing(TITLE, why)
    scored = source.scored
    without = len(source.trials) - len(scored)
    if without:
        notes += (f"{count_noun(without, 'trial')} without a score left out.",)
    if any(one.record.exchanges for one in scored):
        notes += ("Trials of a population have the values that they ended with.",)
    axes = [_make_axis(one, scored) for one in parameters]
    states = [one.record.state for one in scored]
    if len(set(states)) > 1:
        axes.append(_make_states(states))
    axes.append(_make_scores(source, [one.score for one in scored]))
    scale = score_scale([one.score for one in scored], source.objective)
    return Chart(
        title=f"{TITLE} of {count_noun(len(scored), 'trial')}",
        subtitle="Each line is a trial, from its parameters to its score; the lighter, the better. "
        "In a notebook or a page, drag along an axis to pick out trials.",
        panels=(
            Panel(
                marks=(
                    ParallelAxes(
                        axes=tuple(axes),
                        values=[one.score for one in scored],
                        scale=scale,
                        labels=[describe_score(one) for one in scored],
                        dashed=[one is TrialState.PRUNED for one in states],
                    ),
                )
            ),
        ),
        notes=notes,
        height=480,
    )


def _make_axis(parameter: Parameter, scored: Sequence[Scored]) -> ParallelAxis:
    places = []
    for one in scored:
        flat = flatten_parameters(one.record.parameters)
        place = parameter.place(flat[parameter.name]) if parameter.name in flat else math.nan
        places.append(place)
    is_whole = not any(map(math.isnan, places))
    floor = 0.0 if is_whole else _FLOOR

    def lift(share: float) -> float:
        return floor + (1 - floor) * share

    ticks = tuple((lift(share), text) for share, text in parameter.ticks)
    if not is_whole:
        ticks = ((_UNSET, "not set"), *ticks)
    positions = [_UNSET if math.isnan(one) else lift(parameter.share(one)) for one in places]
    return ParallelAxis(title=parameter.label, positions=positions, ticks=ticks)


def _make_states(states: Sequence[TrialState]) -> ParallelAxis:
    found = [state for state in STATE_LOOKS if state in states]
    shares = {state: place / (len(found) - 1) for place, state in enumerate(found)}
    return ParallelAxis(
        title="state",
        positions=[shares[state] for state in states],
        ticks=tuple((shares[state], STATE_LOOKS[state].word) for state in found),
    )


def _make_scores(source: PlotSource, scores: Sequence[float]) -> ParallelAxis:
    low, high = apart(min(scores), max(scores))
    ticks = tuple(
        (share, format_number(float(f"{low + share * (high - low):.3g}")))
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    positions = [(one - low) / (high - low) for one in scores]
    return ParallelAxis(
        title=metric_title(source.objective.metric), positions=positions, ticks=ticks
    )
