"""benchmarks/backends.py compares two runs of one sweep."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from sweeper.metrics import Objective
from sweeper.opened_run import Run
from sweeper.results.records import SweepResults, TrialRecord

METRIC = "evaluation/episode_return_mean"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "benchmarks"))


def trial(trial_id: str, values: list[float], *, lr: float = 0.1, state: str = "TERMINATED") -> Any:
    report = {
        f"replica/{METRIC}": values,
        "replica/num_env_steps_sampled_lifetime": [100] * len(values),
        "time_total_s": 2.0,
    }
    configuration = {"lr": lr, "epsilon": [[0, 1.0], [10, 0.1]]}
    return TrialRecord(
        trial_id,
        state,
        configuration=configuration,
        parameters={"lr": lr},
        reports=({}, report),
    )


def run(*trials: Any) -> Run:
    return Run(SweepResults(Path("run"), trials), Objective(metric=METRIC))


def pair(first: Run, second: Run) -> Any:
    return importlib.import_module("backends").pair_trials([first, second], METRIC)


def test_trials_are_paired_by_id_and_compared_by_their_last_reports() -> None:
    here = run(trial("t0001", [1.0, 2.0, 3.0]), trial("t0002", [5.0, 5.1, 5.2]))
    there = run(trial("t0002", [5.0, 5.3, 5.1]), trial("t0001", [11.0, 12.0, 13.0]))
    first, second = pair(here, there)
    assert (first.trial_id, first.overlaps) == ("t0001", False)
    assert (second.trial_id, second.overlaps) == ("t0002", True)
    assert first.p_value < 0.01 < second.p_value
    assert [side.summary.mean for side in first.sides] == [2.0, 12.0]
    assert [side.env_steps for side in first.sides] == [300, 300]


def test_a_trial_that_is_unfinished_in_one_run_is_skipped() -> None:
    here = run(trial("t0001", [1.0, 2.0]), trial("t0002", [1.0, 2.0]), trial("t0003", [1.0, 2.0]))
    there = run(trial("t0001", [1.0, 2.0]), trial("t0002", [1.0, 2.0], state="RUNNING"))
    assert [each.trial_id for each in pair(here, there)] == ["t0001"]


def test_runs_with_different_configurations_are_refused() -> None:
    with pytest.raises(SystemExit, match="t0001 is"):
        pair(run(trial("t0001", [1.0, 2.0])), run(trial("t0001", [1.0, 2.0], lr=0.2)))


def test_intervals_of_one_distribution_rarely_do_not_overlap() -> None:
    by_chance = importlib.import_module("backends").by_chance
    # Many seeds: 2.77 standard errors of a difference, as 1.96 of each add up.
    assert by_chance(100, draws=10_000) == pytest.approx(0.0056, abs=0.003)
