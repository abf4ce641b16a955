from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sweeper.evidence.sequential import compare_pairs, look_levels, reaches_a_decision
from sweeper.evidence.statistics import welch_p_value

LOOKS = (5, 10, 15, 20, 25, 30)


def test_one_look_has_the_whole_level() -> None:
    assert look_levels(0.05, (10,)) == (0.05,)


def test_two_equal_looks_have_the_bounds_of_the_textbook() -> None:
    # Linear spending, two-sided 5 %: 2.241 and 2.125 (Kim and DeMets 1987, rho = 1).
    bounds = stats.norm.isf(np.asarray(look_levels(0.05, (10, 20))) / 2)
    assert bounds == pytest.approx([2.241, 2.125], abs=1e-3)


def test_all_looks_together_err_at_the_level() -> None:
    bounds = stats.norm.isf(np.asarray(look_levels(0.05, LOOKS)) / 2)
    steps = np.random.default_rng(0).normal(scale=np.sqrt(5), size=(200_000, len(LOOKS)))
    statistics = np.abs(np.cumsum(steps, axis=1)) / np.sqrt(LOOKS)
    assert np.mean((statistics > bounds).any(axis=1)) == pytest.approx(0.05, abs=0.002)
    # To look six times at 5 % each:
    assert np.mean((statistics > 1.96).any(axis=1)) > 0.15


@pytest.mark.parametrize("looks", [(), (10, 5), (5, 5), (0, 5)])
def test_looks_must_increase(looks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="looks must increase"):
        look_levels(0.05, looks)


def test_failed_runs_do_not_count() -> None:
    samples = {"a": (None, 1.0, 1.1, 0.9, 1.0), "b": (5.0, 5.1, None, 4.9, 5.0)}
    assert compare_pairs(samples, [("a", "b")], (5,), 0.05) == {("a", "b"): -1}
    nothing = {"a": (None,) * 5, "b": (5.0, 5.1, 5.0, 4.9, 5.0)}
    assert compare_pairs(nothing, [("a", "b")], (5,), 0.05) == {("a", "b"): 0}


def test_a_look_that_was_not_reached_decides_nothing() -> None:
    samples = {"a": (1.0, 1.1, 0.9, 1.0), "b": (5.0, 5.1, 4.9, 5.0)}
    assert compare_pairs(samples, [("a", "b")], (5, 10), 0.05) == {("a", "b"): 0}


def test_the_level_is_shared_over_comparisons() -> None:
    # p = 0.03 alone is enough at 5 %, but not beside two comparisons without a difference.
    one, two = (0.0, 1.0, 2.0, 3.0, 4.0), (2.5, 3.5, 4.5, 5.5, 6.5)
    assert 0.025 < welch_p_value(one, two) < 0.05
    samples = {"a": one, "b": two, "c": one}
    assert compare_pairs(samples, [("a", "b")], (5,), 0.05)["a", "b"] == -1
    pairs = [("a", "b"), ("a", "c"), ("c", "a")]
    assert compare_pairs(samples, pairs, (5,), 0.05)["a", "b"] == 0


def test_to_go_on_depends_on_the_trend_and_on_the_looks_left() -> None:
    one, near, far = (0.0, 1.0, 2.0, 3.0, 4.0), (0.1, 1.1, 2.1, 3.1, 4.1), (1.5, 2.5, 3.5, 4.5, 5.5)
    assert not reaches_a_decision(one, near, LOOKS, 0.05, min_power=0.05)
    assert reaches_a_decision(one, far, LOOKS, 0.05, min_power=0.05)
    assert not reaches_a_decision(one, far, (5,), 0.05, min_power=0.05)
