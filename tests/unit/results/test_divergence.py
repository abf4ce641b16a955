from __future__ import annotations

import math

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
    correction = DivergenceCorrection("max")
    correction.apply(row([10.0, 40.0]))
    corrected = correction.apply(row([500.0, 500.0], [False, True]))
    assert corrected[f"replica/{METRIC}"] == [500.0, 10.0]
    assert corrected[METRIC] == 255.0


def test_what_is_worst_depends_on_the_mode() -> None:
    correction = DivergenceCorrection("min")
    correction.apply(row([10.0, 40.0]))
    corrected = correction.apply(row([1.0, 1.0], [True, False]))
    assert corrected[METRIC] == 20.5


def test_a_diverged_replicas_own_value_is_ignored() -> None:
    correction = DivergenceCorrection("max")
    correction.apply(row([7.0, -999.0], [False, True]))
    assert correction.apply(row([9.0, 9.0], [False, True]))[METRIC] == 8.0


def test_reports_without_divergence_stay_as_they_are() -> None:
    correction = DivergenceCorrection("max")
    report = row([3.0, math.nan])
    assert correction.apply(report) == report


def test_env_steps_are_never_corrected() -> None:
    correction = DivergenceCorrection("max")
    report = row([3.0, 4.0], [False, True])
    assert correction.apply(report)["num_env_steps_sampled_lifetime"] == 100


def test_a_report_of_other_numbers_is_left_as_it_is() -> None:
    correction = DivergenceCorrection("max")
    strange = {METRIC: 1.0, f"replica/{METRIC}": ["x", None, 3.0], "replica/diverged": [True]}
    assert correction.apply(strange) == strange
    mixed = {METRIC: 1.0, f"replica/{METRIC}": ["x", None, 3.0]}
    assert correction.apply(mixed) == mixed
