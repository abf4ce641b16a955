"""Every kind of plot on every kind of run: none raises, and both libraries draw what it makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from made_results import (
    BEGIN,
    EVALUATION,
    RETURN,
    SPACE,
    confirmed,
    draw_sweep,
    population,
    report,
    source_of,
    trial,
)

from sweeper.plots.catalogue import KINDS, draw
from sweeper.plots.chart import Chart, Line, Mark, Numbers, ParallelAxes, Points
from sweeper.plots.matplotlib_figure import to_matplotlib
from sweeper.plots.plotly_figure import to_plotly
from sweeper.plots.source import PlotSource
from sweeper.results.records import Launch

HOSTILE = "<script>alert('$x_1$ %{x} %s')</script>\x1b[31m\x00\u202e"


def _rows(*values: float, replicas: int = 2) -> list[dict[str, Any]]:
    return [report(i, [value + k for k in range(replicas)]) for i, value in enumerate(values, 1)]


def _hostile() -> PlotSource:
    space = {HOSTILE: {"choice": [HOSTILE, "_hidden", "x" * 500]}, "_lr": {"uniform": [0.0, 1.0]}}
    values = [HOSTILE, "_hidden", "x" * 500, HOSTILE, HOSTILE]
    trials = [
        trial(n, _rows(n, n + 1), "PRUNED" if n == 2 else "TERMINATED",
              parameters={HOSTILE: value, "_lr": n / 10}, node=HOSTILE, reason=HOSTILE)
        for n, value in enumerate(values, start=1)
    ]  # fmt: skip
    trials.append(trial(6, (), "ERROR", error=HOSTILE, reason=HOSTILE, parameters={HOSTILE: "_"}))
    return replace(source_of(trials, space=space), name=HOSTILE)


def _foreign() -> PlotSource:
    trials = [
        trial(n, [{"training_iteration": i, "loss": 1.0 / (i + n), "config": {"a": 1}}
                  for i in (1, 2, 3)], replicas=0, parameters={"lr": 10.0**-n, "nested": {"a": n}},
              started=None, ended=None, node=None)
        for n in range(1, 7)
    ]  # fmt: skip
    return source_of(trials, metric="loss", mode="min", results={"launches": (), "started": None})


def _odd_parameters() -> PlotSource:
    space = {
        "layers": {"choice": [[64, 64], [256], []]},
        "buffer": {"choice": [{"type": "a", "size": 1}, {"type": "b"}]},
        "flag": {"choice": [True, 1, None]},
        "scale": {"randn": [0.0, 1.0]},
        "lr": {"loguniform": [1e-5, 1e-1]},
    }
    points = [
        {
            "layers": [64, 64],
            "buffer": {"type": "a", "size": 1},
            "flag": True,
            "scale": -1.0,
            "lr": 0.1,
        },
        {"layers": [], "buffer": {"type": "b"}, "flag": 1, "scale": 0.5, "lr": 0.0},
        {"layers": [256], "flag": None, "scale": 2.0, "lr": "text"},
        {"layers": "other", "buffer": {}, "flag": 3, "scale": math.nan, "lr": -1.0},
    ]
    return source_of(
        [trial(n, _rows(n, 2 * n), parameters=one) for n, one in enumerate(points, start=1)],
        space=space,
    )


RUNS: dict[str, Callable[[], PlotSource]] = {
    "no trials": lambda: source_of([], space=SPACE),
    "no trials yet": lambda: source_of([], space=SPACE, results={"is_live": True}),
    "trials that wait": lambda: source_of([trial(1, (), "PENDING", started=None)]),
    "one trial": lambda: source_of([trial(1, _rows(1.0, 2.0))]),
    "one report": lambda: source_of([trial(1, _rows(1.0))], space={"lr": {"uniform": [0, 1]}}),
    "all failed": lambda: source_of([trial(n, _rows(1.0), "ERROR") for n in (1, 2)], space=SPACE),
    "all pruned": lambda: source_of([trial(n, _rows(n), "PRUNED") for n in (1, 2, 3)]),
    "no evaluation": lambda: source_of([trial(1, _rows(1.0))], metric=EVALUATION),
    "nan": lambda: source_of(
        [trial(1, _rows(math.nan, math.nan)), trial(2, _rows(1.0, math.inf)), trial(3, _rows(2.0))]
    ),
    "huge": lambda: source_of([trial(1, _rows(1e308, -1e308)), trial(2, _rows(1.0, 1e49))]),
    "equal": lambda: source_of(
        [trial(n, _rows(5.0, 5.0, replicas=1), replicas=1, parameters={"lr": 0.5}) for n in (1, 2)],
        space={"lr": {"uniform": [0.0, 1.0]}},
    ),
    "no distributions": lambda: source_of([trial(1, _rows(1.0, 2.0))], space={"lr": 0.1}),
    "lists and mappings": _odd_parameters,
    "a Tune experiment": _foreign,
    "live": lambda: source_of(
        [trial(1, _rows(1.0, 2.0)), trial(2, _rows(3.0), "RUNNING"), trial(3, (), "PENDING")],
        space={"lr": {"uniform": [0, 1]}},
        results={"is_live": True, "ended_by": None},
    ),
    "paused": lambda: source_of([trial(1, _rows(1.0), "PAUSED"), trial(2, _rows(2.0), "PAUSED")]),
    "less is better": lambda: draw_sweep(12, mode="min"),
    "several launches": lambda: source_of(
        [trial(n, _rows(n, n), retries=n) for n in (1, 2, 3)],
        results={"launches": (Launch(BEGIN, BEGIN + 150), Launch(BEGIN + 5000, BEGIN + 9000))},
    ),
    "hostile text": _hostile,
    "confirmed": confirmed,
    "confirmed, less is better": lambda: confirmed(mode="min"),
    "a population": population,
    "a sweep": lambda: draw_sweep(40),
}


@cache
def _run(name: str) -> PlotSource:
    return RUNS[name]()


def _numbers(mark: Mark) -> Iterator[Numbers]:
    for name in ("x", "y", "lengths", "starts", "ends", "values"):
        found = getattr(mark, name, None)
        if found is not None and not isinstance(mark, Line):
            yield found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("run", RUNS)
def test_every_kind_draws_every_run_or_says_why_not(kind: str, run: str) -> None:
    chart = draw(kind, _run(run))
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
    figure = to_plotly(chart)
    assert figure.to_json()
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
    for text in _texts(to_plotly(draw(kind, _run("hostile text"))).to_plotly_json()):
        assert "<script" not in text
        assert "%{" not in text
        assert "$" not in text
        assert not set(text) & set("\x00\x1b\u202e")


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_is_no_mathematics_for_matplotlib(kind: str) -> None:
    from matplotlib.cbook import is_math_text
    from matplotlib.text import Text

    figure = to_matplotlib(draw(kind, _run("hostile text")))
    figure.canvas.draw()  # type: ignore[attr-defined]
    texts = [one.get_text() for one in figure.findobj(Text)]
    ours = [one for one in texts if "script" in one]
    assert not any(is_math_text(one) for one in ours)
    assert not any(set(one) & set("\x00\x1b\u202e") for one in texts)


def test_a_name_with_an_underscore_stays_in_the_legend() -> None:
    chart = draw("aggregate_curves", _run("hostile text"), by="_lr")
    (legend,) = to_matplotlib(chart).legends
    assert any("_lr" in one.get_text() for one in legend.get_texts())


@pytest.mark.parametrize("kind", KINDS)
def test_a_live_run_says_that_it_goes_on(kind: str) -> None:
    assert any("going on" in note for note in draw(kind, _run("live")).notes)


def test_a_thousand_trials_make_a_figure_that_a_page_can_carry() -> None:
    source = draw_sweep(1000, reports=6)
    for kind in KINDS:
        if kind == "importances":  # seconds, and as few marks as there are parameters
            continue
        figure = to_plotly(draw(kind, source))
        assert len(figure.data) < 60, kind
        assert len(figure.to_json()) < 3_000_000, kind


def test_figures_are_drawn_without_pyplot() -> None:
    import sys

    to_matplotlib(draw("timeline", _run("a sweep")))
    assert "matplotlib.pyplot" not in sys.modules


def test_a_chart_without_panels_says_why() -> None:
    with pytest.raises(ValueError, match="says why"):
        Chart(title="x")


def test_a_page_is_whole_and_its_title_is_text(tmp_path: Path) -> None:
    from sweeper.plots.saving import save_chart

    file = tmp_path / "a.html"
    save_chart(draw("slices", _run("hostile text")), file)
    text = file.read_text()
    assert text.count("alert(") == 0 or "<script>alert" not in text
    assert "Plotly.newPlot" in text
    assert RETURN not in text.partition("</head>")[0]
    assert [one.name for one in tmp_path.iterdir()] == ["a.html"]
