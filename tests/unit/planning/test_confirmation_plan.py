"""What a plan says of the confirmation: whom, on which seeds, against what, at what cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeper.errors import SpecError
from sweeper.planning.plan import SweepPlan, build_plan, load_plan, training_plan
from sweeper.planning.settings import confirmation_settings
from sweeper.spec import dump_spec, load_spec
from sweeper.views.confirmation import describe_confirmation

SPEC = """
environment: CartPole-v1
algorithm: PPO
param_space: {lr: {grid_search: [0.1, 0.2, 0.3]}, gamma: 0.9}
stop: {num_env_steps_sampled_lifetime: 1000}
tracking: null
"""


def plan_of(folder: Path, *overrides: str, spec: str = SPEC) -> SweepPlan:
    file = folder / "spec.yaml"
    file.write_text(spec)
    return load_plan(file, overrides)


def refusal(folder: Path, *overrides: str) -> str:
    with pytest.raises(SpecError) as raised:
        plan_of(folder, *overrides)
    return str(raised.value)


def test_on_torch_three_finalists_meet_the_defaults_on_groups_of_seeds(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    planned = plan.confirmation
    assert planned is not None
    assert (planned.finalists, planned.seeds, planned.step) == (3, tuple(range(30)), 5)
    assert planned.baseline is not None
    assert planned.baseline.configuration == {"gamma": 0.9}
    assert plan.to_json()["confirmation"] == {
        "finalists": 3,
        "baseline": "defaults",
        "baseline_configuration": {"gamma": 0.9},
        "seeds": list(range(30)),
        "step": 5,
        "episodes": 100,
        "training_runs": 120,
        "env_steps": 120_000,
        "concurrent": planned.concurrent,
    }
    first, *_ = describe_confirmation(plan)
    assert first == (
        "3 finalists and the defaults on 5 fresh seeds each, and 5 more at a time while they can't "
        "be told apart, up to 30: 20 to 120 training runs, at most 120,000 env steps, then 100 "
        "episodes each"
    )


def test_on_rllib_it_is_off_and_the_plan_says_what_it_would_cost(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "backend=rllib")
    assert plan.confirmation is None
    (line,) = describe_confirmation(plan)
    assert line.startswith("off; selection.finalists: 3 would add 3 finalists and the defaults")


@pytest.mark.parametrize(
    ("overrides", "finalists"),
    [
        (["param_space.lr={grid_search: [0.1, 0.2]}"], 2),
        (["param_space.lr=0.1"], 0),  # nothing is searched
        (["stop=null", "budget.time_s=60"], 0),  # no trial has an end of its own
        (["selection.metric=learner/policy_loss"], 0),
        (["budget.trials=1"], 1),
        (["budget.trials=2", "selection.finalists=2"], 2),
    ],
)
def test_the_default_is_what_can_be_confirmed(
    tmp_path: Path, overrides: list[str], finalists: int
) -> None:
    plan = plan_of(tmp_path, *overrides)
    assert plan.spec.selection.finalists == finalists
    assert (plan.confirmation is None) == (finalists == 0)
    # What is recorded is read again.
    assert load_spec(tmp_path / "x.yaml", text=dump_spec(plan.spec)) == plan.spec


def test_training_one_configuration_confirms_nothing(tmp_path: Path) -> None:
    plan = training_plan(plan_of(tmp_path).spec)
    assert plan.confirmation is None


def test_as_many_seeds_as_it_takes(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "selection.confirm_seeds={step: 5, max: 20}")
    planned = plan.confirmation
    assert planned is not None
    assert (len(planned.seeds), planned.step) == (20, 5)
    first, *_ = describe_confirmation(plan)
    assert "5 fresh seeds each, and 5 more at a time" in first
    assert "20 to 80 training runs" in first


def test_a_baseline_may_be_another_specs_configuration(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SPEC.replace("gamma: 0.9", "gamma: 0.8"))
    plan = plan_of(tmp_path, f"selection.baseline={tmp_path / 'base.yaml'}")
    assert plan.confirmation is not None
    assert plan.confirmation.baseline is not None
    assert plan.confirmation.baseline.configuration == {"gamma": 0.8}
    kept = tmp_path / "kept.yaml"
    kept.write_text(plan.confirmation.baseline.spec)
    (tmp_path / "base.yaml").unlink()
    again = build_plan(plan.spec, kept_baseline=kept)
    assert again.confirmation == plan.confirmation
    assert plan_of(tmp_path, "selection.baseline=none").confirmation.baseline is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no file"),
        ("algorithm: [", "has a problem of its own"),
        (SPEC.replace("CartPole-v1", "Acrobot-v1"), "is for another environment"),
        (SPEC.replace("PPO", "DQN"), "is for another algorithm"),
    ],
)
def test_a_baseline_that_will_not_do(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "base.yaml").write_text(text)
    message = refusal(tmp_path, f"selection.baseline={tmp_path / 'base.yaml'}")
    assert "selection.baseline" in message
    assert words in message


def test_a_return_that_may_be_out_of_reach_is_warned_of(tmp_path: Path) -> None:
    assert not any("solved" in one for one in plan_of(tmp_path, "selection.solved_at=475").warnings)
    warnings = plan_of(tmp_path, "selection.solved_at=501").warnings
    assert any("counts as solved from 475 on" in one for one in warnings)


@pytest.mark.parametrize("metric", ["episode_len_mean", "evaluation/episode_len_mean"])
def test_a_number_that_is_no_return_is_not_held_against_the_environments(
    tmp_path: Path, metric: str
) -> None:
    overrides = [f"selection.metric={metric}", "selection.solved_at=501", "evaluation={}"]
    assert not any("solved" in one for one in plan_of(tmp_path, *overrides).warnings)
    returns = [f"selection.metric={metric.replace('len', 'return')}", *overrides[1:]]
    assert any("solved" in one for one in plan_of(tmp_path, *returns).warnings)


def settings_of(folder: Path, **sections: str) -> Any:
    plan = plan_of(folder, *(f"{key}={value}" for key, value in sections.items()))
    return confirmation_settings(plan, seeds=(3, 4), episodes=100)


def test_its_trials_get_their_configuration_whole_and_seeds_of_their_stage(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, budget="{env_steps: 5000, time_s: 60}")
    assert (settings.constants, settings.seeds, settings.stage) == ({}, (3, 4), "confirmation")
    assert (settings.time_budget_s, settings.env_steps_share) == (None, None)
    assert settings.stop == {"num_env_steps_sampled_lifetime": 1000}
    # CartPole is one array operation for all sub-environments.
    assert (settings.confirmation.episodes, settings.confirmation.max_envs) == (100, 100)


def test_it_evaluates_on_the_way_only_where_that_can_end_a_trial(tmp_path: Path) -> None:
    assert settings_of(tmp_path, evaluation="{}").evaluation is None
    ended = settings_of(
        tmp_path, evaluation="{explore: true}", **{"stop.evaluation/episode_return_mean": "400"}
    )
    assert ended.evaluation is not None
    assert ended.confirmation.explore
