"""The marks of a `Chart` as plotly's traces: plain dictionaries, plotly itself not needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

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
from sweeper.plots.texts import plain, wrap

__all__ = ["Traces", "escape", "rule_shape"]

_DASHES = {"solid": "solid", "dash": "dash", "dot": "dot"}
_SYMBOLS = {
    "circle": "circle",
    "square": "square",
    "diamond": "diamond",
    "triangle": "triangle-down",
    "cross": "x-thin",
    "star": "star",
    "bar": "line-ns",
}
_LINES_ONLY = ("cross", "bar")  # symbols without an inside
_SCALE = [[place / (len(CIVIDIS) - 1), colour] for place, colour in enumerate(CIVIDIS)]


def escape(text: object, most: int = 400) -> str:
    """A text that plotly, which knows tags, entities, templates and TeX, shows as it is."""
    line = plain(text)[:most]
    for sign, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("$", "&#36;")):
        line = line.replace(sign, code)
    return line.replace("%{", "%&#123;")


class Traces:
    """Makes the traces of one figure, and keeps what its legend and its colour bar hold.

    Args:
        text: colour of texts.
        is_webgl: whether points are drawn by WebGL.
    """

    def __init__(self, text: str, *, is_webgl: bool) -> None:
        self.text = text
        self.scatter = "scattergl" if is_webgl else "scatter"
        self.named: dict[str, int] = {}
        self.has_scale = False

    def _legend(self, mark: Any) -> dict[str, Any]:
        """Name and place in the legend; of marks of one group only the first has one."""
        group = plain(getattr(mark, "group", "") or mark.name)
        is_shown = bool(mark.name) and plain(mark.name) not in self.named
        if is_shown:
            self.named[plain(mark.name)] = len(self.named)
        return {
            "name": escape(mark.name, 80),
            "legendgroup": escape(group),
            "showlegend": is_shown,
        }

    def draw(self, mark: Mark) -> Iterator[dict[str, Any]]:
        """The traces of a mark, without their axes."""
        match mark:
            case Line():
                yield from self._draw_line(mark)
            case Points():
                yield self._draw_points(mark)
            case Bars():
                yield self._draw_bars(mark)
            case Heat():
                yield self._draw_heat(mark)
            case Spans():
                yield self._draw_spans(mark)
            case Rule():
                yield self._draw_rule(mark)
            case ParallelAxes():
                yield self._draw_parallel(mark)

    def _draw_line(self, mark: Line) -> Iterator[dict[str, Any]]:
        legend = self._legend(mark)
        if mark.band is not None:
            for x, low, high in _pieces(mark.x, *mark.band, is_steps=mark.is_steps):
                yield {
                    "type": "scatter",
                    "x": [*x, *x[::-1]],
                    "y": [*high, *low[::-1]],
                    "fill": "toself",
                    "fillcolor": _fade(mark.colour, 0.16),
                    "line": {"width": 0},
                    "mode": "lines",
                    "hoverinfo": "skip",
                    "legendgroup": legend["legendgroup"],
                    "showlegend": False,
                }
        yield {
            "type": "scatter",
            "mode": "lines",
            "x": _numbers(mark.x),
            "y": _numbers(mark.y),
            "line": {
                "color": mark.colour,
                "width": mark.width * 1.1,
                "dash": _DASHES[mark.dash],
                "shape": "hv" if mark.is_steps else "linear",
            },
            "opacity": mark.opacity,
            "connectgaps": False,
            **_pointer(mark.labels, skips=True),
            **legend,
        }

    def _draw_points(self, mark: Points) -> dict[str, Any]:
        is_outline = mark.symbol in _LINES_ONLY
        symbol = _SYMBOLS[mark.symbol] + ("-open" if mark.is_open or is_outline else "")
        size = mark.size * (1.15 if not is_outline else 1.3)
        marker: dict[str, Any] = {
            "symbol": symbol,
            "size": size,
            "opacity": mark.opacity,
            "color": mark.colour,
            "line": {
                "width": 1.6 if mark.is_open or is_outline else 0.5,
                "color": mark.colour if mark.is_open or is_outline else "rgba(128,128,128,0.6)",
            },
        }
        if mark.scale is not None and len(mark.values):
            marker |= {"color": _numbers(mark.values), **self._scale(mark.scale)}
            marker["symbol"] = _SYMBOLS[mark.symbol] + ("-open" if is_outline else "")
            is_many = len(mark.x) > 200
            marker["line"] = {"width": 0.4 if is_many else 0.8, "color": "rgba(32,32,32,0.7)"}
        trace = {
            "type": self.scatter,
            "mode": "markers",
            "x": _numbers(mark.x),
            "y": _numbers(mark.y),
            "marker": marker,
            **_pointer(mark.labels),
            **self._legend(mark),
        }
        for key, places, errors in (
            ("error_y", mark.y, mark.errors),
            ("error_x", mark.x, mark.x_errors),
        ):
            if errors is not None:
                trace[key] = {
                    "type": "data",
                    "symmetric": False,
                    "arrayminus": _gaps(places, errors[0], -1),
                    "array": _gaps(places, errors[1], 1),
                    "color": _fade(mark.colour, 0.75),
                    "thickness": mark.error_width,
                    "width": 0 if mark.error_width < 1 else 3,
                }
        return trace

    def _scale(self, scale: Scale) -> dict[str, Any]:
        is_first = not self.has_scale
        self.has_scale = True
        return {
            "colorscale": _SCALE,
            "reversescale": scale.is_reversed,
            "cmin": scale.limits[0],
            "cmax": scale.limits[1],
            "showscale": is_first,
            "colorbar": {
                "title": {
                    "text": "<br>".join(map(escape, wrap(scale.title, 40))),
                    "side": "right",
                    "font": {"color": self.text},
                },
                "thickness": 12,
                "outlinewidth": 0,
                "tickfont": {"color": self.text},
            },
        }

    def _draw_bars(self, mark: Bars) -> dict[str, Any]:
        return {
            "type": "bar",
            "orientation": "h",
            "y": _numbers(mark.y),
            "x": _numbers(mark.lengths),
            "width": 0.62,
            "marker": {"color": list(mark.colours)},
            **_pointer(mark.labels),
            **self._legend(mark),
        }

    def _draw_heat(self, mark: Heat) -> dict[str, Any]:
        scale = self._scale(mark.scale)
        return {
            "type": "heatmap",
            "x": _numbers(mark.x),
            "y": _numbers(mark.y),
            "z": [_numbers(row) for row in mark.values],
            "zmin": scale.pop("cmin"),
            "zmax": scale.pop("cmax"),
            "hoverongaps": False,
            "opacity": 0.8,
            "hoverinfo": "skip",
            "showlegend": False,
            **scale,
        }

    def _draw_spans(self, mark: Spans) -> dict[str, Any]:
        return {
            "type": "bar",
            "orientation": "h",
            "y": _numbers(mark.y),
            "base": _numbers(mark.starts),
            "x": [end - start for start, end in zip(mark.starts, mark.ends, strict=True)],
            "width": mark.height,
            "marker": {
                "color": _fade(mark.colour, 0.75),
                "line": {"color": mark.colour, "width": 0.8},
                "pattern": {"shape": mark.pattern, "size": 5, "solidity": 0.25},
            },
            **_pointer(mark.labels),
            **self._legend(mark),
        }

    def _draw_rule(self, mark: Rule) -> dict[str, Any]:
        # A shape (`rule_shape`) widens no axis and has no place in a legend; this does both.
        return {
            "type": "scatter",
            "mode": "lines",
            "x": [mark.at if mark.is_vertical else None],
            "y": [None if mark.is_vertical else mark.at],
            "line": _rule_line(mark),
            "hoverinfo": "skip",
            **self._legend(mark),
        }

    def _draw_parallel(self, mark: ParallelAxes) -> dict[str, Any]:
        return {
            "type": "parcoords",
            "line": {"color": _numbers(mark.values), **self._scale(mark.scale)},
            "labelfont": {"color": self.text, "size": 12},
            "tickfont": {"color": self.text, "size": 10, "shadow": "none"},
            "rangefont": {"color": "rgba(0,0,0,0)", "size": 1},
            "labelangle": -12 if len(mark.axes) > 5 else 0,
            "dimensions": [
                {
                    "label": escape(axis.title),
                    "values": _numbers(axis.positions),
                    "range": [-0.02, 1.02],
                    "tickvals": [place for place, _ in axis.ticks],
                    "ticktext": [_as_drawn(text) for _, text in axis.ticks],
                }
                for axis in mark.axes
            ],
            "unselected": {"line": {"color": "#9a9a9a", "opacity": 0.12}},
        }


def _as_drawn(text: str) -> str:
    """A text for the ticks of parallel axes, which show entities as they are written.

    They know no tags either; look-alikes keep it harmless should that change.
    """
    line = plain(text)
    for sign, like in (("<", "\u2039"), (">", "\u203a"), ("$", "\uff04"), ("%{", "% {")):
        line = line.replace(sign, like)
    return line


def rule_shape(mark: Rule, suffix: str) -> dict[str, Any]:
    """The line of a rule across its panel, whose axes have a suffix."""
    across = f"{'y' if mark.is_vertical else 'x'}{suffix} domain"
    along = f"{'x' if mark.is_vertical else 'y'}{suffix}"
    ends: dict[str, Any] = {"xref": across, "yref": along, "x0": 0, "x1": 1}
    ends |= {"y0": mark.at, "y1": mark.at}
    if mark.is_vertical:
        ends = {"xref": along, "yref": across, "x0": mark.at, "x1": mark.at, "y0": 0, "y1": 1}
    return {"type": "line", "line": _rule_line(mark), "layer": "above", **ends}


def _rule_line(mark: Rule) -> dict[str, Any]:
    return {"color": mark.colour, "width": 1.4, "dash": _DASHES[mark.dash]}


def _pointer(labels: Sequence[str], *, skips: bool = False) -> dict[str, Any]:
    """What a pointer shows: our texts only, never a template that could name data."""
    if not len(labels):
        return {"hoverinfo": "skip"} if skips else {"hoverinfo": "x+y"}
    texts = [_fold(label) for label in labels]
    return {"hoverinfo": "text", "hovertext": texts if len(texts) > 1 else texts[0]}


@lru_cache(maxsize=4096)  # panels repeat them
def _fold(label: str) -> str:
    return "<br>".join(escape(line) for line in wrap(label, 70))


def _numbers(values: Numbers) -> list[float | None]:
    return [float(one) if math.isfinite(one) else None for one in values]


def _gaps(places: Numbers, ends: Numbers, sign: int) -> list[float]:
    """How far each end of an interval lies from its point; 0 where there is none."""
    gaps = [sign * (end - place) for place, end in zip(places, ends, strict=True)]
    return [float(gap) if math.isfinite(gap) else 0.0 for gap in gaps]


def _fade(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _pieces(
    x: Numbers, low: Numbers, high: Numbers, *, is_steps: bool
) -> Iterator[tuple[list[float], list[float], list[float]]]:
    """The stretches of a band without its gaps; of steps with both ends of each."""
    piece: tuple[list[float], list[float], list[float]] = ([], [], [])
    for point in zip(x, low, high, strict=True):
        if all(map(math.isfinite, point)):
            if is_steps and piece[0]:
                for column, value in zip(
                    piece, (point[0], piece[1][-1], piece[2][-1]), strict=True
                ):
                    column.append(float(value))
            for column, value in zip(piece, point, strict=True):
                column.append(float(value))
        elif piece[0]:
            yield piece
            piece = ([], [], [])
    if piece[0]:
        yield piece
