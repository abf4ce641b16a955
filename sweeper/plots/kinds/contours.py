"""Contours: scores over two searched parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sweeper.errors import UserError
from sweeper.formatting import count_noun
from sweeper.hints import show
from sweeper.plots.chart import Axis, Chart, Heat, Mark, Panel, Points, Scale, missing
from sweeper.plots.colours import STATE_LOOKS
from sweeper.plots.parameters import Parameter, describe_parameters, most_telling
from sweeper.plots.scores import describe_score, score_scale, spread_out
from sweeper.plots.source import PlotSource, Scored
from sweeper.plots.texts import shorten
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState

__all__ = ["draw", "smooth"]

TITLE = "Scores over two parameters"
_CELLS = 32  # on each side of a range
_WIDTH = 0.1  # of the kernel, as a share of the range, with 100 trials
_FURTHEST = 1.5  # widths from the nearest trial; beyond, nothing is known
_MIN_TRIALS = 5

Array = NDArray[np.float64]


def draw(source: PlotSource, *, params: Sequence[str] = ()) -> Chart:
    """Scores over two searched parameters: each trial, and a smooth surface.

    Args:
        source: the run.
        params: two of them; by default those by which scores differ most.

    Raises:
        UserError: an unknown parameter, or not two.
    """
    names = source.pick_parameters(params)
    if params and len(names) != 2:
        raise UserError(f"contours takes two parameters; found {show(list(params))}")
    if source.empty:
        return missing(TITLE, source.empty)
    names = names or most_telling(source, 2)
    found = describe_parameters(source, names)
    if len(found) < 2:
        varied = f"only {found[0].label} varies" if found else "nothing varies"
        return missing(TITLE, f"It takes two parameters with several values; {varied}.")
    across, up = found
    kept = [one for one in source.scored if _has_place(one, across) and _has_place(one, up)]
    if not kept:
        why = f"No trial with a score has both {across.label} and {up.label}."
        return missing(TITLE, why)
    scale = score_scale([one.score for one in kept], source.objective)
    whole = [one for one in kept if one.record.state is TrialState.TERMINATED]
    used = whole if len(whole) >= _MIN_TRIALS else kept
    marks: list[Mark] = []
    notes: tuple[str, ...] = ()
    if len(used) >= _MIN_TRIALS:
        x_edges, y_edges = _edges(across), _edges(up)
        table = smooth(
            _shares(used, across), _shares(used, up), [one.score for one in used], across, up
        )
        marks.append(Heat(x=x_edges, y=y_edges, values=[list(row) for row in table], scale=scale))
        if len(used) < len(kept):
            notes += ("The surface is of finished trials only.",)
    else:
        notes += (f"No surface: {_MIN_TRIALS} trials are the least.",)
    marks += _draw_trials(kept, across, up, scale)
    left_out = len(source.trials) - len(kept)
    if left_out:
        notes += (f"{count_noun(left_out, 'trial')} without a score or one of the two left out.",)
    return Chart(
        title=f"{TITLE}: {shorten(across.label, 20)} and {shorten(up.label, 20)}",
        subtitle="Each mark is a trial; the lighter, the better. The surface is a mean of the "
        "trials around (Gaussian kernel); where no trial is near, it is empty.",
        panels=(Panel(x=_axis(across), y=_axis(up), marks=tuple(marks)),),
        notes=notes,
        height=560,
    )


def smooth(
    x: Sequence[float],
    y: Sequence[float],
    scores: Sequence[float],
    across: Parameter,
    up: Parameter,
) -> Array:
    """The surface: at each cell the mean of the trials' scores, weighted by how near they are.

    Choices are never mixed: there only trials of the same choice count.

    Args:
        x: float[trials], 0 to 1 along the first parameter's axis.
        y: float[trials], the same of the second.
        scores: float[trials].
        across: the first parameter.
        up: the second.

    Returns:
        float64[rows, columns]; NaN where no trial is near.
    """
    width = _WIDTH * max(0.6, min(2.0, (100 / len(scores)) ** (1 / 6)))
    near_x = _distances(np.asarray(x), across, width)  # [columns, trials]
    near_y = _distances(np.asarray(y), up, width)  # [rows, trials]
    squares = near_y[:, None, :] + near_x[None, :, :]
    weights = np.exp(-0.5 * squares)
    total = weights.sum(axis=2)
    with np.errstate(invalid="ignore", divide="ignore"):
        table = (weights * np.asarray(scores)).sum(axis=2) / total
    return np.where(squares.min(axis=2) <= _FURTHEST**2, table, np.nan)


def _distances(shares: Array, parameter: Parameter, width: float) -> Array:
    """Squares of how many widths each cell lies from each trial."""
    if parameter.is_number:
        centres = (np.arange(_CELLS) + 0.5) / _CELLS
        return np.asarray(((centres[:, None] - shares[None, :]) / width) ** 2)
    centres = np.arange(len(parameter.keys)) / max(1, len(parameter.keys) - 1)
    return np.where(np.abs(centres[:, None] - shares[None, :]) < 1e-9, 0.0, np.inf)


def _edges(parameter: Parameter) -> list[float]:
    if parameter.is_number:
        return [parameter.at(place / _CELLS) for place in range(_CELLS + 1)]
    return [place - 0.5 for place in range(len(parameter.keys) + 1)]


def _axis(parameter: Parameter) -> Axis:
    axis = parameter.axis
    limits = axis.limits if parameter.is_number else (-0.5, parameter.high + 0.5)
    return Axis(title=axis.title, is_log=axis.is_log, ticks=axis.ticks, limits=limits)


def _place(one: Scored, parameter: Parameter) -> float:
    return parameter.place(flatten_parameters(one.record.parameters)[parameter.name])


def _has_place(one: Scored, parameter: Parameter) -> bool:
    flat = flatten_parameters(one.record.parameters)
    return parameter.name in flat and parameter.is_placed(flat[parameter.name])


def _shares(scored: Sequence[Scored], parameter: Parameter) -> list[float]:
    return [parameter.share(_place(one, parameter)) for one in scored]


def _draw_trials(
    kept: Sequence[Scored], across: Parameter, up: Parameter, scale: Scale
) -> list[Mark]:

    size = 8.0 if len(kept) <= 60 else 6.0 if len(kept) <= 300 else 4.0
    marks: list[Mark] = []
    for state, look in STATE_LOOKS.items():
        part = [one for one in kept if one.record.state is state]
        if not part:
            continue
        places = [[_place(one, parameter) for one in part] for parameter in (across, up)]
        for number, parameter in enumerate((across, up)):
            if not parameter.is_number:
                places[number] = spread_out(places[number], 0.5 if number == 0 else 0.36)
        marks.append(
            Points(
                x=places[0],
                y=places[1],
                name=look.word,
                colour=look.colour,
                symbol=look.symbol,
                is_open=look.is_open,
                size=size,
                values=[one.score for one in part],
                scale=scale,
                labels=[describe_score(one) for one in part],
            )
        )
    return marks
