"""Charts as the report's page gets them: the same numbers, without WebGL."""

from __future__ import annotations

import json
import math
from typing import Any

from made_results import draw_sweep

from sweeper.plots.catalogue import draw
from sweeper.plots.chart import Axis, Chart, Line, Panel, ParallelAxes, ParallelAxis, Points, Scale
from sweeper.plots.colours import colour_on_scale
from sweeper.report.charts import _SHOWN
from sweeper.report.figures import describe_figure


def _lines(figure: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in figure["data"] if one["mode"] == "lines"]


def test_many_points_stay_plain_and_lose_no_digit_that_shows() -> None:
    x = [0.123456789 + number for number in range(3000)]
    marks = (Points(x=x, y=x, colour="#0072B2"), Line(x=[0, 1], y=[1, math.nan], colour="#0072B2"))
    chart = Chart(title="<b>many</b>", panels=(Panel(x=Axis(title="x"), marks=marks),))
    figure = describe_figure(chart)
    points, line = figure["data"]
    assert {points["type"], line["type"]} == {"scatter"}
    assert points["x"] == [float(f"{value:.7g}") for value in x]
    assert line["y"] == [1, None]
    assert "title" not in figure["layout"]


def test_parallel_coordinates_are_lines_through_the_same_places() -> None:
    axes = (
        ParallelAxis(title="lr", positions=[0.1, 0.5, 0.9], ticks=((0.0, "low"), (1.0, "high"))),
        ParallelAxis(title="score", positions=[0.2, 0.6, 1.0], ticks=((0.5, "half"),)),
    )
    scale = Scale(title="score", limits=(10.0, 30.0))
    mark = ParallelAxes(axes=axes, values=[10.0, 20.0, 30.0], scale=scale)
    figure = describe_figure(Chart(title="parallel", panels=(Panel(marks=(mark,)),)))
    lines = _lines(figure)
    assert [one["y"][:2] for one in lines] == [[0.1, 0.2], [0.5, 0.6], [0.9, 1]]
    assert all(one["x"] == [0, 1, None] for one in lines)
    # The best line is the last, so on top, and has the scale's bright end.
    assert lines[-1]["line"]["color"] == colour_on_scale(1.0)
    assert lines[0]["line"]["color"] == colour_on_scale(0.0)
    texts = {(one["x"], one["y"], one["text"]) for one in figure["layout"]["annotations"]}
    assert texts == {(0, 0, "low"), (0, 1, "high"), (1, 0.5, "half")}
    assert figure["layout"]["xaxis"]["ticktext"] == ["lr", "score"]
    (bar,) = [one for one in figure["data"] if one["mode"] == "markers"]
    assert (bar["marker"]["cmin"], bar["marker"]["cmax"]) == (10, 30)


def test_no_chart_of_a_sweep_needs_webgl_or_a_number_that_json_lacks() -> None:
    source = draw_sweep(60, reports=6)
    for kind in _SHOWN:
        chart = draw(kind, source)
        if chart.missing is None:
            figure = describe_figure(chart)
            json.dumps(figure, allow_nan=False)
            assert {one["type"] for one in figure["data"]} <= {"scatter", "bar", "contour"}, kind
