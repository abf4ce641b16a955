"""Estimates from a rehearsal's measurements, and the choice of configurations to rehearse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.planning import feasibility
from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.rehearsal.cost import choose_probes, draw_samples, find_nearest
from sweeper.rehearsal.forecast import RehearsedEstimate, estimate_rehearsed
from sweeper.rehearsal.measurements import Probe, Rehearsal
from sweeper.views.plan import describe_plan

STEPS = "num_env_steps_sampled_lifetime"
SPEC = f"""
name: demo
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {{loguniform: [1.0e-4, 1.0e-2]}}
  train_batch_size_per_learner: 1000
search: {{num_samples: 8, max_concurrent: 2}}
stop: {{{STEPS}: 100000}}
checkpoint: {{every_env_steps: 50000, keep_trials: 3}}
tracking: null
"""


@pytest.fixture(autouse=True)
def _a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 4)
    monkeypatch.setattr("sweeper.rehearsal.forecast.free_bytes", lambda: 8_000_000_000)
    monkeypatch.chdir(tmp_path)


def plan_of(*overrides: str) -> SweepPlan:
    Path("spec.yaml").write_text(SPEC)
    return load_plan("spec.yaml", overrides)


PROBE = Probe(
    index=0,
    parameters={"lr": 1e-3},
    env_steps=5000,
    iteration_steps=1000,
    step_s=0.001,
    collect_step_s=None,
    learning_starts=0,
    build_s=0.0,
    evaluation_s=0.0,
    evaluation_steps=0.0,
    episode_limit=500,
    save_s=0.0,
    checkpoint_bytes=3_000_000,
    kept_bytes=1_000_000,
    report_bytes=1000,
    report_values=20,
    memory_bytes=400_000_000,
    value=20.0,
)


def estimated(plan: SweepPlan, *probes: Probe, concurrent: int = 2, **given: Any) -> SweepPlan:
    times = {"start_s": 0.0, "worker_s": 0.0, "end_s": 0.0}
    rehearsal = Rehearsal(probes or (PROBE,), concurrent, 10.0, **{**times, **given})
    return estimate_rehearsed(plan, rehearsal)


def rehearse(
    plan: SweepPlan, *probes: Probe, concurrent: int = 2, **given: Any
) -> RehearsedEstimate:
    """The estimate; only training takes time unless other times are given."""
    estimate = estimated(plan, *probes, concurrent=concurrent, **given).estimate
    assert isinstance(estimate, RehearsedEstimate)
    json.dumps(estimate.to_json(), allow_nan=False)
    return estimate


# --- how long --------------------------------------------------------------------------------


def test_trials_share_the_slots_and_start_and_end_are_added() -> None:
    # 100 s per trial and 100 reports of 5 ms; 8 trials on 2 slots are 4 rounds.
    estimate = rehearse(plan_of())
    assert estimate.trial_s == pytest.approx(100.5)
    assert estimate.time_s == pytest.approx(402)
    assert estimate.trials_per_hour == pytest.approx(2 * 3600 / 100.5)
    assert not estimate.is_upper_bound
    later = rehearse(plan_of(), start_s=10.0, worker_s=5.0, end_s=3.0).time_s
    assert 402 + 18 <= later <= 402 + 18 + 10


def test_a_last_round_that_is_not_full_takes_as_long_as_a_full_one() -> None:
    assert rehearse(plan_of("search.num_samples=7")).time_s == pytest.approx(402)


def test_the_last_iteration_is_finished() -> None:
    long = replace(PROBE, iteration_steps=60_000)
    assert rehearse(plan_of(), long).trial_s == pytest.approx(120, rel=0.01)


def test_building_evaluations_and_checkpoints_are_part_of_a_trial() -> None:
    slow = replace(PROBE, build_s=7.0, save_s=2.0, evaluation_s=3.0, evaluation_steps=500)
    assert rehearse(plan_of(), slow).trial_s == pytest.approx(100.5 + 7 + 2 * 2)
    # At 40,000, at 80,000 and at the end; at every tenth by default.
    plan = plan_of("evaluation={every_env_steps: 40000}")
    assert rehearse(plan, slow).trial_s == pytest.approx(100.5 + 7 + 2 * 2 + 3 * 3)
    plan = plan_of("evaluation={}")
    assert rehearse(plan, slow).trial_s == pytest.approx(100.5 + 7 + 2 * 2 + 10 * 3)


def test_the_length_of_evaluation_episodes_gives_a_range() -> None:
    # Ten evaluations of episodes of 10 steps take 1 s each, of 500 steps 50 s.
    brief = replace(PROBE, evaluation_s=1.0, evaluation_steps=10)
    estimate = rehearse(plan_of("evaluation={}", "search.num_samples=2"), brief)
    assert estimate.time_range_s == (pytest.approx(110.5), pytest.approx(600.5))
    assert estimate.time_s == pytest.approx((110.5 + 600.5) / 2)
    unlimited = replace(brief, episode_limit=None)
    assert rehearse(plan_of("evaluation={}"), unlimited).time_range_s is None


def test_steps_before_learning_starts_have_their_own_speed() -> None:
    waits = replace(PROBE, collect_step_s=0.0001, learning_starts=60_000)
    assert rehearse(plan_of(), waits).trial_s == pytest.approx(40 + 6 + 0.5)


def test_iterations_and_clocks_bound_a_trial_too() -> None:
    assert rehearse(plan_of("stop={training_iteration: 10}")).trial_s == pytest.approx(10.05)
    # Half an iteration of 1 s on average beyond the limit.
    assert rehearse(plan_of("stop={time_total_s: 30}")).trial_s == pytest.approx(30.5)
    assert rehearse(plan_of("stop.time_total_s=300")).trial_s == pytest.approx(100.5)


@pytest.mark.parametrize(
    "override",
    ["stop.episode_return_mean=475", "budget={no_improvement_trials: 3}"],
)
def test_early_ends_make_it_an_upper_bound(override: str) -> None:
    estimate = rehearse(plan_of(override))
    assert (estimate.is_upper_bound, estimate.time_s) == (True, pytest.approx(402))


def test_budgets_end_the_search() -> None:
    timed = rehearse(plan_of("budget={time_s: 60}"))
    assert (timed.is_clock, timed.time_s) == (True, pytest.approx(60.5))
    assert rehearse(plan_of("budget={time_s: 9000}")).is_clock is False
    # A replica's steps take 1 ms each, two replicas and two trials at a time.
    stepped = rehearse(plan_of("budget={env_steps: 80000}"))
    assert stepped.time_s == pytest.approx(20, rel=0.01)
    assert (timed.limit, stepped.limit) == ("budget.time_s", "budget.env_steps")
    assert rehearse(plan_of("budget={env_steps: 80000000}")).limit is None
    assert rehearse(plan_of("budget={trials: 2}")).time_s == pytest.approx(100.5)
    unbounded = rehearse(plan_of("stop=null", "budget={time_s: 60}"))
    assert (unbounded.trial_s, unbounded.time_s) == (None, pytest.approx(60.5))


def test_expensive_configurations_count_as_often_as_they_occur() -> None:
    space = "param_space.num_epochs={grid_search: [1, 2, 3, 30]}"
    plan = plan_of(space, "param_space.lr=0.001", "search={num_samples: 1, max_concurrent: 1}")
    epochs = [sample.parameters["num_epochs"] for sample in draw_samples(plan.spec)]
    cheap, expensive = epochs.index(1), epochs.index(30)
    probes = (
        replace(PROBE, index=cheap, step_s=0.0001),
        replace(PROBE, index=expensive, step_s=0.003),
    )
    # Two more cheap ones rank between the two.
    assert find_nearest(plan, [cheap, expensive]).count(expensive) in (1, 2)
    estimate = rehearse(plan, *probes, concurrent=1)
    assert 3 * 10 + 300 <= estimate.time_s <= 2 * 10 + 2 * 300 + 4


def test_a_trial_that_would_time_out_is_a_warning() -> None:
    plan = estimated(plan_of("resources={timeout_s: 90}"))
    assert plan.warnings[-1].startswith(
        "8 of 8 trials would take longer than resources.timeout_s, 90 s, and end as errors"
    )


def test_the_estimate_in_json_has_the_promised_shape() -> None:
    estimate = rehearse(plan_of(), start_s=2.0, worker_s=1.0).to_json()
    assert list(estimate) == [
        "time_s", "time_range_s", "disk_bytes", "based_on", "limit", "is_limit", "is_upper_bound",
        "confirmation_s", "trial_share", "trial_s", "trials_per_hour", "memory_bytes",
        "trial_memory_bytes", "checkpoint_bytes", "rehearsal",
    ]  # fmt: skip
    configuration = {
        "parameters": {"lr": 1e-3}, "env_steps": 5000, "env_steps_per_s": 2000.0,
        "trial_s": 100.5, "evaluation_s": None, "value": 20.0,
    }  # fmt: skip
    assert estimate["rehearsal"] == {
        "concurrent": 2, "seconds": 10.0, "startup_s": 3.0, "configurations": [configuration],
    }  # fmt: skip


# --- how large -------------------------------------------------------------------------------


def test_disk_is_the_best_trials_checkpoints_and_the_records() -> None:
    # Three agents of 1 MB and half a one as champion; 800 reports of 1.2 kB.
    disk = rehearse(plan_of()).disk_bytes
    assert disk == pytest.approx(3_500_000 + 800 * 1230, rel=0.02)
    with_mlflow = rehearse(plan_of("tracking={}")).disk_bytes
    assert with_mlflow > disk + 800 * 20 * 100


def test_a_time_budget_limits_the_number_of_reports() -> None:
    disk = rehearse(plan_of("stop=null", "budget={time_s: 600}")).disk_bytes
    # Two trials at a time report about once a second each.
    assert disk == pytest.approx(3_500_000 + 1200 * 1230, rel=0.02)


def test_a_replay_memory_fills_up_after_the_rehearsal() -> None:
    plan = plan_of(
        "algorithm=DQN",
        "param_space={lr: 0.001, replay_buffer_config: {type: EpisodeReplayBuffer, "
        "capacity: 400000}}",
        "search={num_samples: 1}",
    )
    assert plan.replay is not None
    grown = rehearse(plan, concurrent=1, memory_bytes=900_000_000)
    # A trial takes 100,000 steps; there is room for as many ends of episodes.
    assert plan.replay.slots < 210_000
    replay = plan.replay.replay_bytes * 100_000 / plan.replay.slots
    assert grown.trial_memory_bytes == pytest.approx(400_000_000 + replay)
    assert grown.memory_bytes == pytest.approx(900_000_000 + replay)


def test_too_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeper.rehearsal.forecast.free_bytes", lambda: 1_000_000_000)
    assert estimated(plan_of(), memory_bytes=1_500_000_000).warnings[-1] == (
        "2 trials at a time and Ray take about 1.5 GB of memory, and 1.0 GB are free; lower "
        "search.max_concurrent"
    )


# --- which configurations --------------------------------------------------------------------


def test_configurations_of_equal_cost_are_rehearsed_in_one_round() -> None:
    assert [len(chosen) for chosen in choose_probes(plan_of())] == [2]
    assert [len(chosen) for chosen in choose_probes(plan_of("search.max_concurrent=1"))] == [1]
    assert [len(chosen) for chosen in choose_probes(plan_of("search.num_samples=1"))] == [1]


def test_no_more_are_rehearsed_at_a_time_than_fit_on_the_machine() -> None:
    assert len(choose_probes(plan_of("search.max_concurrent=8"))[0]) == 4


@pytest.mark.parametrize(
    ("key", "cheap_first"),
    [
        ("num_epochs", [1, 2, 5, 10, 20, 30]),
        ("minibatch_size", [1000, 512, 256, 128, 64, 32]),
        ("num_envs_per_env_runner", [64, 32, 16, 8, 4, 1]),
    ],
)
def test_configurations_are_ordered_by_cost(key: str, cheap_first: list[int]) -> None:
    plan = plan_of(
        f"param_space.{key}={{grid_search: {cheap_first}}}",
        "param_space.lr=0.001",
        "search={num_samples: 1, max_concurrent: 1}",
    )
    values = [sample.parameters[key] for sample in draw_samples(plan.spec)]
    rounds = [[values[place] for place in chosen] for chosen in choose_probes(plan)]
    # One of each third, the middle one first.
    assert rounds == [[cheap_first[3]], [cheap_first[1]], [cheap_first[5]]]


def test_all_rounds_are_full() -> None:
    plan = plan_of("param_space.num_epochs={randint: [1, 31]}", "search.num_samples=3")
    assert [len(chosen) for chosen in choose_probes(plan)] == [2]
    plan = plan_of("param_space.num_epochs={randint: [1, 31]}")
    assert [len(chosen) for chosen in choose_probes(plan)] == [2, 2]


# --- in words --------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 120])
def test_a_rehearsed_plan_prints_its_estimate_and_the_measurements(width: int) -> None:
    plan = plan_of("stop.episode_return_mean=475")
    times = {"start_s": 6.0, "worker_s": 4.0, "end_s": 3.0}
    plan = estimated(plan, **times, memory_bytes=1_100_000_000)
    lines = describe_plan(plan, width)
    text = " ".join(" ".join(lines).split())
    assert "time at most about 7 minutes, until " in text
    assert "72 trials an hour, 1m40s each; less where trials end early" in text
    assert "memory about 1.1 GB for 2 trials at a time and Ray, up to 400 MB a trial" in text
    assert "Rehearsed 1 of the 8 configurations, 2 side by side as in the sweep" in text
    assert "Ray and the workers took 10s to start" in text
    assert "lr=0.001 2000 env steps/s, episode_return_mean 20" in text
    assert all(len(line) <= width for line in lines)


def test_a_quota_of_trials_takes_its_share_of_the_time() -> None:
    whole, early = rehearse(plan_of()), plan_of("scheduler=asha")
    assert early.expected_share is not None
    assert whole.time_s is not None
    estimate = rehearse(early)
    assert estimate.time_s == pytest.approx(whole.time_s * early.expected_share)
    assert estimate.trial_s == whole.trial_s
    assert not estimate.is_upper_bound
