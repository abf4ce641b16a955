"""The marks of a `Chart` on matplotlib's axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sweeper.plots.chart import (
    Bars,
    Heat,
    Line,
    Mark,
    Numbers,
    ParallelAxes,
    Points,
    Rule,
    Scale,
    Spans,
)
from sweeper.plots.colours import CIVIDIS
from sweeper.plots.texts import plain

__all__ = ["Drawing", "colour_map", "escape"]

_SYMBOLS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle": "v",
    "cross": "x",
    "star": "*",
    "bar": "|",
}
_LINES_ONLY = ("cross", "bar")
_DASHES = {"solid": "-", "dash": "--", "dot": ":"}
_HATCHES = {"": None, "/": "////", "x": "xxxx"}
_TEXT = "#2b2b2b"


def escape(text: object, most: int = 400) -> str:
    r"""A text that matplotlib, which takes what stands between two $ for TeX, shows as it is.

    A leading underscore would keep it out of the legend.
    """
    line = plain(text)[:most].replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line


def colour_map(scale: Scale) -> Colormap:
    """The colours of a scale."""
    colours = CIVIDIS[::-1] if scale.is_reversed else CIVIDIS
    return LinearSegmentedColormap.from_list("scale", list(colours))


class Drawing:
    """Draws the marks of one figure, and keeps what its legend and its colour bar hold.

    Args:
        is_rasterized: whether points are an image even in a vector file.
    """

    def __init__(self, *, is_rasterized: bool) -> None:
        self.is_rasterized = is_rasterized
        self.handles: dict[str, Any] = {}
        self.scale: Scale | None = None

    def draw(self, axes: Axes, mark: Mark) -> None:
        """Draw a mark above what is there."""
        match mark:
            case Line():
                self._draw_line(axes, mark)
            case Points():
                self._draw_points(axes, mark)
            case Bars():
                axes.barh(list(mark.y), list(mark.lengths), height=0.62, color=list(mark.colours))
                self._name(mark.name, Patch(color=mark.colours[0] if mark.colours else _TEXT))
            case Heat():
                self._draw_heat(axes, mark)
            case Spans():
                self._draw_spans(axes, mark)
            case Rule():
                self._draw_rule(axes, mark)
            case ParallelAxes():
                self._draw_parallel(axes, mark)

    def _name(self, name: str, handle: Any) -> None:
        if name:
            self.handles.setdefault(plain(name), handle)

    def _draw_line(self, axes: Axes, mark: Line) -> None:
        if mark.band is not None:
            axes.fill_between(
                _array(mark.x),
                _array(mark.band[0]),
                _array(mark.band[1]),
                color=mark.colour,
                alpha=0.16,
                linewidth=0,
                step="post" if mark.is_steps else None,
            )
        style: dict[str, Any] = {
            "color": mark.colour,
            "linewidth": mark.width,
            "linestyle": _DASHES[mark.dash],
            "alpha": mark.opacity,
        }
        axes.plot(
            _array(mark.x),
            _array(mark.y),
            drawstyle="steps-post" if mark.is_steps else "default",
            rasterized=len(mark.x) > 5_000,
            **style,
        )
        shown = {**style, "alpha": max(0.6, mark.opacity), "linewidth": max(1.4, mark.width)}
        self._name(mark.name, Line2D([], [], **shown))

    def _draw_points(self, axes: Axes, mark: Points) -> None:
        for ends, is_vertical in ((mark.errors, True), (mark.x_errors, False)):
            if ends is not None:
                self._draw_errors(axes, mark, ends, is_vertical=is_vertical)
        is_outline, is_scaled = mark.symbol in _LINES_ONLY, bool(mark.scale and len(mark.values))
        colours: Any = mark.colour  # a single one is drawn many times faster than one a point
        if mark.scale is not None and is_scaled:
            self.scale = self.scale or mark.scale
            norm = Normalize(*mark.scale.limits)
            colours = colour_map(mark.scale)(norm(_array(mark.values)))
        style: dict[str, Any] = {"marker": _SYMBOLS[mark.symbol], "s": mark.size**2}
        if is_outline:
            style |= {"color": colours, "linewidths": 1.4}
        elif is_scaled:
            is_many = len(mark.x) > 200
            style |= {"color": colours, "edgecolors": "#20202060" if is_many else _TEXT}
            style |= {"linewidths": 0.4 if is_many else 0.7}
        elif mark.is_open:
            style |= {"facecolors": "none", "edgecolors": colours, "linewidths": 1.3}
        else:
            style |= {"color": colours, "edgecolors": "#ffffff80", "linewidths": 0.5}
        axes.scatter(
            _array(mark.x),
            _array(mark.y),
            alpha=mark.opacity,
            rasterized=self.is_rasterized,
            zorder=3,
            **style,
        )
        handle = Line2D(
            [],
            [],
            linestyle="",
            marker=_SYMBOLS[mark.symbol],
            markersize=6.5,
            color=mark.colour,
            markerfacecolor="none" if mark.is_open else mark.colour,
        )
        self._name(mark.name, handle)

    def _draw_errors(
        self, axes: Axes, mark: Points, ends: tuple[Numbers, Numbers], *, is_vertical: bool
    ) -> None:
        places = _array(mark.y if is_vertical else mark.x)
        sizes = np.nan_to_num(np.stack([places - _array(ends[0]), _array(ends[1]) - places]))
        keys = {"yerr" if is_vertical else "xerr": np.maximum(sizes, 0.0)}
        axes.errorbar(
            _array(mark.x),
            _array(mark.y),
            fmt="none",
            ecolor=(mark.colour, 0.7),
            elinewidth=mark.error_width,
            capsize=0 if mark.error_width < 1 else 2.5,
            zorder=2,
            **keys,
        )

    def _draw_heat(self, axes: Axes, mark: Heat) -> None:
        self.scale = self.scale or mark.scale
        values = np.ma.masked_invalid(np.array([_array(row) for row in mark.values]))
        axes.pcolormesh(
            _array(mark.x),
            _array(mark.y),
            values,
            norm=Normalize(*mark.scale.limits),
            cmap=colour_map(mark.scale),
            alpha=0.8,
            rasterized=True,
        )

    def _draw_spans(self, axes: Axes, mark: Spans) -> None:
        style: dict[str, Any] = {
            "facecolor": (mark.colour, 0.65),
            "edgecolor": mark.colour,
            "linewidth": 0.7,
            "hatch": _HATCHES[mark.pattern],
        }
        # One collection: a bar each would take seconds for a thousand.
        corners = [
            [(start, y - half), (end, y - half), (end, y + half), (start, y + half)]
            for start, end, y in zip(mark.starts, mark.ends, mark.y, strict=True)
            for half in (mark.height / 2,)
        ]
        axes.add_collection(PolyCollection(corners, **style))
        axes.autoscale_view()
        self._name(mark.name, Patch(**style))

    def _draw_rule(self, axes: Axes, mark: Rule) -> None:
        style: dict[str, Any] = {"color": mark.colour, "linestyle": _DASHES[mark.dash]}
        (axes.axvline if mark.is_vertical else axes.axhline)(mark.at, linewidth=1.2, **style)
        self._name(mark.name, Line2D([], [], linewidth=1.2, **style))

    def _draw_parallel(self, axes: Axes, mark: ParallelAxes) -> None:
        self.scale = self.scale or mark.scale
        number = len(mark.axes)
        columns = np.stack([_array(one.positions) for one in mark.axes], axis=1)
        places = np.broadcast_to(np.arange(number, dtype=np.float64), columns.shape)
        norm, colours = Normalize(*mark.scale.limits), colour_map(mark.scale)
        order = np.argsort(_array(mark.values) * (-1 if mark.scale.is_reversed else 1))
        dashed = np.array(list(mark.dashed) or [False] * len(columns))
        for is_dashed in (True, False):
            kept = [place for place in order if dashed[place] == is_dashed]
            lines = LineCollection(
                [np.column_stack([places[place], columns[place]]) for place in kept],
                colors=[colours(norm(mark.values[place])) for place in kept],
                linewidths=1.3 if len(columns) < 100 else 0.6,
                linestyles="--" if is_dashed else "-",
                alpha=0.8 if len(columns) < 100 else 0.45,
                rasterized=len(columns) > 500,
            )
            axes.add_collection(lines)
        axes.set_xlim(-0.15, number - 0.6)
        axes.set_ylim(-0.04, 1.04)
        for place, axis in enumerate(mark.axes):
            axes.axvline(place, color="#777777", linewidth=1.0, zorder=4)
            for share, text in axis.ticks:
                axes.annotate(
                    escape(text),
                    (place, share),
                    xytext=(4, 0),
                    textcoords="offset points",
                    fontsize=7.5,
                    va="center",
                    color=_TEXT,
                    zorder=5,
                    bbox={"boxstyle": "square,pad=0.1", "fc": (1, 1, 1, 0.75), "ec": "none"},
                )
        axes.set_xticks(range(number), labels=[escape(one.title) for one in mark.axes])
        axes.set_yticks([])
        axes.tick_params(axis="x", length=0, labelsize=8.5, colors=_TEXT)
        if sum(len(one.title) for one in mark.axes) > 80:
            axes.tick_params(axis="x", labelrotation=20)
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
        for spine in axes.spines.values():
            spine.set_visible(False)


def _array(values: Numbers) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(values, dtype=np.float64)
