"""The best of an earlier run as points to begin with, and what is drawn at random."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from run_folders import make_run

from sweeper.errors import SpecError
from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.spec import dump_spec, load_spec

SPEC = """
environment: CartPole-v1
algorithm: PPO
param_space: {lr: %s, gamma: {uniform: [0.9, 0.999]}}
search: {algorithm: tpe, num_samples: 8, points_to_evaluate: {from: %s, top: %d}}
stop: {num_env_steps_sampled_lifetime: 1000}
storage: %s
tracking: null
"""


def plan(
    folder: Path, run: str = "first", top: int = 2, lr: str = "{loguniform: [0.01, 1]}"
) -> SweepPlan:
    path = folder / "spec.yaml"
    path.write_text(SPEC % (lr, run, top, folder))
    return load_plan(path)


def points(found: SweepPlan) -> list[dict[str, Any]]:
    return found.spec.search.points


@pytest.mark.parametrize("reference", ["first", "last", "{folder}/first"])
def test_the_best_of_a_run_come_first(tmp_path: Path, reference: str) -> None:
    make_run(tmp_path, "first", ["TERMINATED", "TERMINATED", "ERROR", "PRUNED"])
    found = plan(tmp_path, reference.format(folder=tmp_path))
    # The third failed; the fourth was stopped early, and the others ran to their own ends.
    assert points(found) == [{"lr": 0.2}, {"lr": 0.1}]
    assert found.notes == (
        "the best 2 configurations of first by its episode_return_mean come first: t0002 and t0001",
    )


def test_what_is_recorded_does_not_need_the_other_run(tmp_path: Path) -> None:
    make_run(tmp_path, "first")
    found = plan(tmp_path)
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "recorded.yaml").write_text(dump_spec(found.spec))
    assert load_spec(tmp_path / "recorded.yaml") == found.spec
    assert load_spec(tmp_path / "recorded.yaml").search.points == [{"lr": 0.1}]


def test_a_spec_that_names_a_run_survives_a_round_trip(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC % ("{loguniform: [0.01, 1]}", "last", 2, tmp_path))
    spec = load_spec(tmp_path / "spec.yaml")
    (tmp_path / "again.yaml").write_text(dump_spec(spec))
    assert load_spec(tmp_path / "again.yaml") == spec


def test_configurations_outside_of_the_space_are_reported(tmp_path: Path) -> None:
    make_run(tmp_path, "first", ["TERMINATED"] * 4)
    found = plan(tmp_path, top=3, lr="{loguniform: [0.01, 0.25]}")
    assert points(found) == [{"lr": 0.2}, {"lr": 0.1}]
    assert found.notes == (
        "the best 2 configurations of first by its episode_return_mean come first: t0002 and "
        "t0001; 3 were asked for",
        "of first left out, since they do not lie in this space: t0004 (lr 0.4 is outside of "
        "loguniform [0.01, 0.25]) and t0003 (lr 0.3 is outside of loguniform [0.01, 0.25])",
    )


def test_another_constant_than_here_is_outside(tmp_path: Path) -> None:
    make_run(tmp_path, "first", ["TERMINATED"])
    with pytest.raises(SpecError) as caught:
        plan(tmp_path, lr="0.3")
    assert str(caught.value).endswith(
        "search.points_to_evaluate: no configuration of first can be tried here: t0001 (lr is "
        "0.1, not 0.3)"
    )


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("nowhere", "search.points_to_evaluate: no run 'nowhere': give a path"),
        ("failed", "no configuration of failed can be tried here, for none has a value"),
    ],
)
def test_a_run_that_is_not_there_or_has_nothing_is_an_error_at_its_line(
    tmp_path: Path, run: str, words: str
) -> None:
    make_run(tmp_path, "failed", ["ERROR"])
    with pytest.raises(SpecError) as caught:
        plan(tmp_path, run)
    assert words in str(caught.value)
    assert "spec.yaml:5" in str(caught.value)


def test_the_plan_says_what_an_algorithm_leaves_to_chance(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        """
environment: CartPole-v1
algorithm: PPO
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  use_kl_loss: {choice: [true, false]}
  kl_coeff: {uniform: [0.1, 1.0], when: {use_kl_loss: true}}
search: {algorithm: cmaes, num_samples: 8}
stop: {num_env_steps_sampled_lifetime: 1000}
"""
    )
    assert load_plan(tmp_path / "spec.yaml").notes == (
        "cmaes models what every configuration has; kl_coeff has a condition and is drawn at "
        "random",
        "cmaes models ranges of numbers; use_kl_loss is drawn at random",
    )
    gp = load_plan(tmp_path / "spec.yaml", ["search.algorithm=gp"]).notes
    assert len(gp) == 1
    assert load_plan(tmp_path / "spec.yaml", ["search.algorithm=tpe"]).notes == ()
