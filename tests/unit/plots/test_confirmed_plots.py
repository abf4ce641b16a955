"""Plots of a confirmation: the numbers are those of the verdict."""

from __future__ import annotations

from typing import TypeVar

import pytest
from made_results import RUNS, confirmed, report, source_of, trial
from scipy import stats

from sweeper.plots.catalogue import draw
from sweeper.plots.chart import Chart, Line, Points, Rule
from sweeper.plots.kinds.performance_profile import profile_of
from sweeper.plots.source import PlotSource

M = TypeVar("M", Line, Points, Rule)


def marks(chart: Chart, kind: type[M]) -> dict[str, M]:
    return {one.name: one for one in chart.panels[0].marks if isinstance(one, kind)}


@pytest.fixture
def source() -> PlotSource:
    return confirmed()


def test_finalists_have_the_means_and_intervals_of_the_verdict(source: PlotSource) -> None:
    assert source.selection is not None
    assert source.selection.verdict is not None
    evidence = source.selection.verdict.evidence
    chart = draw("finalists", source)
    assert [text for _, text in chart.panels[0].y.ticks] == [
        "t0002 (champion)",
        "t0001",
        "baseline",
    ]
    means = marks(chart, Points)["mean and interval"]
    names = ["t0002", "t0001", "baseline"]
    assert list(means.x) == [evidence[name].mean for name in names]
    assert means.x == pytest.approx([sum(runs) / 5 for runs in RUNS])
    assert means.x_errors is not None
    for place, name in enumerate(names):
        interval = evidence[name].interval
        assert interval is not None
        assert (means.x_errors[0][place], means.x_errors[1][place]) == (interval.low, interval.high)


def test_finalists_have_every_run_and_where_one_more_would_land(source: PlotSource) -> None:
    chart = draw("finalists", source)
    runs = marks(chart, Points)["training run"]
    assert list(runs.x) == [value for group in RUNS for value in group]
    prediction = marks(chart, Points)[""]
    half = stats.t.ppf(0.975, 4) * stats.tstd(RUNS[0]) * (1 + 1 / 5) ** 0.5
    assert prediction.x_errors is not None
    assert prediction.x_errors[0][0] == pytest.approx(19.1 - half)
    assert prediction.x_errors[1][0] == pytest.approx(19.1 + half)
    assert marks(chart, Rule)["solved"].at == 15.0


def test_shrinkage_sets_search_scores_against_confirmed_means(source: PlotSource) -> None:
    chart = draw("shrinkage", source)
    found = {name: (one.x[0], one.y[0]) for name, one in marks(chart, Points).items()}
    assert found == {"t0002 (champion)": (23.0, 19.1), "t0001": (21.0, 14.8)}
    diagonal = marks(chart, Line)["as the search thought"]
    assert list(diagonal.x) == list(diagonal.y)
    assert any("3.9 above its confirmed mean" in note for note in chart.notes)


def test_an_area_under_a_curve_is_not_held_against_returns() -> None:
    source = confirmed()
    auc = PlotSource(
        name="made",
        results=source.results,
        objective=type(source.objective)(source.objective.metric, "max", "auc"),
        selection=source.selection,
    )
    missing = draw("shrinkage", auc).missing
    assert missing is not None
    assert "area under" in missing


def test_a_profile_is_the_share_of_runs_above_each_value() -> None:
    made = profile_of([3.0, 1.0, 2.0, 2.0], (0.0, 4.0), mode="max")
    assert made.thresholds == (0.0, 1.0, 2.0, 3.0, 4.0)
    assert made.shares == (1.0, 0.75, 0.25, 0.0, 0.0)
    # Clopper and Pearson's, by the beta distribution.
    assert made.low[1] == pytest.approx(stats.beta.ppf(0.025, 3, 2))
    assert made.high[1] == pytest.approx(stats.beta.ppf(0.975, 4, 1))


def test_where_less_is_better_a_profile_is_the_share_of_runs_below() -> None:
    made = profile_of([3.0, 1.0], (0.0, 4.0), mode="min")
    assert made.shares == (0.0, 0.5, 1.0, 1.0)


def test_profiles_are_those_of_finalists_and_baseline(source: PlotSource) -> None:
    found = marks(draw("performance_profile", source), Line)
    assert list(found) == ["t0002 (champion), 5 runs", "t0001, 5 runs", "baseline, 5 runs"]
    at = dict(zip(found["t0001, 5 runs"].x, found["t0001, 5 runs"].y, strict=True))
    assert at[15.0] == 0.4


def test_without_a_confirmation_a_profile_says_that_it_flatters() -> None:
    chart = draw("performance_profile", source_of([trial(1, [report(1, [1.0, 2.0])])]))
    assert "they flatter" in chart.notes[0]


@pytest.mark.parametrize("kind", ["finalists", "shrinkage"])
def test_without_a_confirmation_it_is_said_why(kind: str) -> None:
    missing = draw(kind, source_of([trial(1, [report(1, [1.0, 2.0])])])).missing
    assert missing is not None
    assert "without a confirmation" in missing
