"""How fast the champion's runs learned, by the curves of its confirmation or of the search."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sweeper.evidence.learning import find_learning
from sweeper.metrics import ENV_STEPS, Objective
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.states import Stage, TrialState

METRIC = "evaluation/episode_return_mean"


def trial(trial_id: str, rows: list[list[float | None]], metric: str = METRIC, **more):
    reports = tuple(
        {ENV_STEPS: 1000 * number, f"replica/{metric}": row}
        for number, row in enumerate(rows, start=1)
    )
    seeds = tuple(range(len(rows[0])))
    return TrialRecord(trial_id, TrialState.TERMINATED, seeds=seeds, reports=reports, **more)


SEARCHED = trial("t0001", [[0.0, 0.0], [100.0, 0.0], [100.0, 100.0]])


def results(*retrained: TrialRecord) -> SweepResults:
    return SweepResults(root=Path(), trials=(SEARCHED,), retrained=retrained)


def test_areas_and_steps_of_every_run_of_the_search() -> None:
    found = find_learning(results(), "t0001", Objective(METRIC), 90.0, is_confirmed=False)
    assert found is not None
    assert (found.stage, found.metric) == ("search", METRIC)
    assert found.areas == (75.0, 25.0)
    assert found.steps == (2000, 3000)
    assert found.median_steps == 2500


def test_the_runs_of_the_confirmation_count_where_there_are_some() -> None:
    again = trial(
        "c0001", [[10.0] * 3, [95.0, 20.0, None]], "episode_return_mean",
        stage=Stage.CONFIRMATION, of="t0001",
    )  # fmt: skip
    other = replace(again, trial_id="c0002", of="baseline")
    found = find_learning(
        results(again, other), "t0001", Objective(METRIC), 90.0, is_confirmed=True
    )
    assert found is not None
    # It is not evaluated while it trains; the replica with one value has no curve.
    assert (found.stage, found.metric) == ("confirmation", "episode_return_mean")
    assert found.areas == (52.5, 15.0)
    assert found.steps == (2000, None)
    assert found.reached == (2000,)
    assert found.median_steps is None  # half of the runs never got there


def test_what_is_minimised_is_reached_from_above() -> None:
    falling = trial("t0001", [[50.0], [20.0]], "episode_len_mean")
    found = find_learning(
        SweepResults(root=Path(), trials=(falling,)), "t0001",
        Objective("episode_len_mean", "min"), 30.0, is_confirmed=False,
    )  # fmt: skip
    assert found is not None
    assert found.steps == (2000,)


def test_reports_that_repeat_an_evaluation_are_no_points() -> None:
    values = [0.0, 0.0, 0.0, 100.0]  # evaluated at the first and the last
    reports = trial("t0001", [[value] for value in values]).reports
    marked = tuple(
        {**report, "evaluation/is_new": number in (0, 3)} for number, report in enumerate(reports)
    )
    record = replace(trial("t0001", [[0.0]]), reports=marked)
    alone = SweepResults(root=Path(), trials=(record,))
    found = find_learning(alone, "t0001", Objective(METRIC), 90.0, is_confirmed=False)
    assert found is not None
    assert found.areas == (50.0,)


@pytest.mark.parametrize("rows", [[[5.0, 6.0]], [[None, None], [None, None]]], ids=str)
def test_without_a_curve_nothing_is_said(rows: list[list[float | None]]) -> None:
    alone = SweepResults(root=Path(), trials=(trial("t0001", rows),))
    assert find_learning(alone, "t0001", Objective(METRIC), 1.0, is_confirmed=False) is None
