from __future__ import annotations

import math
from typing import Any

import pytest

from sweeper.metrics import Objective, examined_metric
from sweeper.trainables.contract import EvaluationResult, EvaluationSettings, Examination
from sweeper.trainables.examination import examine


class Trained:
    """Three replicas; what they come to depends on the stage of the episodes."""

    def __init__(self, *returns: float | None) -> None:
        self.returns = returns
        self.asked: list[Examination] = []

    def evaluate(self, examination: Examination | None = None) -> list[EvaluationResult | None]:
        assert examination is not None
        self.asked.append(examination)
        bonus = 100.0 if examination.stage == "agent evaluation" else 0.0
        return [
            None
            if value is None or not examination.includes(index)
            else EvaluationResult((value + bonus, value + bonus + 2), (10, 20))
            for index, value in enumerate(self.returns)
        ]


SETTINGS = EvaluationSettings(episodes=2)


def row_of(*returns: float | None, **objective: Any) -> tuple[dict[str, Any], Trained]:
    trained = Trained(*returns)
    return examine(trained, SETTINGS, Objective(**objective)), trained  # type: ignore[arg-type]


def test_every_replica_is_judged_and_the_best_again_on_other_seeds() -> None:
    row, trained = row_of(1.0, 9.0, 5.0)
    assert row["replica/confirmation/episode_return_mean"] == [2.0, 10.0, 6.0]
    assert row["confirmation/episode_return_mean"] == 6.0
    assert row["replica/confirmation/episode_len_mean"] == [15.0, 15.0, 15.0]
    assert row["agent/replica"] == 1
    assert row["agent/episode_returns"] == [109.0, 111.0]
    assert [(one.stage, one.replicas) for one in trained.asked] == [
        ("evaluation", None),
        ("agent evaluation", (1,)),
    ]


def test_fewer_can_be_better() -> None:
    row, _ = row_of(1.0, 9.0, 5.0, mode="min")
    assert row["agent/replica"] == 0


@pytest.mark.parametrize("lost", [None, math.nan])
def test_a_replica_without_a_value_is_neither_counted_nor_chosen(lost: float | None) -> None:
    row, _ = row_of(lost, 3.0)
    assert row["replica/confirmation/episode_return_mean"] == [None, 4.0]
    assert (row["confirmation/episode_return_mean"], row["agent/replica"]) == (4.0, 1)


def test_without_any_value_nobody_is_chosen() -> None:
    row, trained = row_of(None, None)
    assert row["replica/confirmation/episode_return_mean"] == [None, None]
    assert "agent/replica" not in row
    assert len(trained.asked) == 1


def test_what_episodes_tell() -> None:
    assert examined_metric("evaluation/episode_return_mean") == "confirmation/episode_return_mean"
    assert examined_metric("episode_len_mean") == "confirmation/episode_len_mean"
    assert examined_metric("learner/vf_loss") is None
