from __future__ import annotations

import math

import pytest

from sweeper.metrics import Objective
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
