from __future__ import annotations

import math
from typing import Any

import pytest

from sweeper.evidence.ties import find_ties
from sweeper.metrics import Objective
from sweeper.results.records import TrialRecord
from sweeper.results.spread import Spread, spread_of

METRIC = "episode_return_mean"


def trial(trial_id: str, *rows: list[float | None], **more: Any) -> TrialRecord:
    reports = [
        {
            "training_iteration": number,
            "num_env_steps_sampled_lifetime": 100 * number,
            f"replica/{METRIC}": values,
            **({} if None in values else {METRIC: sum(values) / len(values)}),
        }
        for number, values in enumerate(rows, start=1)
    ]
    return TrialRecord(trial_id, "TERMINATED", reports=tuple(reports), **more)


def test_the_spread_is_that_of_the_row_which_earned_the_score() -> None:
    record = trial("a", [1.0, 3.0], [9.0, 11.0], [4.0, 4.0])
    spreads = {
        score: spread_of(record, Objective(METRIC, score=score)) for score in ("last", "best")
    }
    assert spreads == {"last": Spread((4.0, 4.0)), "best": Spread((9.0, 11.0))}


def test_the_area_has_a_spread_of_areas() -> None:
    record = trial("a", [0.0, 10.0], [10.0, 10.0])
    assert spread_of(record, Objective(METRIC, score="auc")) == Spread((5.0, 10.0))


def test_a_spread_needs_every_replica_and_two_of_them() -> None:
    assert Spread((3.0,)).deviation is None
    assert Spread((1.0, 3.0)).deviation == pytest.approx(math.sqrt(2))
    assert spread_of(TrialRecord("a", "TERMINATED"), Objective(METRIC)) is None
    bare = TrialRecord("a", "TERMINATED", reports=({METRIC: 3.0},))
    assert spread_of(bare, Objective(METRIC)) is None


def test_ties_are_those_whose_replicas_differ_by_chance_alone() -> None:
    best = trial("t0001", [10.0, 11.0, 12.0, 11.0])
    near = trial("t0002", [10.0, 11.0, 11.0, 10.0])
    far = trial("t0003", [1.0, 2.0, 1.0, 2.0])
    single = trial("t0004", [10.5])
    still = trial("t0005", [5.0, 5.0, 5.0, 5.0])
    objective = Objective(METRIC)
    assert find_ties([far, near, best, single, still], objective) == {"t0002", "t0004"}
    assert find_ties([best], objective) == frozenset()
    equal = [trial(f"t000{n}", [value] * 4) for n, value in ((1, 5.0), (2, 5.0), (3, 4.0))]
    assert find_ties(equal, objective) == {"t0002"}
