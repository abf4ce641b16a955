"""The tables of a run: one row per trial, per report, per replica, per run of the confirmation."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from comparable_runs import LOW, make_confirmed
from run_folders import make_run

from sweeper.journal import Journal, TrialReported
from sweeper.metrics import ENV_STEPS, Objective
from sweeper.opened_run import open_run
from sweeper.results.builder import ResultsBuilder
from sweeper.results.frames import history_frame, replicas_frame, trials_frame
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.states import TrialState

RETURN = "episode_return_mean"


def make_results(*records: TrialRecord) -> SweepResults:
    return replace(ResultsBuilder(Path("run")).snapshot(), trials=records)


def report(iteration: int, values: list[float | None], **more: object) -> dict[str, object]:
    own = {f"replica/{RETURN}": values, "replica/diverged": [False] * len(values)}
    return {"training_iteration": iteration, ENV_STEPS: 100 * iteration, **own, **more}


TRIAL = TrialRecord(
    "t0001",
    TrialState.TERMINATED,
    parameters={"lr": 0.1, "model_config": {"fcnet_hiddens": [64, 64]}, "x": {"a": None}},
    seeds=(5, 9),
    reports=(report(1, [None, 2.0]), report(2, [3.0, 4.0], **{RETURN: 3.5})),
)


def test_the_table_of_replicas_has_a_row_for_each_report_and_replica() -> None:
    frame = replicas_frame(make_results(TRIAL, replace(TRIAL, trial_id="t0002", seeds=())))
    first = frame[frame["trial_id"] == "t0001"]
    assert list(first["replica"]) == [0, 1, 0, 1]
    assert list(first["seed"]) == [5, 9, 5, 9]
    assert list(first["training_iteration"]) == [1, 1, 2, 2]
    assert list(first[ENV_STEPS]) == [100, 100, 200, 200]
    assert math.isnan(first[RETURN].iloc[0])
    assert list(first[RETURN].iloc[1:]) == [2.0, 3.0, 4.0]
    assert frame[frame["trial_id"] == "t0002"]["seed"].isna().all()
    assert str(frame[RETURN].dtype) == "float64"
    assert str(frame["diverged"].dtype) == "bool"


def test_lists_of_different_lengths_leave_holes_and_nothing_is_shifted() -> None:
    odd = {"training_iteration": 1, "replica/a": [1.0], "replica/b": [1.0, 2.0], "replica/c": 3.0}
    frame = replicas_frame(make_results(replace(TRIAL, reports=(odd,))))
    assert frame["b"].tolist() == [1.0, 2.0]
    assert frame["a"].iloc[0] == 1.0
    assert math.isnan(frame["a"].iloc[1])
    assert "c" not in frame


def test_no_table_holds_a_list_or_a_mapping_so_every_column_can_be_grouped_by() -> None:
    results = make_results(TRIAL)
    for frame in (
        trials_frame(results, Objective(RETURN)),
        history_frame(results),
        replicas_frame(results),
    ):
        for name in frame.columns:
            assert not frame[name].map(lambda one: isinstance(one, list | tuple | dict)).any()
            frame.groupby(name, dropna=False).size()
    history = history_frame(results)
    assert history["model_config.fcnet_hiddens"].tolist() == ["[64, 64]"] * 2
    assert not [name for name in history if name.startswith("replica/")]


def test_the_table_of_the_confirmation_has_the_values_of_the_verdict(tmp_path: Path) -> None:
    run = open_run(make_confirmed(tmp_path, "a").root)
    frame = run.confirmation
    assert list(frame.columns[:6]) == ["of", "trial_id", "state", "replica", "seed", "value"]
    for of, evidence in run.selection.verdict.evidence.items():
        assert frame[frame["of"] == of]["value"].tolist() == list(evidence.runs)
    assert frame[frame["of"] == "t0002"]["value"].tolist() == list(LOW)
    assert [str(frame[name].dtype) for name in ("replica", "seed", "value", "diverged")] == [
        *("int64", "int64", "float64", "bool")
    ]


def test_a_run_that_failed_has_no_value_in_the_table_of_the_confirmation(tmp_path: Path) -> None:
    run = open_run(make_confirmed(tmp_path, "a").root)
    failed = replace(run.results.retrained[0], state=TrialState.ERROR)
    results = replace(run.results, retrained=(failed, *run.results.retrained[1:]))
    frame = replace(run, results=results).confirmation
    assert frame[frame["state"] == "ERROR"]["value"].isna().all()
    outdated = tuple(replace(one, is_outdated=True) for one in run.results.retrained)
    assert len(replace(run, results=replace(run.results, retrained=outdated)).confirmation) == 0


@pytest.mark.parametrize("ends", [[], ["ERROR"], ["TERMINATED"], ["RUNNING"]])
def test_a_run_without_a_confirmation_or_without_trials_has_empty_tables(
    tmp_path: Path, ends: list[str]
) -> None:
    run = open_run(make_run(tmp_path, "r", ends).root)
    assert len(run.confirmation) == 0
    assert "value" in run.confirmation
    assert isinstance(run.replicas, pd.DataFrame)
    assert {"trial_id", "replica", "seed"} <= set(run.replicas.columns) or len(run.replicas)


def test_a_run_that_goes_on_is_read_again(tmp_path: Path) -> None:
    paths = make_run(tmp_path, "r", ["RUNNING"])
    run = open_run(paths.root)
    before = len(run.history)
    with closing(Journal(paths.journal)) as journal:
        journal.append(TrialReported(9e9, "t0001", {"training_iteration": 99, RETURN: 1.0}))
    assert len(run.history) == before
    again = run.reload()
    assert len(again.history) == before + 1
    assert again.objective == run.objective
