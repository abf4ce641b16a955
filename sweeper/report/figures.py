"""Charts as plotly's data for a page whose policy forbids WebGL's compiler and evaluated code.

The page has a caption of its own, and its colours depend on whether it is dark. So the title goes,
and numbers are short: a page holds those of a thousand trials.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sweeper.plots.chart import Chart, Line, Panel, ParallelAxes, Points
from sweeper.plots.colours import CIVIDIS, colour_on_scale
from sweeper.plots.plotly_figure import THEMES, describe_plotly
from sweeper.plots.plotly_marks import escape

__all__ = ["COLOURS", "describe_figure"]

COLOURS = {
    **dict(zip(("text", "grid", "pointer"), THEMES["neutral"], strict=True)),
    "paper": "rgba(254,254,254,0.8)",
}
"""The colours in a figure that the page's script replaces by its own."""

_TOP_PX = 30  # where the buttons of plotly appear
_DIGITS = 7
_BINS = 12  # of the colours of parallel lines
_MANY = 100  # lines, which are fainter then


def describe_figure(chart: Chart) -> dict[str, Any]:
    """``data`` and ``layout`` of a chart, in JSON types."""
    parallel = next(
        (one for panel in chart.panels for one in panel.marks if isinstance(one, ParallelAxes)),
        None,
    )
    drawn = chart if parallel is None else replace(chart, panels=(_as_lines(parallel),))
    figure = describe_plotly(drawn)
    layout = {**figure["layout"], **({} if parallel is None else _between_axes(parallel))}
    del layout["title"]
    layout["barmode"] = "overlay"  # else bars of one place are moved apart
    margin = dict(layout["margin"])
    top = _TOP_PX + (12 if any(one.title for one in chart.panels) else 0)
    layout["height"] = layout["height"] - margin["t"] + top
    layout["margin"] = {**margin, "t": top}
    if parallel is not None:
        for name, axis in _parallel_axes(parallel).items():
            layout[name] = {**layout[name], **axis}
    # WebGL needs code that is made from texts, which the page's policy forbids.
    kinds = {"scattergl": "scatter"}
    data = [{**one, "type": kinds.get(one["type"], one["type"])} for one in figure["data"]]
    return dict(_shorten({"data": data, "layout": layout}))


def _as_lines(mark: ParallelAxes) -> Panel:
    """Parallel coordinates as plain lines.

    Lines of about one colour are one line with gaps; the brightest, the best ones, are on top.
    """
    low, high = mark.scale.limits
    bins: dict[int, list[int]] = {}
    for number, value in enumerate(mark.values):
        share = (value - low) / (high - low) if high > low else 0.5
        share = 1 - share if mark.scale.is_reversed else share
        bins.setdefault(round(min(max(share, 0.0), 1.0) * (_BINS - 1)), []).append(number)
    places = [float(place) for place in range(len(mark.axes))]
    lines = [
        Line(
            x=[x for _ in members for x in (*places, math.nan)],
            y=[
                y
                for one in members
                for y in (*(axis.positions[one] for axis in mark.axes), math.nan)
            ],
            colour=colour_on_scale(place / (_BINS - 1)),
            width=1.2,
            opacity=0.75 if len(mark.values) < _MANY else 0.15 + 0.6 * place / (_BINS - 1),
        )
        for place, members in sorted(bins.items())
    ]
    # A point that can't be seen, for plotly draws the scale of points only.
    bar = Points(
        x=[0.0], y=[0.5], colour=CIVIDIS[0], opacity=0.0, size=1.0, labels=("",),
        values=[low], scale=mark.scale,
    )  # fmt: skip
    return Panel(marks=(*lines, bar))


def _between_axes(mark: ParallelAxes) -> dict[str, Any]:
    """The axes of parallel coordinates, as lines with their ticks."""
    font = {"color": COLOURS["text"], "size": 10}
    ticks = [
        {
            "x": place, "y": tick, "text": escape(text), "font": font, "showarrow": False,
            "xanchor": "right", "yanchor": "middle", "xshift": -4,
            "borderpad": 1, "bgcolor": COLOURS["paper"],
        }
        for place, axis in enumerate(mark.axes)
        for tick, text in axis.ticks
    ]  # fmt: skip
    lines = [
        {
            "type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "layer": "below",
            "line": {"color": COLOURS["text"], "width": 1},
        }
        for place in range(len(mark.axes))
    ]  # fmt: skip
    return {"annotations": ticks, "shapes": lines}


def _parallel_axes(mark: ParallelAxes) -> dict[str, dict[str, Any]]:
    number = len(mark.axes)
    still = {
        "ticks": "",
        "showgrid": False,
        "zeroline": False,
        "showline": False,
        "fixedrange": True,
    }
    return {
        "xaxis": {
            **still,
            "tickmode": "array",
            "tickvals": list(range(number)),
            "ticktext": [escape(axis.title) for axis in mark.axes],
            "range": [-0.45, number - 0.8],
        },
        "yaxis": {**still, "range": [-0.04, 1.04], "showticklabels": False},
    }


def _shorten(value: Any) -> Any:
    """The same in JSON types, its floats with 7 digits; None for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {str(key): _shorten(item) for key, item in value.items()}
    if isinstance(value, float):
        return _short(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "tolist"):
        return _shorten(value.tolist())
    return list(_each(value))


def _each(values: Any) -> Iterator[Any]:
    for item in values:
        yield _short(item) if type(item) is float else _shorten(item)


def _short(number: float) -> float | int | None:
    if not math.isfinite(number):
        return None
    short = float(f"{number:.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
