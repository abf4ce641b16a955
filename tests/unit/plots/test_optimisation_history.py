"""Optimisation history: what was spent when, and what was best by then."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from made_results import BEGIN, report, source_of, trial

from sweeper.plots.catalogue import draw
from sweeper.plots.chart import Points
from sweeper.plots.kinds.optimisation_history import spent_env_steps, trace_history
from sweeper.results.exchanges import Exchange


def rows(score: float, iterations: int = 1) -> list[dict[str, object]]:
    return [report(i, [score, score]) for i in range(1, iterations + 1)]


def test_trials_stand_in_the_order_they_ended_at_the_env_steps_of_all_replicas() -> None:
    trials = [
        trial(1, rows(5.0, 2), ended=BEGIN + 30),
        trial(2, rows(9.0, 3), ended=BEGIN + 10),
        trial(3, rows(7.0, 1), ended=BEGIN + 20),
    ]
    steps = trace_history(source_of(trials))
    assert [one.record.trial_id for one in steps] == ["t0002", "t0003", "t0001"]
    assert [one.spent for one in steps] == [6000, 8000, 12_000]
    assert [one.best for one in steps] == [9.0, 9.0, 9.0]


def test_a_pruned_trial_is_never_the_best_while_one_that_is_whole_has_a_score() -> None:
    trials = [trial(1, rows(50.0), "PRUNED"), trial(2, rows(3.0)), trial(3, rows(99.0), "RUNNING")]
    steps = trace_history(source_of(trials))
    assert math.isnan(steps[0].best)
    assert [one.best for one in steps[1:]] == [3.0, 3.0]


def test_where_less_is_better_the_best_falls() -> None:
    steps = trace_history(source_of([trial(1, rows(5.0)), trial(2, rows(2.0))], mode="min"))
    assert [one.best for one in steps] == [5.0, 2.0]


def test_a_trial_that_copied_another_is_not_charged_for_its_training() -> None:
    exchange = Exchange("t0001", BEGIN, 1000, "t0002", 2000, taken_env_steps=1500)
    record = replace(trial(1, rows(1.0, 2)), exchanges=(exchange,))
    assert spent_env_steps(record) == 2 * 2000 - 1500


def test_a_retried_trial_is_counted_once_and_that_is_said() -> None:
    chart = draw("optimisation_history", source_of([trial(1, rows(1.0, 2), retries=2)]))
    assert any("counted once" in note for note in chart.notes)


def test_without_replicas_own_steps_the_seeds_multiply_them() -> None:
    row = {"num_env_steps_sampled_lifetime": 500, "episode_return_mean": 1.0}
    assert spent_env_steps(trial(1, [row], replicas=3)) == 1500


def test_failed_and_pruned_trials_are_told_apart_by_symbol_and_word() -> None:
    trials = [trial(1, rows(1.0)), trial(2, rows(2.0), "PRUNED"), trial(3, (), "ERROR")]
    marks = draw("optimisation_history", source_of(trials)).panels[0].marks
    points = [one for one in marks if isinstance(one, Points)]
    assert [one.name for one in points] == ["finished", "pruned", "failed, no score"]
    assert len({one.symbol for one in points}) == len({one.colour for one in points}) == 3
    assert points[2].y[0] < 1.0


def test_without_env_steps_the_order_of_trials_stands_in() -> None:
    row = {"training_iteration": 1, "episode_return_mean": 1.0}
    chart = draw("optimisation_history", source_of([trial(1, [row]), trial(2, [row])]))
    assert chart.panels[0].x.title == "trials ended"
    points = next(one for one in chart.panels[0].marks if isinstance(one, Points))
    assert list(points.x) == pytest.approx([1, 2])
