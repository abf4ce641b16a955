"""The slow tier: one spec, five seeds on each backend, and the learning curves agree."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from learning_curves import BACKENDS, TASKS, Curves, compare, train

pytestmark = pytest.mark.acceptance

SEEDS = 5


@pytest.mark.parametrize("name", TASKS)
def test_torch_and_rllib_learn_alike_from_the_same_spec(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    torch, rllib = (train(task, backend, seeds=SEEDS, folder=tmp_path) for backend in BACKENDS)
    apart = [row for row in compare(task, torch, rllib) if not row.overlaps]
    assert not apart, f"curves of {name} that do not meet: {apart}"
    # Two backends that learn nothing would agree as well.
    assert min(torch.returns[-1].mean(), rllib.returns[-1].mean()) > task.learned


def test_curves_that_are_further_apart_than_their_seeds_do_not_pass_for_alike() -> None:
    task = TASKS["cartpole_ppo"]
    rng = np.random.default_rng(0)
    curve = np.linspace(20, 300, len(task.marks))[:, None] + rng.normal(0, 20, (5, SEEDS))
    late = curve.copy()
    late[2:] -= 100  # equal at first
    verdicts = [row.overlaps for row in compare(task, Curves(curve, 1.0), Curves(late, 1.0))]
    assert verdicts == [True, True, False, False, False, False]


def test_every_task_says_where_its_curve_is_read_in_rising_env_steps() -> None:
    for task in TASKS.values():
        assert list(task.marks) == sorted(set(task.marks))
