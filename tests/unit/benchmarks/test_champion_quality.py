"""The promise of the champion, on as many drawn sweeps as a unit test has time for."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import champion_quality

    yield champion_quality
    sys.modules.pop("champion_quality", None)


def test_the_champion_or_its_ties_are_truly_best_and_lucky_seeds_do_not_win(quality) -> None:
    space, sweeps = quality.SPACES[0], 60
    lucky = 0
    judged = []
    for seed in range(sweeps):
        results = quality.search(space, seed)
        lucky += quality.choose_by_last_return(space, results).mean < space.best
        judged.append(quality.confirm(space, results, seed, (10,)))
    assert sum(one.is_held for one in judged) >= 0.95 * sweeps
    assert np.mean([one.mean_covered for one in judged]) >= 0.93
    assert np.mean([one.next_covered for one in judged]) >= 0.93
    assert {one.verdict for one in judged} == {"better"}
    assert lucky > 5  # the space is one in which the usual rule is wrong


@pytest.mark.parametrize("looks", [(10,), (5, 10, 15, 20, 25, 30)], ids=str)
def test_nothing_is_called_better_where_there_is_no_difference(quality, looks) -> None:
    space = quality.SPACES[3]
    assert space.is_flat
    judged = [
        quality.confirm(space, quality.search(space, seed), seed, looks) for seed in range(25)
    ]
    assert sum(one.verdict == "better" for one in judged) <= 2
