"""Plots of parameters: where values lie on their axes, and what is made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_results import draw_sweep, report, source_of, trial

from sweeper.errors import UserError
from sweeper.evidence.advice.importances import advise_on_importances
from sweeper.evidence.advice.report import rank_by_merit
from sweeper.evidence.statistics import mean_interval
from sweeper.plots.catalogue import draw
from sweeper.plots.chart import Bars, Heat, ParallelAxes, Points
from sweeper.plots.kinds.contours import smooth
from sweeper.plots.parameters import describe_parameter, most_telling
from sweeper.plots.scores import spread_out

SPACE = {
    "lr": {"loguniform": [1e-4, 1e-2]},
    "net": {"size": {"choice": [256, 64]}},
    "use_kl_loss": {"choice": [True, False]},
    "kl_coeff": {"uniform": [0.0, 1.0], "when": {"use_kl_loss": True}},
}
POINTS = [
    {"lr": 1e-4, "net": {"size": 64}, "use_kl_loss": True, "kl_coeff": 0.5},
    {"lr": 1e-3, "net": {"size": 256}, "use_kl_loss": False},
    {"lr": 1e-2, "net": {"size": 64}, "use_kl_loss": True, "kl_coeff": 1.0},
]


def source(**fields: object):  # type: ignore[no-untyped-def]
    trials = [
        trial(n, [report(1, [10.0 * n, 10.0 * n + 4])], parameters=point)
        for n, point in enumerate(POINTS, start=1)
    ]
    return source_of(trials, space=SPACE, **fields)  # type: ignore[arg-type]


def test_a_log_range_lies_evenly_by_orders_of_magnitude() -> None:
    lr = describe_parameter(source(), "lr")
    assert lr is not None
    assert lr.is_log
    assert [lr.share(lr.place(value)) for value in (1e-4, 1e-3, 1e-2)] == pytest.approx([0, 0.5, 1])
    assert lr.at(0.5) == pytest.approx(1e-3)
    assert not any(lr.is_placed(value) for value in (0.0, -1.0, math.nan, "text", None, True))


def test_choices_lie_at_whole_places_numbers_by_their_order() -> None:
    size = describe_parameter(source(), "net.size")
    assert size is not None
    assert size.words == ("64", "256")
    assert [size.place(value) for value in (64, 256)] == [0.0, 1.0]
    assert math.isnan(size.place(128))


def test_parallel_coordinates_have_each_value_at_its_place() -> None:
    (mark,) = draw("parallel_coordinates", source()).panels[0].marks
    assert isinstance(mark, ParallelAxes)
    axes = {one.title: one for one in mark.axes}
    assert list(axes) == ["lr", "size", "use_kl_loss", "kl_coeff", "episode return"]
    assert axes["lr"].positions == pytest.approx([0, 0.5, 1])
    assert axes["size"].positions == pytest.approx([0, 1, 0])
    # Where it does not apply it lies below all values, at a tick of its own.
    assert axes["kl_coeff"].positions == pytest.approx([0.55, 0.0, 1.0])
    assert axes["kl_coeff"].ticks[0] == (0.0, "not set")
    assert axes["episode return"].positions == pytest.approx([0, 0.5, 1])
    assert list(mark.values) == [12.0, 22.0, 32.0]


def test_slices_have_scores_over_values_with_the_replicas_interval() -> None:
    chart = draw("slices", source(), params=["lr"])
    (points,) = chart.panels[0].marks
    assert isinstance(points, Points)
    assert list(points.x) == [1e-4, 1e-3, 1e-2]
    assert list(points.y) == [12.0, 22.0, 32.0]
    interval = mean_interval([10.0, 14.0])
    assert interval is not None
    assert points.errors is not None
    assert (points.errors[0][0], points.errors[1][0]) == (interval.low, interval.high)


def test_a_slice_has_only_the_trials_that_have_the_parameter() -> None:
    panel = draw("slices", source(), params=["kl_coeff"]).panels[0]
    (points,) = panel.marks
    assert isinstance(points, Points)
    assert list(points.x) == [0.5, 1.0]
    assert "1 trial without" in panel.x.title


def test_the_surface_is_the_mean_of_trials_of_the_same_choices() -> None:
    kl, size = (describe_parameter(source(), name) for name in ("use_kl_loss", "net.size"))
    assert kl is not None
    assert size is not None
    table = smooth([0, 0, 1, 1], [0, 0, 0, 1], [1.0, 3.0, 10.0, 20.0], kl, size)
    assert table[0].tolist() == [2.0, 10.0]
    assert np.isnan(table[1, 0])
    assert table[1, 1] == 20.0


def test_contours_take_the_two_parameters_that_tell_most() -> None:
    chart = draw("contours", draw_sweep(200))
    assert "lr" in chart.title
    heat = chart.panels[0].marks[0]
    assert isinstance(heat, Heat)
    assert len(heat.values) == len(heat.y) - 1
    assert len(heat.values[0]) == len(heat.x) - 1


def test_what_decides_tells_most() -> None:
    assert most_telling(draw_sweep(200), 1) == ["lr"]


def test_importances_are_those_of_the_advice() -> None:
    made = draw_sweep(60)
    trials = [one for one in made.trials if one.state.is_over]
    assert made.param_space is not None
    finding = advise_on_importances(made.param_space, rank_by_merit(trials, made.objective))
    expected = finding.numbers["parameters"][::-1]
    bars, floors = draw("importances", made).panels[0].marks
    assert isinstance(bars, Bars)
    assert isinstance(floors, Points)
    assert list(bars.lengths) == [one["value"] for one in expected]
    assert list(floors.x) == [one["floor"] for one in expected]
    assert draw("importances", made).title.endswith("lr matters")
    assert [colour == "#0072B2" for colour in bars.colours] == [one["is_real"] for one in expected]


def test_importances_of_few_trials_say_how_many_it_takes() -> None:
    missing = draw("importances", source()).missing
    assert missing is not None
    assert "10 are the least" in missing


@pytest.mark.parametrize("kind", ["slices", "parallel_coordinates", "contours", "lineage"])
def test_an_unknown_parameter_is_one_clear_error(kind: str) -> None:
    with pytest.raises(UserError, match=r"no searched parameter 'lrr'; did you mean lr\?"):
        draw(kind, source(), params=["lrr", "net.size"])


def test_contours_take_two_parameters() -> None:
    with pytest.raises(UserError, match="takes two parameters"):
        draw("contours", source(), params=["lr"])


def test_the_last_part_of_a_name_will_do_where_it_is_one() -> None:
    assert source().pick_parameters(["size"]) == ["net.size"]


def test_equal_places_are_spread_by_no_more_than_asked() -> None:
    places = spread_out([1.0] * 50, 0.4)
    assert len(set(places)) == 50
    assert all(0.8 <= one <= 1.2 for one in places)


def test_without_a_space_what_differs_was_searched() -> None:
    trials = [
        trial(n, [report(1, [1.0 * n, 2.0])], parameters={"lr": 10.0**-n, "gamma": 0.9})
        for n in range(1, 6)
    ]
    made = source_of(trials)
    assert list(made.searched) == ["lr"]
    lr = describe_parameter(made, "lr")
    assert lr is not None
    assert (lr.is_number, lr.is_log, lr.low, lr.high) == (True, True, 1e-5, 0.1)
