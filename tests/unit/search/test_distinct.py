"""Repeats are drawn again, everything else stays what it was."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.search.distinct import count_distinct, expand_distinct
from sweeper.search.distributions import parse_space
from sweeper.search.expansion import count, expand

TWO = {"lr": {"choice": [1e-3, 3e-3]}}
MIXED = {"lr": {"grid_search": [1, 2]}, "gamma": {"choice": [0.9, 0.99]}}
CONDITIONAL = {
    "use_kl_loss": {"choice": [True, False]},
    "kl_coeff": {"uniform": [0.1, 1.0], "when": {"use_kl_loss": True}},
}
SMALL = {
    "a": {"choice": [1, 2, 2]},
    "b": {"qrandint": [2, 6, 2]},
    "c": {"quniform": [0.0, 0.5, 0.25], "when": {"a": 1}},
    "d": {"grid_search": [True, False]},
}


def parameters_of(
    raw: Mapping[str, Any], number: int, seed: int = 0, **more: Any
) -> list[dict[str, Any]]:
    space, problems = parse_space(raw)
    assert not problems
    samples = expand_distinct(space, number, seed, **more)
    return [sample.parameters for sample in samples]


def differ(found: Sequence[Mapping[str, Any]]) -> bool:
    return all(one != other for one, other in itertools.combinations(found, 2))


@pytest.mark.parametrize("seed", range(5))
def test_a_space_of_two_gives_both_and_no_more(seed: int) -> None:
    assert sorted(one["lr"] for one in parameters_of(TWO, 3, seed)) == [1e-3, 3e-3]
    assert len(parameters_of(TWO, 1_000_000, seed)) == 2


@given(
    raw=st.sampled_from([TWO, MIXED, CONDITIONAL, SMALL]),
    number=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_what_is_new_stays_and_what_repeats_is_replaced(
    raw: Mapping[str, Any], number: int, seed: int
) -> None:
    space, _ = parse_space(raw)
    found = parameters_of(raw, number, seed)
    assert differ(found)
    assert len(found) == count_distinct(space, number, seed)
    assert len(found) <= count(space, number)
    drawn = [sample.parameters for sample in expand(space, number, seed)]
    first = next((n for n in range(len(drawn)) if drawn[n] in drawn[:n]), len(drawn))
    assert found[:first] == drawn[:first]


def test_a_space_of_ranges_is_what_it_was() -> None:
    space, _ = parse_space({"lr": {"loguniform": [1e-5, 1e-1]}, "n": {"randint": [1, 3]}})
    assert list(expand_distinct(space, 50, 4)) == list(expand(space, 50, 4))


@pytest.mark.parametrize(("raw", "size"), [(MIXED, 4), (SMALL, 2 * (3 * 3 + 3))])
def test_a_finite_space_is_used_up_whole(raw: Mapping[str, Any], size: int) -> None:
    assert len(parameters_of(raw, 500)) == size


def test_a_branch_without_free_parameters_is_tried_once() -> None:
    found = parameters_of(CONDITIONAL, 20)
    assert len(found) == 20
    assert found.count({"use_kl_loss": False}) == 1


def test_more_samples_go_on_where_fewer_ended() -> None:
    raw = {"a": {"choice": [1, 2, 3]}, "b": {"randint": [0, 4]}}
    assert parameters_of(raw, 12)[:7] == parameters_of(raw, 7)


def test_points_come_first_and_are_not_drawn_again() -> None:
    points = [{"lr": 3e-3}, {"lr": 3e-3}]
    assert [one["lr"] for one in parameters_of(TWO, 4, points=points)] == [3e-3, 1e-3]


def test_repeats_of_an_earlier_version_keep_their_numbers() -> None:
    space, _ = parse_space(TWO)
    repeated = next(
        drawn
        for seed in range(99)
        if (drawn := [one.parameters for one in expand(space, 2, seed)])[0] == drawn[1]
    )
    seed = next(s for s in range(99) if [x.parameters for x in expand(space, 2, s)] == repeated)
    later = parameters_of(TWO, 3, seed, asked=repeated)
    assert later[:2] == repeated
    assert later[2] not in repeated
    assert count_distinct(space, 3, seed, asked=repeated) == 3
