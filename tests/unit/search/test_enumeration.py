"""Grid and random search behind the port: the expansion, by number."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.metrics import Objective
from sweeper.search.base import Observation
from sweeper.search.distributions import parse_space
from sweeper.search.expansion import expand
from sweeper.search.registry import ENUMERATIONS, build_search
from sweeper.states import TrialState


def space_of(plain: dict[str, Any]) -> dict[str, Any]:
    space, problems = parse_space(plain)
    assert not problems
    return space


SPACE = space_of({"lr": {"loguniform": [1e-4, 1e-2]}, "gamma": {"grid_search": [0.9, 0.99]}})


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_it_asks_for_what_the_space_expands_to(name: str) -> None:
    search = build_search(name, SPACE, num_samples=3, seed=7, objective=Objective())
    asked = [search.ask(number) for number in range(1, 8)]
    assert asked == [*expand(SPACE, 3, 7), None]


@pytest.mark.parametrize("begun", [0, 1, 4, 6])
def test_a_later_launch_goes_on_where_the_first_one_stood(begun: int) -> None:
    first = build_search("random", SPACE, num_samples=3, seed=1, objective=Objective())
    whole = [first.ask(number) for number in range(1, 8)]
    later = build_search("random", SPACE, num_samples=3, seed=1, objective=Objective())
    assert [later.ask(number) for number in range(begun + 1, 8)] == whole[begun:]


def test_what_it_is_told_changes_nothing() -> None:
    search = build_search("random", SPACE, num_samples=2, seed=3, objective=Objective())
    first = search.ask(1)
    assert first is not None
    search.tell(Observation(1, first.parameters, TrialState.TERMINATED, ((10, 5.0),), 5.0))
    assert search.ask(2) == list(expand(SPACE, 2, 3))[1]
