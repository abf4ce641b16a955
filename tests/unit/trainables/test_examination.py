from __future__ import annotations

from typing import Any

from sweeper.metrics import Objective, examined_metric
from sweeper.trainables.contract import EvaluationResult, EvaluationSettings, Examination
from sweeper.trainables.examination import examine


class Trained:
    """Three replicas; what they come to depends on the stage of the episodes.

    One without a return had diverged before; one with a cause diverges now, and those of
    ``late`` in the second episodes.
    """

    def __init__(self, *returns: float | str | None, late: tuple[int, ...] = ()) -> None:
        self.returns, self.late = returns, late
        self.asked: list[Examination] = []

    def evaluate(self, examination: Examination | None = None) -> list[EvaluationResult | None]:
        assert examination is not None
        self.asked.append(examination)
        bonus = 100.0 if examination.stage == "agent evaluation" else 0.0
        results: list[EvaluationResult | None] = []
        for index, value in enumerate(self.returns):
            if value is None or not examination.includes(index):
                results.append(None)
            elif isinstance(value, str) or (bonus and index in self.late):
                results.append(EvaluationResult.failed(str(value)))
            else:
                results.append(EvaluationResult((value + bonus, value + bonus + 2), (10, 20)))
        return results


SETTINGS = EvaluationSettings(episodes=2)


def row_of(*returns: float | None, **objective: Any) -> tuple[dict[str, Any], Trained]:
    trained = Trained(*returns)
    examined = examine(trained, SETTINGS, Objective(**objective))  # type: ignore[arg-type]
    return dict(examined.row), trained


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


def test_a_replica_without_a_value_is_neither_counted_nor_chosen() -> None:
    row, _ = row_of(None, 3.0)
    assert row["replica/confirmation/episode_return_mean"] == [None, 4.0]
    assert (row["confirmation/episode_return_mean"], row["agent/replica"]) == (4.0, 1)


def test_a_replica_that_diverges_in_the_examination_has_no_value_and_a_cause() -> None:
    trained = Trained(9.0, "a reward of nan", None, 3.0)
    examined = examine(trained, SETTINGS, Objective())  # type: ignore[arg-type]
    assert examined.row["replica/confirmation/episode_return_mean"] == [10.0, None, None, 4.0]
    assert examined.row["confirmation/episode_return_mean"] == 7.0
    causes = [None if one is None else one.cause for one in examined.results]
    assert causes == [None, "a reward of nan", None, None]


def test_the_next_best_is_chosen_where_the_best_diverges_in_its_second_episodes() -> None:
    trained = Trained(5.0, 9.0, 7.0, late=(1, 2))
    examined = examine(trained, SETTINGS, Objective())  # type: ignore[arg-type]
    assert examined.row["agent/replica"] == 0
    assert examined.row["agent/episode_returns"] == [105.0, 107.0]
    assert examined.row["replica/confirmation/episode_return_mean"] == [6.0, None, None]
    assert [one is not None and one.diverged for one in examined.results] == [False, True, True]
    assert [one.replicas for one in trained.asked] == [None, (1,), (2,), (0,)]


def test_without_any_value_nobody_is_chosen() -> None:
    row, trained = row_of(None, None)
    assert row["replica/confirmation/episode_return_mean"] == [None, None]
    assert "agent/replica" not in row
    assert len(trained.asked) == 1


def test_what_episodes_tell() -> None:
    assert examined_metric("evaluation/episode_return_mean") == "confirmation/episode_return_mean"
    assert examined_metric("episode_len_mean") == "confirmation/episode_len_mean"
    assert examined_metric("learner/vf_loss") is None
