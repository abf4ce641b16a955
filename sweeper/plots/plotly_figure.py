"""A `Chart` as a plotly figure, for notebooks and pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sweeper.plots.chart import (
    Axis,
    Chart,
    Panel,
    ParallelAxes,
    Points,
    Rule,
)
from sweeper.plots.plotly_marks import Traces, escape, rule_shape
from sweeper.plots.texts import wrap

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["THEMES", "describe_plotly", "to_html", "to_json", "to_plotly"]

# By theme: text, grid, background of what a pointer shows. ``neutral`` has colours that can be
# read on white and on black.
THEMES: Mapping[str, tuple[str, str, str]] = {
    "neutral": ("#7a7a7a", "rgba(128,128,128,0.22)", "#404040"),
    "light": ("#2b2b2b", "rgba(0,0,0,0.10)", "#404040"),
    "dark": ("#dddddd", "rgba(255,255,255,0.14)", "#202020"),
}
_MAX_SVG = 2_000  # points drawn as SVG; more are drawn by WebGL, so that the page stays responsive
_MAX_TICKS = 45
_LINE_PX, _CHARACTERS = 17, 112  # of the notes
_LETTER_PX, _ANGLE = 6.6, 25  # of the texts of ticks


def to_plotly(chart: Chart, *, theme: str = "neutral") -> go.Figure:
    """Draw a chart with plotly.

    Args:
        chart: what to show.
        theme: a key of `THEMES`: which colours text and grid have. The background is transparent.

    Returns:
        A figure as wide as its place, at the chart's height.
    """
    import plotly.graph_objects as go

    return go.Figure(describe_plotly(chart, theme=theme))


def describe_plotly(chart: Chart, *, theme: str = "neutral") -> dict[str, Any]:
    """The same as ``data`` and ``layout``, without plotly, whose import and checks take their time.

    Args:
        chart: as in `to_plotly`.
        theme: the same.
    """
    return _Drawing(chart, theme).draw()


def to_html(chart: Chart) -> str:
    """A chart as a piece of a page that needs nothing else: plotly's script is part of it."""
    options = {"responsive": True, "displaylogo": False}
    text = to_plotly(chart).to_html(
        full_html=False, include_plotlyjs=True, include_mathjax=False, config=options
    )
    return str(text)


def to_json(chart: Chart) -> str:
    """A chart as plotly's JSON."""
    return str(to_plotly(chart).to_json())


class _Drawing:
    """One figure in the making."""

    def __init__(self, chart: Chart, theme: str) -> None:
        self.chart = chart
        self.text, self.grid, self.pointer = THEMES[theme]
        self.traces: list[dict[str, Any]] = []
        self.shapes: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.axes: dict[str, Any] = {}
        points = [one for panel in chart.panels for one in panel.marks if isinstance(one, Points)]
        is_many = sum(len(one.x) for one in points) > _MAX_SVG
        self.marks = Traces(self.text, is_webgl=is_many)
        # How far down the tilted texts of ticks reach; plotly would put the legend over them.
        self.tilt = max((self._tilt(panel.x) for panel in chart.panels), default=0.0)

    def draw(self) -> dict[str, Any]:
        header = self._header()
        for number, panel in enumerate(self.chart.panels):
            self._draw_panel(number, panel)
        if self.chart.missing is not None:
            self._say_missing(self.chart.missing)
        legend = sum(
            math.ceil((len(name) + 8) / 5) for name in self.marks.named
        )  # in fifths of a word
        legend_rows = 0 if not self.marks.named else max(1, math.ceil(legend / 26))
        is_parallel = any(one["type"] == "parcoords" for one in self.traces)
        top = 44 + _LINE_PX * header.count("<br>") + (24 if header else 0)
        top += 54 if is_parallel else 22 if any(one.title for one in self.chart.panels) else 0
        bottom = 62 + self.tilt + 22 * legend_rows if self.chart.panels else 20
        height = self.chart.height + top - 60 + 22 * legend_rows + self.tilt * self.chart.rows
        return {
            "data": self.traces,
            "layout": {
                "template": {},  # None would be seven kB of plotly's own
                "title": {
                    "text": f"<b>{escape(self.chart.title)}</b>",
                    "subtitle": {"text": header, "font": {"size": 12, "color": self.text}},
                    "x": 0.0,
                    "xref": "paper",
                    "xanchor": "left",
                    "y": 1.0,
                    "yref": "container",
                    "yanchor": "top",
                    "pad": {"t": 12, "l": 0},
                    "font": {"size": 16, "color": self.text},
                },
                "font": {"color": self.text, "size": 12},
                "paper_bgcolor": "rgba(0,0,0,0)",
                "plot_bgcolor": "rgba(0,0,0,0)",
                "height": height,
                "margin": {"l": self._left(), "r": 30, "t": top, "b": bottom},
                "hoverlabel": {
                    "bgcolor": self.pointer,
                    "font": {"color": "#ffffff"},
                    "align": "left",
                },
                "barmode": "overlay",
                "hovermode": "closest",
                "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": self.text},
                "showlegend": bool(self.marks.named),
                "legend": {
                    "orientation": "h",
                    "x": 0,
                    "xanchor": "left",
                    "y": -((46 + self.tilt) / max(80, height - top - bottom)),
                    "yanchor": "top",
                    "font": {"color": self.text},
                    "itemsizing": "constant",
                    "tracegroupgap": 0,
                },
                "shapes": self.shapes,
                "annotations": self.annotations,
                **self.axes,
            },
        }

    def _tilt(self, axis: Axis) -> float:
        """How far down the texts of a horizontal axis reach if they must be tilted; else 0."""
        longest = max((len(text) for _, text in axis.ticks), default=0)
        is_wide = len(axis.ticks) * (longest + 1) * _LETTER_PX > 800 / self.chart.columns
        return longest * _LETTER_PX * math.sin(math.radians(_ANGLE)) if is_wide else 0.0

    def _left(self) -> float:
        """The left margin: parallel axes do not make room for their texts themselves."""
        marks = [mark for panel in self.chart.panels for mark in panel.marks]
        texts = [text for one in marks if isinstance(one, ParallelAxes)
                 for _, text in one.axes[0].ticks]  # fmt: skip
        return max([70.0, *(_LETTER_PX * len(text) + 16 for text in texts)])

    def _header(self) -> str:
        """The subtitle with the notes below."""
        lines = [line for text in (self.chart.subtitle, *self.chart.notes) if text
                 for line in wrap(text, _CHARACTERS)]  # fmt: skip
        return "<br>".join(escape(line) for line in lines)

    def _say_missing(self, why: str) -> None:
        self.axes = {"xaxis": {"visible": False}, "yaxis": {"visible": False}}
        self.annotations.append(
            {
                "text": "<br>".join(escape(line) for line in wrap(why, 90)),
                "x": 0.5,
                "y": 0.5,
                "xref": "paper",
                "yref": "paper",
                "showarrow": False,
                "font": {"size": 14, "color": self.text},
            }
        )

    def _draw_panel(self, number: int, panel: Panel) -> None:
        if any(isinstance(one, ParallelAxes) for one in panel.marks):
            self.traces += [trace for one in panel.marks for trace in self.marks.draw(one)]
            return
        suffix = "" if number == 0 else str(number + 1)
        columns, rows = self.chart.columns, self.chart.rows
        column, row = number % columns, number // columns
        gap_x = 0.0 if columns == 1 else (0.035 if self.chart.shares_y else 0.09)
        whole = self.chart.height + self.tilt * rows
        gap_y = 0.0 if rows == 1 else min(0.6 / rows, (95 + self.tilt) / whole)
        width, height = (1 - gap_x * (columns - 1)) / columns, (1 - gap_y * (rows - 1)) / rows
        left, bottom = column * (width + gap_x), 1 - (row + 1) * height - row * gap_y
        hides_y = self.chart.shares_y and column > 0
        self.axes[f"xaxis{suffix}"] = {
            **self._axis(panel.x, width=110 // columns),
            **({"tickangle": _ANGLE} if self._tilt(panel.x) else {}),
            "domain": [left, min(1.0, left + width)],
            "anchor": f"y{suffix}",
        }
        self.axes[f"yaxis{suffix}"] = {
            **self._axis(panel.y, hides_ticks=hides_y),
            "domain": [max(0.0, bottom), min(1.0, bottom + height)],
            "anchor": f"x{suffix}",
            **({"matches": "y"} if self.chart.shares_y and number else {}),
        }
        if panel.title:
            self.annotations.append(
                {
                    "text": f"<b>{escape(panel.title)}</b>",
                    "x": left + width / 2,
                    "y": min(1.0, bottom + height),
                    "xref": "paper",
                    "yref": "paper",
                    "xanchor": "center",
                    "yanchor": "bottom",
                    "showarrow": False,
                    "font": {"size": 12, "color": self.text},
                }
            )
        where = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        for mark in panel.marks:
            self.traces += [{**trace, **where} for trace in self.marks.draw(mark)]
            if isinstance(mark, Rule):
                self.shapes.append(rule_shape(mark, suffix))

    def _axis(self, axis: Axis, *, width: int = 48, hides_ticks: bool = False) -> dict[str, Any]:
        made: dict[str, Any] = {
            "title": {
                "text": "" if hides_ticks else "<br>".join(map(escape, wrap(axis.title, width))),
                "standoff": 8,
            },
            "gridcolor": self.grid,
            "linecolor": self.grid,
            "tickcolor": self.grid,
            "zeroline": False,
            "showline": True,
            "automargin": True,
            "type": "log" if axis.is_log else "linear",
            "showticklabels": not hides_ticks,
        }
        if axis.is_log:
            made |= {"dtick": 1, "exponentformat": "power"} if _is_wide(axis) else {}
        if axis.ticks:
            step = max(1, math.ceil(len(axis.ticks) / _MAX_TICKS))
            shown = axis.ticks[::step]
            made |= {
                "tickmode": "array",
                "tickvals": [place for place, _ in shown],
                "ticktext": [escape(text) for _, text in shown],
            }
        limits = axis.limits
        if limits is not None:
            ends = [math.log10(one) if axis.is_log else one for one in limits]
            made["range"] = ends[::-1] if axis.is_reversed else ends
        elif axis.is_reversed:
            made["autorange"] = "reversed"
        return made


def _is_wide(axis: Axis) -> bool:
    return axis.limits is not None and axis.limits[1] / axis.limits[0] > 30
