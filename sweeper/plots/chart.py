"""What a figure shows, as data: no plotly, no matplotlib.

A kind of plot makes a `Chart`; `plotly_figure` and `matplotlib_figure` draw it. All texts are
plain: a renderer escapes whatever its library would read as markup. All numbers are finite, but
for the gaps of a `Line`, which are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Axis",
    "Bars",
    "Chart",
    "Heat",
    "Line",
    "Mark",
    "Numbers",
    "Panel",
    "ParallelAxes",
    "ParallelAxis",
    "Points",
    "Rule",
    "Scale",
    "Spans",
    "categories",
    "missing",
]

Numbers = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a panel.

    Attributes:
        title: with the unit.
        is_log: whether it is logarithmic; then all its numbers are above 0.
        ticks: positions and their texts; empty: the renderer chooses.
        limits: the ends; None: from the data.
        is_reversed: whether it goes downwards.
    """

    title: str = ""
    is_log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()
    limits: tuple[float, float] | None = None
    is_reversed: bool = False


def categories(names: Sequence[str]) -> tuple[tuple[float, str], ...]:
    """Ticks for values that are names: at 0, 1, 2 and so on."""
    return tuple((float(place), name) for place, name in enumerate(names))


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line through points, with gaps where a number is NaN.

    Attributes:
        x: float[points].
        y: float[points].
        name: in the legend; empty: not there.
        colour: as ``#rrggbb``.
        width: in points.
        dash: ``solid``, ``dash`` or ``dot``.
        opacity: 0 to 1.
        is_steps: whether a value holds until the next point.
        band: the ends of a shaded band, float[points] each; NaN where there is none.
        group: marks of one name share a place in the legend; by default the name.
        labels: what a reader who points at it is told, one per point, or one for all.
    """

    x: Numbers
    y: Numbers
    name: str = ""
    colour: str
    width: float = 1.8
    dash: str = "solid"
    opacity: float = 1.0
    is_steps: bool = False
    band: tuple[Numbers, Numbers] | None = None
    group: str = ""
    labels: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Scale:
    """A colour scale.

    Attributes:
        title: what the colours stand for.
        limits: the ends.
        is_reversed: whether a small number gets the bright end, as where less is better.
    """

    title: str
    limits: tuple[float, float]
    is_reversed: bool = False


@dataclass(frozen=True, kw_only=True)
class Points:
    """Single points.

    Attributes:
        x: float[points].
        y: float[points].
        name: in the legend; empty: not there.
        colour: as ``#rrggbb``; without ``values``.
        symbol: ``circle``, ``square``, ``diamond``, ``triangle``, ``cross``, ``star`` or ``bar``.
        is_open: whether only the outline is drawn.
        size: in points.
        opacity: 0 to 1.
        errors: the ends of a vertical interval, float[points] each; NaN where there is none.
        x_errors: the same for a horizontal one.
        error_width: of these lines, in points.
        labels: what a reader who points at one is told; empty, or one per point.
        values: float[points] on the colour scale.
        scale: of ``values``.
        group: as in `Line`.
    """

    x: Numbers
    y: Numbers
    name: str = ""
    colour: str
    symbol: str = "circle"
    is_open: bool = False
    size: float = 6.0
    opacity: float = 1.0
    errors: tuple[Numbers, Numbers] | None = None
    x_errors: tuple[Numbers, Numbers] | None = None
    error_width: float = 1.2
    labels: Sequence[str] = ()
    values: Numbers = ()
    scale: Scale | None = None
    group: str = ""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Horizontal bars from 0, at the positions of a y axis with ticks.

    Attributes:
        y: float[bars].
        lengths: float[bars].
        colours: one per bar.
        name: in the legend; empty: not there.
        labels: as in `Points`.
    """

    y: Numbers
    lengths: Numbers
    colours: Sequence[str]
    name: str = ""
    labels: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Cells over two axes, coloured by values.

    Attributes:
        x: float[columns + 1], the edges of the cells, ascending.
        y: float[rows + 1], the same.
        values: float[rows][columns]; NaN where nothing is known.
        scale: of the values.
    """

    x: Numbers
    y: Numbers
    values: Sequence[Numbers]
    scale: Scale


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Stretches along the x axis, each at a position of the y axis.

    Attributes:
        y: float[spans].
        starts: float[spans].
        ends: float[spans], each at least its start.
        colour: as ``#rrggbb``.
        pattern: ``""``, ``/`` or ``x``: hatching, so that the colour is not the only difference.
        height: of each, in units of the y axis.
        name: in the legend; empty: not there.
        labels: as in `Points`.
    """

    y: Numbers
    starts: Numbers
    ends: Numbers
    colour: str
    pattern: str = ""
    height: float = 0.7
    name: str = ""
    labels: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A straight line across a panel.

    Attributes:
        at: where.
        is_vertical: whether ``at`` is a position of the x axis.
        name: in the legend; empty: not there.
        colour: as ``#rrggbb``.
        dash: as in `Line`.
    """

    at: float
    is_vertical: bool = False
    name: str = ""
    colour: str
    dash: str = "dash"


@dataclass(frozen=True, kw_only=True)
class ParallelAxis:
    """One of the parallel axes.

    Attributes:
        title: of the axis.
        positions: float[lines], 0 to 1.
        ticks: positions, 0 to 1, and their texts.
    """

    title: str
    positions: Numbers
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True, kw_only=True)
class ParallelAxes:
    """Lines across parallel axes, coloured by a value; the only mark of its panel.

    Attributes:
        axes: at least two.
        values: float[lines], for the colours.
        scale: of ``values``.
        labels: as in `Points`, one per line.
        dashed: which lines are dashed.
    """

    axes: tuple[ParallelAxis, ...]
    values: Numbers
    scale: Scale
    labels: Sequence[str] = ()
    dashed: Sequence[bool] = ()


Mark = Line | Points | Bars | Heat | Spans | Rule | ParallelAxes


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes with what is drawn on it, the first mark at the bottom.

    Attributes:
        x: the horizontal axis.
        y: the vertical axis.
        marks: from the bottom to the top.
        title: above it; empty for a single panel.
    """

    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    marks: tuple[Mark, ...] = ()
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure.

    Attributes:
        title: what one sees, short.
        subtitle: how to read it, in a sentence.
        panels: in rows from the left, ``columns`` in each.
        columns: of the grid of panels.
        shares_y: whether all panels have one y axis, with the limits of the first.
        notes: what was left out, thinned or replaced, a sentence each.
        missing: why nothing can be shown, in a sentence; then there are no panels.
        height: in pixels, at a width of 900.
    """

    title: str
    subtitle: str = ""
    panels: tuple[Panel, ...] = ()
    columns: int = 1
    shares_y: bool = False
    notes: tuple[str, ...] = ()
    missing: str | None = None
    height: int = 520

    def __post_init__(self) -> None:
        if bool(self.panels) == (self.missing is not None):
            raise ValueError(f"{self.title}: a chart has panels, or says why it has none")

    @property
    def rows(self) -> int:
        """How many rows of panels there are."""
        return -(-len(self.panels) // self.columns)


def missing(title: str, why: str, notes: tuple[str, ...] = ()) -> Chart:
    """A chart that only says why there is nothing to show."""
    return Chart(title=title, missing=why, notes=notes, height=300)
