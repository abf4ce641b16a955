from __future__ import annotations

import numpy as np
import pytest

from sweeper.evidence.statistics import bootstrap_interval, performance_profile, run_means


def test_episodes_are_averaged_within_a_run() -> None:
    assert run_means({0: [1.0, 3.0], 7: [5.0]}) == (2.0, 5.0)
    with pytest.raises(ValueError, match="seed 7 has no episode"):
        run_means({0: [1.0], 7: []})


def test_the_profile_is_the_share_of_runs_above_a_threshold_over_tasks() -> None:
    profile = performance_profile({"a": [0.0, 1.0], "b": [1.0, 2.0, 3.0, 4.0]}, [-1.0, 0.5, 2.0])
    assert profile.tolist() == [1.0, 0.75, 0.25]


def test_a_bootstrap_is_refused_below_20_runs_and_without_spread() -> None:
    assert bootstrap_interval({"a": [float(i) for i in range(19)]}) is None
    assert bootstrap_interval({"a": [1.0] * 30}) is None


@pytest.mark.parametrize("statistic", ["mean", "iqm", "median"])
def test_a_bootstrap_holds_its_statistic_and_repeats_itself(statistic: str) -> None:
    runs = {"a": np.random.default_rng(0).normal(5.0, 1.0, 25).tolist()}
    found = bootstrap_interval(runs, statistic=statistic)
    assert found is not None
    assert found.low < 5.2
    assert found.high > 4.8
    assert found == bootstrap_interval(runs, statistic=statistic)
    if statistic != "median":  # whose ends are runs, and few
        assert found != bootstrap_interval(runs, statistic=statistic, seed=1)


def test_each_task_is_resampled_on_its_own() -> None:
    # Pooled, the runs would spread over 100; within tasks they spread over 1.
    generator = np.random.default_rng(1)
    runs = {
        name: (centre + generator.uniform(size=20)).tolist()
        for name, centre in (("a", 0.0), ("b", 100.0))
    }
    found = bootstrap_interval(runs, statistic="mean")
    assert found is not None
    assert found.high - found.low < 1.0
