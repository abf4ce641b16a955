"""Plots of a sweep's course: rungs, lineage, the timeline, replicas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_results import BEGIN, population, report, source_of, trial

from sweeper.plots.catalogue import draw
from sweeper.plots.chart import Line, Points, Rule, Spans
from sweeper.plots.kinds.lineage import value_steps
from sweeper.plots.kinds.rungs import agrees_with_journal, climb
from sweeper.plots.kinds.timeline import lay_out
from sweeper.results.records import Launch
from sweeper.schedulers.registry import build_scheduler
from sweeper.states import Stage

ASHA = {"max_t": 4000, "grace_period": 1000, "reduction_factor": 2, "brackets": 1}


def rows(*values: float) -> list[dict[str, object]]:
    return [report(i, [v, v]) for i, v in enumerate(values, start=1)]


def test_trials_stand_at_the_rungs_where_they_were_compared_with_the_cut_off() -> None:
    trials = [
        trial(1, rows(10.0, 20.0, 30.0, 40.0)),
        trial(2, rows(5.0), "PRUNED"),
        trial(3, rows(12.0, 15.0), "PRUNED"),
    ]
    source = source_of(trials, scheduler="asha", scheduler_options=ASHA)
    left, right = draw("rungs", source).panels
    went, stopped = (one for one in left.marks if isinstance(one, Points))
    assert [text for _, text in left.x.ticks] == ["1,000", "2,000"]
    assert sorted(went.y) == [10.0, 12.0, 20.0]
    assert sorted(stopped.y) == [5.0, 15.0]
    (cutoffs,) = (one for one in left.marks if isinstance(one, Line))
    # The median of those that came there: 5, 10 and 12; 15 and 20.
    assert sorted({float(one) for one in cutoffs.y if one == one}) == [10.0, 17.5]
    (survival,) = right.marks
    assert isinstance(survival, Line)
    assert list(survival.x) == [0.0, 1000.0, 2000.0, 4000.0]
    assert list(survival.y) == [3.0, 2.0, 1.0, 0.0]


def test_rungs_that_the_journal_contradicts_are_not_shown() -> None:
    trials = [trial(1, rows(10.0, 20.0, 30.0, 40.0), rung=2), trial(2, rows(5.0), "PRUNED", rung=1)]
    source = source_of(trials, scheduler="asha", scheduler_options=ASHA)
    assert agrees_with_journal(
        source, climb(source, build_scheduler("asha", source.objective, ASHA))
    )
    wrong = source_of(
        [trials[0], replace(trials[1], rung=2)], scheduler="asha", scheduler_options=ASHA
    )
    chart = draw("rungs", wrong)
    assert chart.panels[0].title == "where trials stopped"
    assert any("rungs are not shown" in note for note in chart.notes)


def test_brackets_without_a_journal_s_word_are_not_guessed() -> None:
    options = {"max_t": 9000, "grace_period": 1000, "reduction_factor": 3}
    trials = [trial(n, rows(*range(1, 10))) for n in range(1, 20)]
    chart = draw("rungs", source_of(trials, scheduler="hyperband", scheduler_options=options))
    assert chart.panels[0].title == "where trials stopped"


def test_the_cut_off_is_a_value_where_less_is_better() -> None:
    source = source_of(
        [trial(n, rows(v, v)) for n, v in enumerate((1.0, 3.0), start=1)],
        mode="min", scheduler="asha", scheduler_options=ASHA,
    )  # fmt: skip
    (cutoffs,) = (one for one in draw("rungs", source).panels[0].marks if isinstance(one, Line))
    assert {float(one) for one in cutoffs.y if one == one} == {2.0}


def test_without_rungs_trials_stand_where_they_stopped() -> None:
    source = source_of(
        [trial(1, rows(1.0, 2.0)), trial(2, rows(3.0), "PRUNED")], scheduler="median"
    )
    done, cut = (one for one in draw("rungs", source).panels[0].marks if isinstance(one, Points))
    assert (list(done.x), list(done.y)) == ([2000.0], [2.0])
    assert (list(cut.x), list(cut.y), cut.name) == ([1000.0], [3.0], "pruned")


def test_a_copy_is_a_stroke_from_the_donor_s_checkpoint() -> None:
    lanes = draw("lineage", population()).panels[0]
    copied = next(one for one in lanes.marks if isinstance(one, Line) and one.name == "copied")
    assert list(copied.x)[:2] == [2000.0, 2000.0]
    assert list(copied.y)[:2] == [0.0, 1.0]


def test_the_champion_s_weights_are_followed_to_their_first_ancestor() -> None:
    source = population()
    assert source.selection is not None
    assert source.selection.trial_id == "t0002"
    own = [
        next(
            one for one in panel.marks if isinstance(one, Line) and one.name == "champion's weights"
        )
        for panel in draw("lineage", source).panels
    ]
    assert (list(own[0].x), list(own[0].y)) == ([0, 2000, 2000, 4000], [0, 0, 1, 1])
    assert (list(own[1].x), list(own[1].y)) == ([0, 2000, 4000], [0.1, 0.12, 0.12])


def test_values_of_a_trial_change_where_it_copied() -> None:
    assert value_steps(population().trials[1], "lr") == [(0, 0.5), (2000, 0.12), (4000, 0.12)]


def test_without_exchanges_lineage_says_which_scheduler_there_was() -> None:
    source = source_of([trial(1, rows(1.0))], scheduler="asha", scheduler_options=ASHA)
    missing = draw("lineage", source).missing
    assert missing is not None
    assert "scheduler is asha" in missing


def test_trials_fill_the_first_free_lane_and_are_cut_between_launches() -> None:
    trials = [
        trial(1, started=BEGIN, ended=BEGIN + 100),
        trial(2, started=BEGIN + 10, ended=BEGIN + 5100),
        trial(3, started=BEGIN + 100, ended=BEGIN + 150),
    ]
    launches = [Launch(BEGIN, BEGIN + 200), Launch(BEGIN + 5000, BEGIN + 5200)]
    found = [
        (one.record.trial_id, one.begin - BEGIN, one.end - BEGIN, one.lane)
        for one in lay_out(trials, launches, now=None)
    ]
    assert found == [
        ("t0001", 0, 100, 0),
        ("t0002", 10, 200, 1),
        ("t0003", 100, 150, 0),
        ("t0002", 5000, 5100, 0),
    ]


def test_the_timeline_tells_states_stages_and_launches_apart() -> None:
    again = replace(trial(9), trial_id="c0001", stage=Stage.CONFIRMATION, of="t0001")
    source = source_of(
        [trial(1, rows(1.0)), trial(2, rows(1.0), "ERROR"), trial(3, rows(1.0), "PRUNED")],
        results={"retrained": (again,)},
    )
    marks = draw("timeline", source).panels[0].marks
    spans = [one for one in marks if isinstance(one, Spans)]
    assert [one.name for one in spans] == [
        "finished", "pruned", "failed", "finished, confirmation",
    ]  # fmt: skip
    assert len({one.colour for one in spans}) == 4
    assert len({one.pattern for one in spans[:3]}) == 3
    assert sum(isinstance(one, Rule) for one in marks) == 1


def test_a_running_trial_lasts_until_the_last_event() -> None:
    (stretch,) = lay_out([trial(1, (), "RUNNING")], [], now=BEGIN + 777)
    assert stretch.end == BEGIN + 777


def test_strips_have_each_replica_from_the_best_trial_on() -> None:
    trials = [trial(1, [report(1, [1.0, 3.0])]), trial(2, [report(1, [8.0, 10.0])])]
    replicas, scores = draw("replica_spread", source_of(trials)).panels[0].marks
    assert isinstance(replicas, Points)
    assert isinstance(scores, Points)
    points = list(zip(replicas.x, replicas.y, strict=True))
    assert points == [(0, 8.0), (0, 10.0), (1, 1.0), (1, 3.0)]
    assert list(scores.y) == [9.0, 2.0]


def test_deviations_stand_over_scores() -> None:
    trials = [trial(1, [report(1, [1.0, 3.0])]), trial(2, [report(1, [8.0, 14.0])])]
    (points,) = draw("replica_spread", source_of(trials), style="deviation").panels[0].marks
    assert isinstance(points, Points)
    assert list(points.x) == [11.0, 2.0]
    assert points.y == pytest.approx([np.std([8, 14], ddof=1), np.std([1, 3], ddof=1)])


def test_a_diverged_replica_is_marked() -> None:
    row = report(1, [1.0, 3.0], **{"replica/diverged": [False, True]})
    marks = draw("replica_spread", source_of([trial(1, [row])])).panels[0].marks
    diverged = next(one for one in marks if "diverged" in one.name and isinstance(one, Points))
    assert (list(diverged.y), diverged.symbol) == ([3.0], "cross")
