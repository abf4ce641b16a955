from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sweeper.journal import Journal, LaunchStarted, TrialAsked, TrialReported
from sweeper.metrics import Objective
from sweeper.paths import RunPaths
from sweeper.results.builder import load_results
from sweeper.results.divergence import DivergenceCorrection

METRIC = "episode_return_mean"


def row(values: list[float], diverged: list[bool] | None = None) -> dict[str, object]:
    report: dict[str, object] = {
        METRIC: sum(values) / len(values),
        f"replica/{METRIC}": values,
        "num_env_steps_sampled_lifetime": 100,
        "replica/num_env_steps_sampled_lifetime": [100] * len(values),
    }
    if diverged:
        report["replica/diverged"] = diverged
    return report


def test_a_diverged_replica_counts_as_the_worst_of_the_whole_run() -> None:
    correction = DivergenceCorrection(Objective())
    correction.apply(row([10.0, 40.0]))
    corrected = correction.apply(row([500.0, 500.0], [False, True]))
    assert corrected[f"replica/{METRIC}"] == [500.0, 10.0]
    assert corrected[METRIC] == 255.0


def test_what_is_worst_depends_on_the_mode() -> None:
    correction = DivergenceCorrection(Objective(mode="min"))
    correction.apply(row([10.0, 40.0]))
    corrected = correction.apply(row([1.0, 1.0], [True, False]))
    assert corrected[METRIC] == 20.5


def test_a_diverged_replicas_own_value_is_ignored() -> None:
    correction = DivergenceCorrection(Objective())
    correction.apply(row([7.0, -999.0], [False, True]))
    assert correction.apply(row([9.0, 9.0], [False, True]))[METRIC] == 8.0


def test_reports_without_divergence_stay_as_they_are() -> None:
    correction = DivergenceCorrection(Objective())
    report = row([3.0, math.nan])
    assert correction.apply(report) == report


def test_env_steps_are_never_corrected() -> None:
    correction = DivergenceCorrection(Objective())
    report = row([3.0, 4.0], [False, True])
    assert correction.apply(report)["num_env_steps_sampled_lifetime"] == 100


def test_a_report_of_other_numbers_is_left_as_it_is() -> None:
    correction = DivergenceCorrection(Objective())
    strange = {METRIC: 1.0, f"replica/{METRIC}": ["x", None, 3.0], "replica/diverged": [True]}
    assert correction.apply(strange) == strange
    mixed = {METRIC: 1.0, f"replica/{METRIC}": ["x", None, 3.0]}
    assert correction.apply(mixed) == mixed


@pytest.mark.parametrize(
    ("metric", "objective", "worst", "trials_value"),
    [
        ("episode_return_mean", Objective(), 1.0, 3.0),
        ("evaluation/episode_return_mean", Objective(), 1.0, 3.0),
        ("confirmation/episode_return_min", Objective(), 1.0, 3.0),
        ("episode_return_min", Objective(), 1.0, 1.0),
        ("episode_return_max", Objective(), 1.0, 5.0),
        ("episode_len_mean", Objective("episode_len_mean", "min"), 9.0, 7.0),
        ("evaluation/episode_len_mean", Objective("episode_len_mean", "min"), 9.0, 7.0),
        # What the objective does not speak of: more is better.
        ("episode_len_mean", Objective("episode_return_mean", "min"), 1.0, 3.0),
        ("evaluation/episode_return_mean", Objective("learner/vf_loss", "min"), 1.0, 3.0),
        ("evaluation/episode_return_mean", Objective("episode_return_max", "min"), 9.0, 7.0),
    ],
)
def test_every_metric_of_episodes_counts_its_own_worst(
    metric: str, objective: Objective, worst: float, trials_value: float
) -> None:
    correction = DivergenceCorrection(objective)
    correction.apply({metric: 5.0, f"replica/{metric}": [1.0, 9.0]})
    frozen = {metric: 5.0, f"replica/{metric}": [5.0, None], "replica/diverged": [False, True]}
    corrected = correction.apply(frozen)
    assert corrected[f"replica/{metric}"] == [5.0, worst]
    assert corrected[metric] == trials_value


def test_other_numbers_of_the_replicas_are_never_corrected() -> None:
    correction = DivergenceCorrection(Objective("learner/vf_loss", "min"))
    report = {"learner/vf_loss": 3.0, "replica/learner/vf_loss": [3.0, 9.0]}
    report |= {"replica/diverged": [False, True]}
    assert correction.apply(report) == report


Rows = list[tuple[int, int, list[float], bool]]


def reported(number: int, iteration: int, values: list[float], diverged: bool) -> TrialReported:
    metrics: dict[str, Any] = {**row(values, [False, diverged]), "training_iteration": iteration}
    return TrialReported(1.0, f"t{number:04d}", metrics)


def record(folder: Path, rows: Rows, correction: DivergenceCorrection) -> RunPaths:
    """A launch that was told these rows, each as (trial, iteration, values, has diverged)."""
    paths = RunPaths(folder)
    paths.journal.unlink(missing_ok=True)
    with closing(Journal(paths.journal)) as journal:
        journal.append(LaunchStarted(1.0, 1, 1, ()))
        for number in sorted({one[0] for one in rows}):
            journal.append(TrialAsked(1.0, f"t{number:04d}", {}, {}, (0, 1)))
        for one in rows:
            event = reported(*one)
            metrics = correction.apply(event.metrics)
            journal.append(TrialReported(1.0, event.trial_id, metrics))
    return paths


def test_the_worst_value_counts_after_a_resume_even_if_its_report_was_rolled_back(
    tmp_path: Path,
) -> None:
    rows: Rows = [(1, 1, [9.0, 9.0], False), (1, 2, [1.0, 9.0], False), (1, 2, [8.0, 9.0], False)]
    paths = record(tmp_path, rows, DivergenceCorrection(Objective()))
    kept = [one[f"replica/{METRIC}"] for one in load_results(paths).trials[0].reports]
    assert kept == [[9.0, 9.0], [8.0, 9.0]]
    resumed = DivergenceCorrection(Objective())
    resumed.replay(paths)
    assert resumed.apply(row([7.0, 7.0], [False, True]))[METRIC] == 4.0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(1, 4),
            st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=2),
            st.booleans(),
        ),
        max_size=20,
    ),
    cut=st.integers(0, 20),
    mode=st.sampled_from(["max", "min"]),
)
def test_reports_are_corrected_after_a_resume_as_without_one(
    tmp_path: Path, rows: Rows, cut: int, mode: str
) -> None:
    whole, resumed = (DivergenceCorrection(Objective(mode=mode)) for _ in range(2))
    resumed.replay(record(tmp_path, rows[:cut], whole))
    for one in rows[cut:]:
        metrics = reported(*one).metrics
        assert resumed.apply(metrics) == whole.apply(metrics)
