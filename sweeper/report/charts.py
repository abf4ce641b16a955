"""The pictures of a report, as data that the page's script draws when they come into view."""

from __future__ import annotations

import json
import logging

from sweeper.errors import SweeperError
from sweeper.markup import Html, joined, tag
from sweeper.plots.catalogue import KINDS, draw
from sweeper.plots.chart import Chart
from sweeper.plots.source import PlotSource
from sweeper.report.elements import raw_script
from sweeper.report.figures import COLOURS, describe_figure
from sweeper.report.source import ReportSource
from sweeper.veil import hide_passwords, veil

__all__ = ["show_charts"]

_logger = logging.getLogger(__name__)

_SHOWN = (
    "learning_curves",
    "optimisation_history",
    "finalists",
    "shrinkage",
    "importances",
    "replica_spread",
    "parallel_coordinates",
    "slices",
    "rungs",
    "lineage",
    "timeline",
)
# Of schedulers that most runs do not have; without one there is nothing to miss.
_OF_SCHEDULERS = ("rungs", "lineage")
_WITHOUT_RUNGS = (None, "fifo", "pbt")
_NARROWEST_PX = 640  # of several panels; a narrower page scrolls them


def show_charts(source: ReportSource) -> Html:
    """All charts; one that can't be drawn says why in its place."""
    if source.plots is None:
        return tag("p", "Without the run's spec it is not known what to draw.", class_="note")
    left_out = ("rungs",) if source.plots.scheduler in _WITHOUT_RUNGS else ()
    return joined(*(_show(kind, source.plots) for kind in _SHOWN if kind not in left_out))


def _show(kind: str, plots: PlotSource) -> Html:
    try:
        chart = draw(kind, plots)
        if chart.missing is None:
            return _frame(kind, chart)
        why = chart.missing
    except Exception as error:
        # The data of a run may be anything; what can be drawn of it is to be seen.
        _logger.debug("the chart %s can't be drawn", kind, exc_info=True)
        known = isinstance(error, SweeperError)
        chart, why = None, veil(str(error) if known else f"{type(error).__name__}: {error}")
    if chart is not None and kind in _OF_SCHEDULERS:
        return Html("")
    title = KINDS[kind].name.replace("_", " ").capitalize() if chart is None else chart.title
    return tag("figure", tag("h3", title), tag("p", f"Can't be shown: {why}", class_="quiet"))


def _frame(kind: str, chart: Chart) -> Html:
    figure = describe_figure(chart)
    # JSON has no sign < but in texts, where it may be written so.
    text = hide_passwords(json.dumps(figure, separators=(",", ":"), allow_nan=False))
    data = text.replace("<", r"\u003c")
    height = int(figure["layout"]["height"])
    is_wide = chart.columns > 1 or kind == "parallel_coordinates"
    # Parallel coordinates are plain lines here (`figures`).
    subtitle = chart.subtitle.partition(" In a notebook or a page,")[0]
    caption = [tag("p", text) for text in (subtitle, *chart.notes) if text]
    return tag(
        "figure",
        tag("figcaption", tag("h3", chart.title), *caption),
        tag(
            "div",
            raw_script(data, type="application/json"),
            tag("p", "This chart is drawn by a script of the page.", class_="waiting"),
            class_="chart",
            data_height=height,
            **{f"data_{name}": colour for name, colour in COLOURS.items()},
            data_narrowest=_NARROWEST_PX if is_wide else None,
            tabindex="0" if is_wide else None,
        ),
        id=f"chart-{kind}",
    )
