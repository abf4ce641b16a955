"""Every kind of plot on every kind of run: none raises, and both libraries draw what it makes."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_results import RETURN, draw_sweep
from plotted_runs import RUNS, plotted_run

from sweeper.plots.catalogue import KINDS, draw
from sweeper.plots.chart import Chart, Line, Mark, Numbers, ParallelAxes, Points
from sweeper.plots.matplotlib_figure import to_matplotlib
from sweeper.plots.plotly_figure import to_plotly
from sweeper.plots.saving import save_chart

# matplotlib takes as long for each as all other checks together; the others are drawn by it in
# tests/integration/plots.
DRAWN_BY_BOTH = (
    "nan",
    "huge",
    "lists and mappings",
    "a Tune experiment",
    "confirmed",
    "a population",
)


def _numbers(mark: Mark) -> Iterator[Numbers]:
    for name in ("x", "y", "lengths", "starts", "ends", "values"):
        found = getattr(mark, name, None)
        if found is not None and not isinstance(mark, Line):
            yield found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run", RUNS)
def test_every_kind_draws_every_run_or_says_why_not(kind: str, run: str) -> None:
    chart = draw(kind, plotted_run(run))
    if chart.missing is not None:
        assert chart.missing.endswith(".")
    for panel in chart.panels:
        assert panel.marks
        assert any(isinstance(one, ParallelAxes) for one in panel.marks) or (
            panel.x.title or panel.x.ticks
        )
        for mark in panel.marks:
            if isinstance(mark, Points):
                assert len(mark.x) == len(mark.y) > 0
                assert len(mark.labels) in (0, len(mark.x))
            for numbers in _numbers(mark) if isinstance(mark, Points) else ():
                assert all(map(math.isfinite, numbers)), mark
    assert to_plotly(chart).to_json()
    if run in DRAWN_BY_BOTH or kind == "timeline":
        assert to_matplotlib(chart).get_size_inches()[0] == 9


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from _texts(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_is_no_markup_for_plotly(kind: str) -> None:
    for text in _texts(to_plotly(draw(kind, plotted_run("hostile text"))).to_plotly_json()):
        assert "<script" not in text
        assert "%{" not in text
        assert "$" not in text
        assert not set(text) & set("\x00\x1b\u202e")


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_is_no_mathematics_for_matplotlib(kind: str) -> None:
    from matplotlib.cbook import is_math_text
    from matplotlib.text import Text

    figure = to_matplotlib(draw(kind, plotted_run("hostile text")))
    figure.canvas.draw()  # type: ignore[attr-defined]
    texts = [one.get_text() for one in figure.findobj(Text)]
    ours = [one for one in texts if "script" in one]
    assert not any(is_math_text(one) for one in ours)
    assert not any(set(one) & set("\x00\x1b\u202e") for one in texts)


def test_a_name_with_an_underscore_stays_in_the_legend() -> None:
    chart = draw("aggregate_curves", plotted_run("hostile text"), by="_lr")
    (legend,) = to_matplotlib(chart).legends
    assert any("_lr" in one.get_text() for one in legend.get_texts())


@pytest.mark.parametrize("kind", KINDS)
def test_a_live_run_says_that_it_goes_on(kind: str) -> None:
    assert any("going on" in note for note in draw(kind, plotted_run("live")).notes)


def test_a_thousand_trials_make_a_figure_that_a_page_can_carry() -> None:
    source = draw_sweep(1000, reports=6)
    for kind in KINDS:
        if kind == "importances":  # seconds, and as few marks as there are parameters
            continue
        figure = to_plotly(draw(kind, source))
        assert len(figure.data) < 60, kind
        assert len(figure.to_json()) < 3_000_000, kind


def test_figures_are_drawn_without_pyplot() -> None:
    code = (
        "import sys; from plotted_runs import plotted_run; "
        "from sweeper.plots.catalogue import draw; "
        "from sweeper.plots.matplotlib_figure import to_matplotlib; "
        "to_matplotlib(draw('timeline', plotted_run('a sweep'))); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    # In a process of its own: other tests import it.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_chart_without_panels_says_why() -> None:
    with pytest.raises(ValueError, match="says why"):
        Chart(title="x")


def test_a_page_is_whole_and_its_title_is_text(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    save_chart(draw("slices", plotted_run("hostile text")), file)
    text = file.read_text()
    assert text.count("alert(") == 0 or "<script>alert" not in text
    assert "Plotly.newPlot" in text
    assert RETURN not in text.partition("</head>")[0]
    assert [one.name for one in tmp_path.iterdir()] == ["a.html"]
