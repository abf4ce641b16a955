"""Comparisons of two samples of runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sweeper.evidence.statistics import Moments, welch_p_value, welch_p_values

SAMPLE = st.lists(st.integers(-1000, 1000).map(float), min_size=2, max_size=8)


@given(SAMPLE, SAMPLE)
def test_welchs_p_value_is_scipys(first: list[float], second: list[float]) -> None:
    found = welch_p_value(first, second)
    assert 0 <= found <= 1
    # scipy warns of samples without spread; ours has a case of its own for two of them.
    if min(np.ptp(first), np.ptp(second)) > 0 and np.mean(first) != np.mean(second):
        expected = stats.ttest_ind(first, second, equal_var=False).pvalue
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_samples_without_spread_are_compared_by_permutation() -> None:
    assert welch_p_value([500.0] * 5, [480.0] * 5) == pytest.approx(2 / 252)
    assert welch_p_value([500.0] * 5, [500.0] * 5) == 1.0
    assert welch_p_value([500.0], [1.0, 2.0]) == 1.0
    assert welch_p_value([], [1.0, 2.0]) == 1.0


def test_many_samples_are_compared_with_one_at_once() -> None:
    best, others = [5.0, 6.0, 7.0], [[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [4.0, 9.0, 6.0]]
    moments = Moments(
        means=np.mean(others, axis=1),
        variances=np.var(others, axis=1, ddof=1),
        numbers=np.full(3, 3.0),
    )
    found = welch_p_values(moments, Moments.of(best))
    assert found == pytest.approx([welch_p_value(one, best) for one in others])
