"""A sweep's time and disk are estimated from similar runs, and only from these."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from deep_trees import deep_tree

from sweeper.planning.estimates import estimate_plan
from sweeper.planning.plan import Estimate, SweepPlan, load_plan
from sweeper.spec import dump_spec

STEPS = "num_env_steps_sampled_lifetime"
SPEC = f"""
name: demo
environment: CartPole-v1
algorithm: PPO
backend: rllib
param_space: {{lr: {{loguniform: [1.0e-4, 1.0e-2]}}}}
search: {{num_samples: 8, max_concurrent: 2}}
stop: {{{STEPS}: 10000}}
checkpoint: {{keep_trials: 3}}
"""


def plan_of(*overrides: str) -> SweepPlan:
    Path("spec.yaml").write_text(SPEC)
    return estimate_plan(load_plan("spec.yaml", overrides))


def estimate_of(*overrides: str) -> Estimate:
    estimate = plan_of(*overrides).estimate
    assert estimate is not None
    return estimate


def record_run(
    name: str,
    *overrides: str,
    seconds: Any = 20.0,
    size: int = 250,
    is_whole: bool = True,
    stopped_at: Sequence[int] = (),
    **metrics: Any,
) -> None:
    """A run folder with one trial of 1,000 env steps, and others that a scheduler stopped."""
    root = Path("runs") / name
    checkpoint = root / "trials" / "t0001" / "checkpoint_000001"
    (checkpoint / "replica_0").mkdir(parents=True)
    (checkpoint / "replica_0" / "weights").write_bytes(b"x" * size)
    if is_whole:
        (checkpoint / "trainer.json").write_text("")
        (checkpoint / "trainer.safetensors").write_bytes(b"x" * size)
    (root / "spec.yaml").write_text(dump_spec(plan_of(*overrides).spec))
    report = {STEPS: 1000, "time_total_s": seconds, "episode_return_mean": 9.0, **metrics}
    asked: dict[str, Any] = {
        "event": "trial_asked", "time": 1.0, "trial_id": "t0001", "configuration": {},
        "parameters": {}, "seeds": [0],
    }  # fmt: skip
    reported = {"event": "trial_reported", "time": 2.0, "trial_id": "t0001", "metrics": report}
    saved = {
        "event": "trial_checkpointed", "time": 3.0, "trial_id": "t0001",
        "path": "trials/t0001/checkpoint_000001", "metrics": {},
    }  # fmt: skip
    lines = [asked, reported, saved]
    for number, steps in enumerate(stopped_at, start=2):
        trial_id = f"t{number:04d}"
        row = {**report, STEPS: steps, "time_total_s": seconds * steps / 1000}
        ended = {"event": "trial_ended", "state": "PRUNED", "reason": "worse"}
        lines += [
            {**asked, "trial_id": trial_id},
            {**reported, "trial_id": trial_id, "metrics": row},
            {**ended, "time": 4.0, "trial_id": trial_id},
        ]
    (root / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_without_a_run_there_is_no_estimate() -> None:
    assert plan_of().estimate is None


def test_a_run_of_the_same_kind_is_measured() -> None:
    record_run("demo-20261124-100000")
    # 4 rounds of 2 trials, each 10,000 steps of 20 ms; the best three keep 500 bytes.
    assert estimate_of().to_json() == {
        "time_s": pytest.approx(800),
        "disk_bytes": 1500,
        "based_on": "demo-20261124-100000",
        "limit": None,
        "is_limit": False,
        "is_upper_bound": False,
        "confirmation_s": None,
        "trial_share": None,
    }


def test_torch_keeps_only_the_agent_unless_the_spec_says_otherwise() -> None:
    torch = ("backend=torch", "seeds=1")
    record_run("demo-20261124-100000", *torch)
    assert estimate_of(*torch).disk_bytes == 750
    assert estimate_of(*torch, "checkpoint.trainer=true").disk_bytes == 1500
    record_run("demo-20261124-110000", *torch, is_whole=False)
    assert estimate_of(*torch).disk_bytes == 750
    assert estimate_of(*torch, "checkpoint.trainer=true").disk_bytes is None


def test_the_newest_run_is_measured() -> None:
    record_run("demo-20261124-100000", seconds=20)
    record_run("demo-20261124-110000", seconds=40)
    assert estimate_of().time_s == pytest.approx(1600)


HOSTILE = (
    *(math.nan, math.inf, -math.inf, 1e300, 1e155, -1.0, 0.0),
    *(10**400, 10**308, "20", None, [1]),
)


@pytest.mark.parametrize("number", HOSTILE, ids=lambda number: str(number)[:8])
@pytest.mark.parametrize("metric", ["seconds", STEPS, "env_steps_per_s"])
def test_a_number_that_is_no_measurement_does_not_keep_a_plan_from_being_made(
    metric: str, number: Any
) -> None:
    record_run("demo-20261124-100000")
    record_run("demo-20261124-110000", **{metric: number})
    estimate = estimate_of()
    assert estimate.time_s is not None
    assert math.isfinite(estimate.time_s)
    if metric == "seconds":
        assert estimate.based_on == "demo-20261124-100000"


def test_an_endless_tree_in_a_checkpoint_does_not_keep_a_plan_from_being_made() -> None:
    record_run("demo-20261124-100000")
    with deep_tree(Path("runs/demo-20261124-100000/trials/t0001/checkpoint_000001")):
        assert estimate_of().disk_bytes == 1500


def test_replicas_multiply_the_cost_on_rllib() -> None:
    record_run("demo-20261124-100000")
    estimate = estimate_of("seeds=3")
    assert (estimate.time_s, estimate.disk_bytes) == (pytest.approx(2400), 4500)


def test_replicas_do_not_multiply_the_cost_on_torch() -> None:
    record_run("demo-20261124-100000", "backend=torch", "seeds=1")
    assert plan_of("backend=torch", "seeds=5").estimate is None
    assert plan_of("backend=torch", "seeds=1").estimate is not None


@pytest.mark.parametrize(
    "other",
    [
        "environment=Acrobot-v1",
        "algorithm=IMPALA",
        "environment.kwargs={sutton_barto_reward: true}",
        "environment.wrappers=[{TimeLimit: {max_episode_steps: 5}}]",
    ],
)
def test_a_run_of_another_kind_is_not_measured(other: str) -> None:
    record_run("demo-20261124-100000", other)
    assert plan_of().estimate is None


def test_the_size_of_saved_replay_memories_follows_from_the_spec() -> None:
    dqn = ["algorithm=DQN", "backend=torch", "seeds=1"]
    record_run("demo-20261124-100000", *dqn)
    folder = Path("runs/demo-20261124-100000/trials/t0001/checkpoint_000001")
    (folder / "replay.safetensors").write_bytes(b"x" * 70_000)  # of another capacity, say
    saving = [*dqn, "checkpoint.replay=true", "param_space.replay_buffer_config={capacity: 1000}"]
    # Each step has an observation, an action, a reward, its kind and a priority.
    memory = 1000 * (16 + 1 + 4 + 1 + 8)
    assert estimate_of(*dqn).disk_bytes == 3 * 250
    # Two trials train at a time, and finished ones lose theirs.
    assert estimate_of(*saving).disk_bytes == 3 * 250 + 2 * memory
    whole = [*saving, "checkpoint.trainer=true"]
    assert estimate_of(*whole).disk_bytes == 3 * 500 + 3 * memory


def test_a_clock_bounds_the_time() -> None:
    estimate = estimate_of("budget={time_s: 300}")
    assert (estimate.time_s, estimate.is_clock, estimate.based_on) == (300, True, None)
    record_run("demo-20261124-100000")
    estimate = estimate_of("budget={time_s: 300}")
    assert (estimate.time_s, estimate.is_clock) == (300, True)
    estimate = estimate_of("stop.time_total_s=60")
    assert (estimate.time_s, estimate.is_clock) == (240, True)
    assert estimate.limit == "stop.time_total_s"


def test_the_start_of_a_process_counts_once() -> None:
    # 1,000 steps at 100 a second: the other ten seconds were the start.
    record_run("demo-20261124-100000", env_steps_per_s=100.0)
    assert estimate_of().time_s == pytest.approx(10 + 400)
    assert estimate_of("budget={env_steps: 30000}").time_s == pytest.approx(10 + 150)


def test_a_budget_of_trials_bounds_time_and_disk() -> None:
    record_run("demo-20261124-100000")
    found = estimate_of("budget={trials: 3}")
    # Two rounds instead of four.
    assert (found.time_s, found.limit) == (pytest.approx(400), None)
    assert estimate_of("budget={trials: 1}").disk_bytes == 500
    assert estimate_of("budget={trials: 99}").time_s == pytest.approx(800)


def test_a_budget_of_env_steps_is_used_by_all_trials_at_a_time() -> None:
    record_run("demo-20261124-100000")
    # 30,000 steps of 20 ms, by two trials at a time.
    found = estimate_of("budget={env_steps: 30000}")
    assert (found.time_s, found.limit) == (pytest.approx(300), "budget.env_steps")
    assert (found.is_clock, found.is_upper_bound) == (False, False)
    alone = estimate_of("budget={env_steps: 30000}", "stop=null")
    assert (alone.time_s, alone.limit) == (pytest.approx(300), "budget.env_steps")
    much = estimate_of("budget={env_steps: 30000000}")
    assert (much.time_s, much.limit) == (pytest.approx(800), None)
    replicas = estimate_of("budget={env_steps: 30000}", "seeds=3")
    assert replicas.time_s == pytest.approx(300)


@pytest.mark.parametrize(
    "override",
    [
        "budget={no_improvement_trials: 2}",
        "stop.episode_return_mean=475",
        "stop.training_iteration=4",
        "stop.plateau={std: 1}",
    ],
)
def test_early_ends_make_the_time_an_upper_bound(override: str) -> None:
    record_run("demo-20261124-100000")
    found = estimate_of(override)
    assert (found.time_s, found.is_upper_bound) == (pytest.approx(800), True)


def test_a_damaged_run_is_skipped() -> None:
    record_run("demo-20261124-100000")
    record_run("demo-20261124-110000")
    Path("runs/demo-20261124-110000/spec.yaml").write_text("nonsense")
    estimate = estimate_of()
    assert estimate.based_on == "demo-20261124-100000"


def test_trials_that_a_quota_ends_early_take_the_expected_share_of_the_time() -> None:
    record_run("a-20260101-000000")
    whole = estimate_of()
    early = plan_of("scheduler=asha")
    assert early.estimate is not None
    assert early.expected_share is not None
    assert whole.time_s is not None
    assert early.estimate.time_s == pytest.approx(whole.time_s * early.expected_share)
    assert not early.estimate.is_upper_bound
    assert estimate_of("scheduler=median").is_upper_bound, "nobody knows how many it ends"


@pytest.mark.parametrize("scheduler", ["fifo", "{type: pbt, perturbation_interval: 1000}"])
def test_a_scheduler_that_stops_no_trial_sets_no_bound(scheduler: str) -> None:
    record_run("a-20260101-000000")
    plan = plan_of(f"scheduler={scheduler}")
    assert plan.expected_share == 1
    assert plan.estimate is not None
    assert (plan.estimate.time_s, plan.estimate.is_upper_bound) == (pytest.approx(800), False)
    assert estimate_of(f"scheduler={scheduler}", "stop.episode_return_mean=475").is_upper_bound


@pytest.mark.parametrize("rule", ["scheduler=median", "stop.episode_return_mean=475"])
def test_where_nobody_knows_how_early_trials_end_an_earlier_run_of_the_same_rules_tells(
    rule: str,
) -> None:
    record_run("a-20260101-000000", rule, stopped_at=[3000, 5000] * 4)
    whole, early = estimate_of(), estimate_of(rule)
    assert (whole.trial_share, early.trial_share) == (None, pytest.approx(0.4))
    assert whole.time_s is not None
    assert early.time_s == pytest.approx(0.4 * whole.time_s)
    assert not early.is_upper_bound
    assert estimate_of(rule, "budget={no_improvement_trials: 3}").is_upper_bound
    for other in ("stop.episode_return_mean=200", f"stop.{STEPS}=20000"):
        assert estimate_of(rule, other).trial_share is None, "other rules"


def test_few_trials_do_not_tell_how_early_they_end() -> None:
    record_run("a-20260101-000000", "scheduler=median", stopped_at=[3000, 5000] * 3)
    found = estimate_of("scheduler=median")
    assert (found.trial_share, found.is_upper_bound) == (None, True)
