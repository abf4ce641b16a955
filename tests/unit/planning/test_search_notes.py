"""The best of an earlier run as points to begin with, and what is drawn at random."""

from __future__ import annotations

import math
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from run_folders import make_run

from sweeper.errors import SpecError
from sweeper.journal import Journal, LaunchStarted, TrialAsked, TrialEnded, TrialReported
from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.spec import dump_spec, load_spec
from sweeper.states import TrialState

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
    assert points(found) == [{"lr": 0.2, "gamma": 0.99}, {"lr": 0.1, "gamma": 0.99}]
    assert found.notes == (
        "the best 2 configurations of first by its episode_return_mean come first: t0002 and t0001",
    )


def test_what_is_recorded_does_not_need_the_other_run(tmp_path: Path) -> None:
    make_run(tmp_path, "first")
    found = plan(tmp_path)
    shutil.rmtree(tmp_path / "first")
    (tmp_path / "recorded.yaml").write_text(dump_spec(found.spec))
    assert load_spec(tmp_path / "recorded.yaml") == found.spec
    assert load_spec(tmp_path / "recorded.yaml").search.points == [{"lr": 0.1, "gamma": 0.99}]


def test_a_spec_that_names_a_run_survives_a_round_trip(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC % ("{loguniform: [0.01, 1]}", "last", 2, tmp_path))
    spec = load_spec(tmp_path / "spec.yaml")
    (tmp_path / "again.yaml").write_text(dump_spec(spec))
    assert load_spec(tmp_path / "again.yaml") == spec


def test_configurations_outside_of_the_space_are_reported(tmp_path: Path) -> None:
    make_run(tmp_path, "first", ["TERMINATED"] * 4)
    found = plan(tmp_path, top=3, lr="{loguniform: [0.01, 0.25]}")
    assert [point["lr"] for point in points(found)] == [0.2, 0.1]
    assert found.notes == (
        "the best 2 configurations of first by its episode_return_mean come first: t0002 and "
        "t0001; 3 were asked for",
        "of first left out, since they do not lie in this space: t0004 (lr 0.4 is outside of "
        "loguniform [0.01, 0.25]) and t0003 (lr 0.3 is outside of loguniform [0.01, 0.25])",
    )


RUN = """
environment: CartPole-v1
algorithm: PPO
param_space: {lr: {grid_search: [0.1]}, gamma: {choice: [0.9, 0.99]}, vf_clip_param: .inf}
search: {num_samples: 2}
stop: {num_env_steps_sampled_lifetime: 1000}
tracking: null
"""


def run_of(folder: Path, *points: dict[str, Any], **constants: Any) -> None:
    """A finished run whose trials have some parameters, the later ones the better values."""
    paths = RunPaths(folder / "first")
    paths.root.mkdir()
    (folder / "first.yaml").write_text(RUN)
    paths.spec.write_text(dump_spec(load_spec(folder / "first.yaml")))
    with closing(Journal(paths.journal)) as journal:
        journal.append(LaunchStarted(1.0, 1, 1, ("sweeper",)))
        for number, point in enumerate(points, start=1):
            trial_id = f"t{number:04d}"
            row = {"training_iteration": 1, "episode_return_mean": float(number)}
            journal.append(TrialAsked(1.0, trial_id, {**constants, **point}, point, (0,)))
            journal.append(TrialReported(1.0, trial_id, row))
            journal.append(TrialEnded(1.0, trial_id, TrialState.TERMINATED, "done"))


def plan_in(folder: Path, space: str) -> SweepPlan:
    path = folder / "spec.yaml"
    text = SPEC % ("{loguniform: [0.01, 1]}", "first", 4, folder)
    path.write_text(text.replace("gamma: {uniform: [0.9, 0.999]}", space))
    return load_plan(path)


def test_what_is_searched_there_and_not_here_must_have_the_default(tmp_path: Path) -> None:
    run_of(tmp_path, {"lr": 0.1, "gamma": 0.99}, {"lr": 0.2, "gamma": 0.9}, {"lr": 0.3})
    found = plan_in(tmp_path, "num_epochs: 4")
    assert points(found) == [{"lr": 0.3}, {"lr": 0.1}]
    assert found.notes[1] == (
        "of first left out, since they do not lie in this space: t0002 (gamma is 0.9, not 0.99, "
        "the default)"
    )
    found = plan_in(tmp_path, "gamma: 0.9")
    assert points(found) == [{"lr": 0.3}, {"lr": 0.2}]


@pytest.mark.parametrize(
    ("space", "constants", "point"),
    [
        ("gamma: {uniform: [0.9, 0.999]}", {}, {"gamma": 0.99}),
        ("gamma: {uniform: [0.9, 0.999]}", {"gamma": 0.95}, {"gamma": 0.95}),
        ("gamma: {grid_search: [0.9, 0.99]}", {}, {"gamma": 0.99}),
        ("num_epochs: {randint: [1, 40]}", {}, {"num_epochs": 30}),
        ("grad_clip: {choice: [0.5, null]}", {}, {"grad_clip": None}),
        (
            "model_config: {fcnet_hiddens: {choice: [[64], [8, 8]]}}",
            {"model_config": {"fcnet_hiddens": [8, 8]}},
            {"model_config": {"fcnet_hiddens": [8, 8]}},
        ),
        (
            "kl_coeff: {uniform: [0.1, 0.5], when: {use_kl_loss: true}}, "
            "use_kl_loss: {choice: [true, false]}",
            {},
            {"kl_coeff": 0.2, "use_kl_loss": True},
        ),
        (
            "kl_coeff: {uniform: [0.5, 0.6], when: {use_kl_loss: true}}, "
            "use_kl_loss: {choice: [true, false]}",
            {"use_kl_loss": False},
            {"use_kl_loss": False},
        ),
    ],
)
def test_what_is_searched_here_and_not_there_has_the_value_that_it_had_there(
    tmp_path: Path, space: str, constants: dict[str, Any], point: dict[str, Any]
) -> None:
    run_of(tmp_path, {"lr": 0.1}, {"lr": 0.2}, **constants)
    assert points(plan_in(tmp_path, space)) == [{"lr": 0.2, **point}, {"lr": 0.1, **point}]


def test_a_default_that_lies_outside_of_what_is_searched_here_is_said(tmp_path: Path) -> None:
    run_of(tmp_path, {"lr": 0.1}, {"lr": 0.2, "gamma": 0.95})
    found = plan_in(tmp_path, "gamma: {uniform: [0.9, 0.98]}")
    assert points(found) == [{"lr": 0.2, "gamma": 0.95}]
    why = "gamma 0.99, the default, is outside of uniform [0.9, 0.98]"
    assert found.notes[1].endswith(f"since they do not lie in this space: t0001 ({why})")


def test_the_defaults_are_those_of_the_earlier_run(tmp_path: Path) -> None:
    run_of(tmp_path, {"lr": 0.1})
    text = RUN.replace("PPO", "IMPALA").replace(", vf_clip_param: .inf", "")
    (tmp_path / "first.yaml").write_text(text)
    RunPaths(tmp_path / "first").spec.write_text(dump_spec(load_spec(tmp_path / "first.yaml")))
    found = plan_in(tmp_path, "vf_loss_coeff: {uniform: [0.1, 1]}")
    assert points(found) == [{"lr": 0.1, "vf_loss_coeff": 0.5}]


def test_an_infinite_constant_is_outside_of_a_range_of_whole_numbers(tmp_path: Path) -> None:
    run_of(tmp_path, {"lr": 0.1}, {"lr": 0.2, "vf_clip_param": 7.0}, vf_clip_param=math.inf)
    found = plan_in(tmp_path, "vf_clip_param: {lograndint: [1, 100]}")
    assert repr(points(found)) == "[{'lr': 0.2, 'vf_clip_param': 7}]"
    assert "t0001 (vf_clip_param .inf is outside of lograndint [1, 100])" in found.notes[1]


def test_a_draw_that_rounding_put_beyond_its_range_lies_in_it(tmp_path: Path) -> None:
    run_of(tmp_path, {"lr": 0.1, "gamma": 0.30000000000000004})
    found = plan_in(tmp_path, "gamma: {quniform: [0.1, 0.3, 0.05]}")
    assert points(found) == [{"lr": 0.1, "gamma": 0.3}]


def test_values_that_exclude_each_other_here_are_left_out(tmp_path: Path) -> None:
    run_of(tmp_path, {"lr": 0.1, "kl_coeff": 0.3}, {"lr": 0.2}, use_kl_loss=False)
    space = (
        "use_kl_loss: {choice: [true, false]}, "
        "kl_coeff: {uniform: [0.1, 0.5], when: {use_kl_loss: true}}"
    )
    found = plan_in(tmp_path, space)
    assert points(found) == [{"use_kl_loss": False, "lr": 0.2}]
    why = "kl_coeff applies only where use_kl_loss is true, and it is false here"
    assert f"t0001 ({why})" in found.notes[1]


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
