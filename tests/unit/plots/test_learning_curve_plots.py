"""Learning curves: the numbers that are drawn, held against numbers worked out beside them."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from made_results import EVALUATION, RETURN, draw_sweep, report, source_of, trial
from scipy import stats

from sweeper.errors import UserError
from sweeper.plots.catalogue import draw
from sweeper.plots.chart import Chart, Line
from sweeper.plots.curves import read_bundle, read_mean


def lines(chart: Chart) -> dict[str, Line]:
    marks = chart.panels[0].marks
    return {one.name: one for one in marks if isinstance(one, Line) and one.name}


def test_a_curve_is_the_mean_over_replicas_with_student_s_interval() -> None:
    rows = [[1.0, 3.0, 5.0], [2.0, 8.0, 5.0]]
    source = source_of([trial(1, [report(i, row) for i, row in enumerate(rows, 1)], replicas=3)])
    (line,) = lines(draw("learning_curves", source)).values()
    assert list(line.x) == [1000, 2000]
    assert line.y == pytest.approx([3.0, 5.0])
    assert line.band is not None
    for place, row in enumerate(rows):
        half = stats.t.ppf(0.975, 2) * statistics.stdev(row) / math.sqrt(3)
        assert line.band[0][place] == pytest.approx(statistics.mean(row) - half)
        assert line.band[1][place] == pytest.approx(statistics.mean(row) + half)


def test_the_range_is_from_the_lowest_to_the_highest_around_the_interquartile_mean() -> None:
    source = source_of(
        [trial(1, [report(1, [0.0, 1.0, 2.0, 30.0]), report(2, [1.0, 1.0, 3.0, 9.0])])]
    )
    (line,) = lines(draw("learning_curves", source, band="range")).values()
    assert line.band is not None
    assert line.y == pytest.approx([1.5, 2.0])
    assert list(line.band[0]) == [0.0, 1.0]
    assert list(line.band[1]) == [30.0, 9.0]


def test_equal_replicas_have_no_band() -> None:
    source = source_of([trial(1, [report(1, [4.0, 4.0]), report(2, [5.0, 5.0])])])
    (line,) = lines(draw("learning_curves", source)).values()
    assert line.band is not None
    assert np.isnan(line.band[0]).all()


def test_replicas_at_different_env_steps_meet_between_their_own_reports_only() -> None:
    rows = [report(i, [10.0 * i, 20.0 * i]) for i in (1, 2, 3)]
    for number, row in enumerate(rows, start=1):
        row["replica/num_env_steps_sampled_lifetime"] = [1000 * number, 1000 * number + 500]
    mean = read_mean(read_bundle(trial(1, rows), RETURN))
    assert mean is not None
    assert list(mean.x) == [1500, 2000, 2500, 3000]
    # At 2000: 20 and, halfway from 20 to 40, 30.
    assert mean.y == pytest.approx([(15 + 20) / 2, (20 + 30) / 2, (25 + 40) / 2, (30 + 50) / 2])


def test_a_report_without_a_number_leaves_a_gap() -> None:
    rows = [report(1, [1.0, 1.5]), report(2, [math.nan, 2.0]), report(3, [3.0, 3.5])]
    (line,) = lines(draw("learning_curves", source_of([trial(1, rows)]))).values()
    assert np.isnan(line.y).tolist() == [False, True, False]


def test_an_evaluation_that_is_carried_forward_is_no_point() -> None:
    rows = [
        report(i, [value, value + 1], metric=EVALUATION, **{"evaluation/is_new": is_new})
        for i, value, is_new in ((1, 5.0, True), (2, 5.0, False), (3, 9.0, True))
    ]
    source = source_of([trial(1, rows)], metric=EVALUATION)
    (line,) = lines(draw("learning_curves", source)).values()
    assert list(line.x) == [1000, 3000]


def test_the_best_trials_stand_out_and_the_others_are_one_line() -> None:
    source = draw_sweep(80)
    chart = draw("learning_curves", source, top=5)
    marks = [one for one in chart.panels[0].marks if isinstance(one, Line)]
    ids = [one.name.partition(":")[0] for one in marks[1:]]
    assert ids == [one.trial_id for one in source.ranked[:5]]
    gaps = int(np.isnan(marks[0].y).sum())
    assert marks[0].name == f"the other {gaps + 1}"


def test_named_trials_are_drawn_with_each_replica() -> None:
    source = source_of(
        [trial(n, [report(1, [n, n + 1]), report(2, [n, n + 2])]) for n in (1, 2, 3)]
    )
    chart = draw("learning_curves", source, trials=["t0003"], replicas=True)
    marks = [one for one in chart.panels[0].marks if isinstance(one, Line)]
    assert [list(one.y) for one in marks] == [[3, 3], [4, 5], [3.5, 4.0]]
    assert len({one.group or one.name for one in marks}) == 1


def test_without_env_steps_iterations_stand_in_and_that_is_said() -> None:
    rows = [{"training_iteration": i, RETURN: float(i)} for i in (1, 2)]
    chart = draw("learning_curves", source_of([trial(1, rows, replicas=0)]))
    assert chart.panels[0].x.title == "training iteration"
    assert "iterations stand in" in chart.notes[0]
    assert "single training run" in chart.subtitle


def test_the_best_are_the_smallest_where_less_is_better() -> None:
    trials = [trial(n, [report(1, [n, n + 1]), report(2, [n, n + 1])]) for n in (3, 1, 2)]
    chart = draw("learning_curves", source_of(trials, mode="min"), top=1)
    assert next(reversed(lines(chart))).startswith("t0001")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "episode_return_maen"}, "did you mean episode_return_mean"),
        ({"trials": ["t0009"]}, "no trial 't0009'"),
        ({"band": "intervall"}, "did you mean interval"),
        ({"top": 0}, "top is 0"),
        ({"metrics": "x"}, "did you mean metric"),
    ],
)
def test_a_wrong_option_is_one_clear_error(options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        draw("learning_curves", source_of([trial(1, [report(1, [1.0, 2.0])])]), **options)


def test_curves_are_averaged_over_the_trials_that_share_a_choice() -> None:
    space = {"size": {"choice": [64, 128]}}
    trials = [
        trial(n, [report(1, [v, v]), report(2, [v + 1, v + 1])], parameters={"size": size})
        for n, (v, size) in enumerate([(1.0, 64), (3.0, 64), (10.0, 128)], start=1)
    ]
    chart = draw("aggregate_curves", source_of(trials, space=space), by="size")
    found = {name: list(one.y) for name, one in lines(chart).items()}
    assert found == {"size 64 (2 trials)": [2.0, 3.0], "size 128 (1 trial)": [10.0, 11.0]}


def test_numbers_are_parted_into_groups_of_equal_size_that_never_part_equal_values() -> None:
    space = {"lr": {"uniform": [0.0, 10.0]}}
    values = [1.0, 1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    trials = [
        trial(n, [report(1, [v, v]), report(2, [v, v])], parameters={"lr": v})
        for n, v in enumerate(values, start=1)
    ]
    chart = draw("aggregate_curves", source_of(trials, space=space), by="lr", bins=2)
    assert list(lines(chart)) == ["lr 1 to 2 (4 trials)", "lr 3 to 6 (4 trials)"]


def test_a_group_goes_on_dashed_where_a_trial_has_stopped() -> None:
    space = {"size": {"choice": [64, 128]}}
    short = trial(1, [report(1, [1.0, 1.0])], "PRUNED", parameters={"size": 64})
    long = trial(2, [report(i, [3.0 * i, 3.0 * i]) for i in (1, 2, 3)], parameters={"size": 64})
    marks = (
        draw("aggregate_curves", source_of([short, long], space=space), by="size").panels[0].marks
    )
    whole, rest = (one for one in marks if isinstance(one, Line))
    assert (list(whole.x), list(whole.y)) == ([1000], [2.0])
    assert (rest.dash, list(rest.x), list(rest.y)) == ("dash", [1000, 2000, 3000], [2.0, 6.0, 9.0])
