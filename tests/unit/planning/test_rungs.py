"""What a plan says of a scheduler: its rungs, what it is expected to save, what is doubtful."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.views.plan import describe_plan

SPEC = """
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  train_batch_size_per_learner: 256
search: {num_samples: 16}
scheduler: {type: asha, reduction_factor: 3}
stop: {num_env_steps_sampled_lifetime: 100000}
tracking: null
"""


def plan_of(*overrides: str) -> SweepPlan:
    Path("spec.yaml").write_text(SPEC)
    return load_plan("spec.yaml", overrides)


def words_of(plan: SweepPlan) -> str:
    return " ".join(" ".join(describe_plan(plan, 100)).split())


def test_a_plan_says_where_the_rungs_are_and_how_much_is_trained() -> None:
    plan = plan_of()
    assert plan.rungs == (30_000, 90_000)
    assert plan.expected_share == pytest.approx(0.5763, abs=0.001)
    assert (
        "asha stops trials at 30,000 and 90,000 env steps a replica: the best 1 in 3 of those that "
        "came there go on about 58% of 3,200,000 env steps in all, if trials' values come in "
        "random order"
    ) in words_of(plan)
    assert plan.warnings == ()
    document = plan.to_json()
    assert (document["rungs"], document["expected_share"]) == (
        [30_000, 90_000],
        plan.expected_share,
    )


def test_what_depends_on_the_values_is_bounded_from_below() -> None:
    plan = plan_of("scheduler=median")
    assert plan.expected_share is None
    assert "median stops a trial from 30,000 env steps a replica on" in words_of(plan)
    assert "depends on how much they differ: at least 960,000 env steps in all" in words_of(plan)


def test_without_a_scheduler_every_trial_is_whole() -> None:
    plan = plan_of("scheduler=fifo")
    assert (plan.rungs, plan.stopping, plan.expected_share) == ((), "", 1.0)


def test_hyperband_has_a_rung_whatever_the_factor() -> None:
    for factor, rung in ((2, 50_000), (3, 33_334), (4, 25_000), (7.5, 13_334), (1000, 100)):
        plan = plan_of(f"scheduler={{type: hyperband, reduction_factor: {factor}}}")
        assert plan.rungs == (rung,)
        assert plan.expected_share is not None
        assert plan.expected_share < 1
    (warning,) = plan_of("scheduler={type: hyperband, reduction_factor: 4}").warnings
    assert warning.startswith("the first rung (25,000) lies at 25% of a trial: in 27 tables")
    assert warning.endswith("; a scheduler.reduction_factor of 3 puts it at 33%")


def test_max_t_bounds_a_trial_as_stop_does() -> None:
    plan = plan_of("scheduler={type: asha, max_t: 50000}")
    assert plan.spec.stop == {"num_env_steps_sampled_lifetime": 50_000}
    assert plan.env_steps == 16 * 2 * 50_000
    assert plan.rungs == (15_000,)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["scheduler.grace_period=10000"],
            "scheduler.grace_period (10,000) lies at 10% of a trial: in 27 tables of real results, "
            "keeping a quarter at 10% of a trial lost 48% of the best, and at 30% it lost 20%; "
            "leave scheduler.grace_period out for 30%",
        ),
        (
            ["scheduler.grace_period=200"],
            "scheduler.grace_period (200) is an iteration or less (256 env steps): trials are "
            "judged before they have learned anything",
        ),
        (
            ["evaluation={every_env_steps: 40000}"],
            "the first rung (30,000) lies before the first evaluation (40,000 env steps): trials "
            "have no score at their first rung",
        ),
        (
            ["evaluation={every_env_steps: 20000}", "scheduler.reduction_factor=1.5"],
            "rungs lie 15,000 env steps apart, and evaluations 20,000: trials are compared at two "
            "rungs by the same evaluation; lower evaluation.every_env_steps",
        ),
    ],
)
def test_doubtful_rungs_are_warnings(overrides: list[str], words: str) -> None:
    assert plan_of(*overrides).warnings == (words,)


def test_training_alone_compares_with_nobody() -> None:
    plan_of()
    plan = load_plan("spec.yaml", is_training=True)
    assert (plan.spec.scheduler.type, plan.rungs) == ("fifo", ())
