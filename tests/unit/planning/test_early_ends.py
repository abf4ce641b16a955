"""What a plan says of a search that learns only from trials that the scheduler lets end."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.spec.search import resolve_search_options

SPEC = """
environment: CartPole-v1
algorithm: PPO
param_space: {lr: {loguniform: [1.0e-4, 1.0e-2]}, gamma: {uniform: [0.9, 0.999]}}
search: {algorithm: gp, num_samples: 16}
scheduler: asha
stop: {num_env_steps_sampled_lifetime: 100000}
tracking: null
"""


def plan_of(*overrides: str) -> SweepPlan:
    Path("spec.yaml").write_text(SPEC)
    return load_plan("spec.yaml", overrides)


def test_a_search_that_will_hardly_learn_is_a_warning_with_the_numbers() -> None:
    plan = plan_of()
    assert plan.warnings == (
        "gp learns only from trials that run to their own end, about 6 of 16 under asha; until 10 "
        "have (n_startup_trials), it draws at random, which is most of the sweep; use tpe, which "
        "learns from pruned trials too, or scheduler: fifo",
    )
    assert plan.notes == ()


def test_one_that_learns_from_enough_is_a_note() -> None:
    plan = plan_of("search.num_samples=64", "search.n_startup_trials=4")
    assert plan.warnings == ()
    assert plan.notes == (
        "gp learns only from trials that run to their own end, about 19 of 64 under asha; until 4 "
        "have (n_startup_trials), it draws at random",
    )


def test_a_generation_is_what_cmaes_needs() -> None:
    cmaes = ["search.algorithm=cmaes", "search.consider_pruned_trials=false"]
    (warning,) = plan_of(*cmaes, "search.popsize=5").warnings
    assert warning.endswith(
        "until 5 have (a generation), it draws as at the beginning, which is most of the sweep; "
        "set search.consider_pruned_trials: true"
    )
    (note,) = plan_of(*cmaes, "search.num_samples=64").notes
    assert "until 6 have (a generation)" in note
    crossed = "param_space.clip_param={grid_search: [0.1, 0.2, 0.3, 0.4]}"
    (warning,) = plan_of(*cmaes, "search.num_samples=40", crossed).warnings
    assert "of 40 under asha for each of 4 points of the grid; until 6" in warning


def test_nobody_knows_how_many_the_median_rule_lets_end() -> None:
    (note,) = plan_of("search.algorithm=cmaes", "scheduler=median").notes
    assert "and nobody knows how many median lets; until 6 have" in note


@pytest.mark.parametrize(
    "overrides",
    [
        ["scheduler=fifo"],
        ["search.algorithm=tpe"],
        ["search.algorithm=qmc"],
        ["search.algorithm=random"],
        ["search.algorithm=cmaes"],
        ["search.algorithm=cmaes", "scheduler=hyperband"],
        ["search.algorithm=cmaes", "scheduler=median", "search.consider_pruned_trials=true"],
    ],
)
def test_where_every_trial_tells_something_nothing_is_said(overrides: list[str]) -> None:
    plan = plan_of(*overrides)
    assert "own end" not in " ".join([*plan.notes, *plan.warnings])


@pytest.mark.parametrize(
    ("scheduler", "given", "considered"),
    [
        ("asha", [], True),
        ("hyperband", [], True),
        ("median", [], False),
        ("fifo", [], False),
        ("asha", ["search.consider_pruned_trials=false"], False),
        ("median", ["search.consider_pruned_trials=true"], True),
    ],
)
def test_cmaes_learns_from_what_asha_and_hyperband_stop_unless_the_spec_says_otherwise(
    scheduler: str, given: list[str], considered: bool
) -> None:
    spec = plan_of("search.algorithm=cmaes", f"scheduler={scheduler}", *given).spec
    options = resolve_search_options(spec.search, spec.scheduler.type)
    assert options["consider_pruned_trials"] is considered
