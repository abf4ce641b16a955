"""The next configuration is chosen while trials run."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sweeper.running.background_search import BackgroundSearch
from sweeper.search.base import Observation, SearchAlgorithm
from sweeper.search.expansion import Sample
from sweeper.states import TrialState


class Slow(SearchAlgorithm):
    """Chooses what it was told of, when it is let."""

    def __init__(self, last: int = 100) -> None:
        self.known: list[int] = []
        self.begun: list[int] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.last = last

    def ask(self, number: int) -> Sample | None:
        self.begun.append(number)
        self.may_go_on.wait(10)
        if number > self.last:
            return None
        return Sample({}, {"known": list(self.known)})

    def tell(self, observation: Observation) -> None:
        if observation.number < 0:
            raise ValueError("no such trial")
        self.known.append(observation.number)


def told(number: int) -> Observation:
    return Observation(number, {}, TrialState.TERMINATED)


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def search(slow: Slow) -> Iterator[BackgroundSearch]:
    background = BackgroundSearch(slow)
    yield background
    slow.may_go_on.set()
    background.close()


def parameters(search: SearchAlgorithm, number: int) -> object:
    sample = search.ask(number)
    assert sample is not None
    return sample.parameters["known"]


def test_a_configuration_knows_all_but_the_trial_that_has_just_ended(
    search: BackgroundSearch,
) -> None:
    assert parameters(search, 1) == []
    assert parameters(search, 2) == []
    for number in range(3, 20):
        search.tell(told(number - 2))
        assert parameters(search, number) == list(range(1, number - 2))


def test_what_is_ready_is_handed_out_while_the_next_is_thought_about(
    search: BackgroundSearch, slow: Slow
) -> None:
    assert parameters(search, 1) == []
    assert parameters(search, 2) == []
    search._chosen[3].result()
    slow.may_go_on.clear()
    search.tell(told(1))
    assert parameters(search, 3) == []  # the fourth hangs, and nobody waits
    search.tell(told(2))
    slow.may_go_on.set()
    assert parameters(search, 4) == [1]
    assert slow.begun[:4] == [1, 2, 3, 4]


def test_what_was_told_before_the_first_question_counts() -> None:
    search = BackgroundSearch(Slow())
    for number in range(1, 50):
        search.tell(told(number))
    search.prepare(50)
    assert parameters(search, 50) == list(range(1, 50))
    search.close()


def test_the_end_is_the_end() -> None:
    search = BackgroundSearch(Slow(last=2))
    assert [search.ask(number) is None for number in (1, 2, 3, 4)] == [False, False, True, True]
    search.close()


def test_an_error_of_the_thread_comes_out(search: BackgroundSearch) -> None:
    search.tell(told(-1))
    with pytest.raises(ValueError, match="no such trial"):
        search.ask(1)


def test_closing_does_not_wait(search: BackgroundSearch, slow: Slow) -> None:
    assert parameters(search, 1) == []
    slow.may_go_on.clear()
    search.prepare(7)
    search.close()
