"""A `Chart` as a matplotlib figure, for image files; no pyplot, no global state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import matplotlib.ticker as mticker
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from sweeper.plots.chart import Axis, Chart, Panel, ParallelAxes, Points
from sweeper.plots.matplotlib_marks import Drawing, colour_map, escape
from sweeper.plots.texts import wrap

__all__ = ["to_matplotlib"]

_WIDTH = 9.0  # inches, of 100 pixels of the chart each
_TEXT, _GRID = "#2b2b2b", "#e3e3e3"
_CHARACTERS = 136  # of a line of notes
_MAX_TICKS = 45
_LINE = 0.175  # inches, of a line of notes
_MANY = 2_000  # points: in a vector file they are then drawn as an image


def to_matplotlib(chart: Chart) -> Figure:
    """Draw a chart with matplotlib.

    Args:
        chart: what to show.

    Returns:
        A figure on an Agg canvas, 9 inches wide, to be saved with ``savefig``.
    """
    header = _header(chart)
    top = 0.5 + _LINE * len(header)
    drawing = Drawing(is_rasterized=_count_points(chart) > _MANY)
    height = chart.height / 100 - 0.4 + top
    if chart.missing is not None:
        height = 1.6 + top
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    _write_header(figure, chart.title, header, height)
    if chart.missing is not None:
        _say_missing(figure, chart.missing, 0.5 * (height - top) / height)
        return figure
    grid = figure.subplots(
        chart.rows,
        chart.columns,
        squeeze=False,
        sharey="all" if chart.shares_y else "none",
    )
    for number, axes in enumerate(grid.flat):
        if number >= len(chart.panels):
            axes.set_visible(False)
            continue
        _draw_panel(axes, chart.panels[number], drawing, hides_y=chart.shares_y and
                    number % chart.columns > 0)  # fmt: skip
    rows = _add_legend(figure, drawing.handles)
    if rows:
        height += 0.22 * rows
        figure.set_size_inches(_WIDTH, height)
        _write_header(figure, chart.title, header, height)
    _add_colour_bar(figure, grid, drawing)
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0.005, 0.0, 0.985, 1 - top / height))  # type: ignore[call-arg]
    return figure


def _count_points(chart: Chart) -> int:
    marks = [mark for panel in chart.panels for mark in panel.marks]
    return sum(len(mark.x) for mark in marks if isinstance(mark, Points))


def _header(chart: Chart) -> list[str]:
    return [
        escape(line)
        for text in (chart.subtitle, *chart.notes)
        if text
        for line in wrap(text, _CHARACTERS)
    ]


def _write_header(figure: Figure, title: str, lines: list[str], height: float) -> None:
    for text in figure.texts[:]:
        text.remove()
    figure.text(
        0.012, 1 - 0.1 / height, escape(title), fontsize=13, weight="bold", color=_TEXT, va="top"
    )
    for number, line in enumerate(lines):
        y = 1 - (0.38 + _LINE * number) / height
        figure.text(0.012, y, line, fontsize=8.5, color="#555555", va="top")


def _say_missing(figure: Figure, why: str, y: float) -> None:
    text = "\n".join(escape(line) for line in wrap(why, 90))
    figure.text(0.5, y, text, fontsize=11, color=_TEXT, ha="center", va="center")


def _draw_panel(axes: Axes, panel: Panel, drawing: Drawing, *, hides_y: bool) -> None:
    is_parallel = any(isinstance(one, ParallelAxes) for one in panel.marks)
    if panel.title:
        axes.set_title(escape(panel.title), fontsize=9.5, color=_TEXT)
    if panel.x.is_log:
        axes.set_xscale("log")
    if panel.y.is_log:
        axes.set_yscale("log")
    for mark in panel.marks:
        drawing.draw(axes, mark)
    if is_parallel:
        return
    _dress(axes)
    _set_axis(axes, "x", panel.x)
    if hides_y:
        axes.tick_params(axis="y", labelleft=False)
        return
    _set_axis(axes, "y", panel.y)


def _dress(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=_GRID, linewidth=0.7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#b0b0b0")
    axes.tick_params(colors=_TEXT, labelsize=8.5, color="#b0b0b0", which="both")


def _set_axis(axes: Axes, which: str, axis: Axis) -> None:
    lines = wrap(axis.title, 44 if which == "y" else 80)
    title = "\n".join(escape(line) for line in lines) if axis.title else ""
    own = axes.xaxis if which == "x" else axes.yaxis
    own.set_label_text(title, fontsize=9.5, color=_TEXT)
    if axis.ticks:
        step = max(1, math.ceil(len(axis.ticks) / _MAX_TICKS))
        shown = axis.ticks[::step]
        texts = [escape(text) for _, text in shown]
        own.set_ticks([place for place, _ in shown], labels=texts)
        if which == "x" and sum(map(len, texts)) > 28 and len(texts) > 1:
            axes.tick_params(axis="x", labelrotation=30)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
    elif not axis.is_log:
        low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
        if max(abs(low), abs(high)) >= 10_000:
            own.set_major_formatter(mticker.EngFormatter(sep=""))
        if which == "x":
            own.set_major_locator(mticker.MaxNLocator(nbins=6))
    if axis.is_log and axis.limits and axis.limits[1] / axis.limits[0] < 30:
        own.set_minor_formatter(mticker.NullFormatter())
    if axis.limits is not None:
        (axes.set_xlim if which == "x" else axes.set_ylim)(*axis.limits)
    if axis.is_reversed:
        (axes.invert_xaxis if which == "x" else axes.invert_yaxis)()


def _add_legend(figure: Figure, handles: Mapping[str, Any]) -> int:
    """A legend below the panels; returns how many rows it has."""
    if not handles:
        return 0
    longest = max(len(name) for name in handles) + 6
    columns = max(1, min(len(handles), 138 // longest))
    figure.legend(
        list(handles.values()),
        [escape(name, 80) for name in handles],
        loc="outside lower center",
        ncols=columns,
        fontsize=8.5,
        frameon=False,
        labelcolor=_TEXT,
        handlelength=1.8,
        columnspacing=1.4,
    )
    return math.ceil(len(handles) / columns)


def _add_colour_bar(figure: Figure, grid: Any, drawing: Drawing) -> None:
    scale = drawing.scale
    if scale is None:
        return
    bar = figure.colorbar(
        ScalarMappable(norm=Normalize(*scale.limits), cmap=colour_map(scale)),
        ax=list(grid.flat),
        pad=0.015,
        aspect=32,
        fraction=0.03,
    )
    bar.set_label("\n".join(escape(line) for line in wrap(scale.title, 40)),
                  fontsize=8.5, color=_TEXT)  # fmt: skip
    bar.ax.tick_params(labelsize=8, colors=_TEXT)
    bar.outline.set_visible(False)
