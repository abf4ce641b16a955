"""A plan in words, at several widths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeper.installation import install_extra
from sweeper.planning import feasibility
from sweeper.planning.plan import Estimate, SweepPlan, load_plan
from sweeper.search.distributions import Distribution
from sweeper.views.plan import describe_distribution, describe_plan

SPEC = """
name: demo
environment: CartPole-v1
algorithm: PPO
seeds: 2
param_space:
  lr: {loguniform: [1.0e-4, 1.0e-2]}
  minibatch_size: {choice: [64, 128, 256]}
  gamma: 0.98
search: {num_samples: 6, seed: 3, points_to_evaluate: [{lr: 1.0e-3}]}
stop: {num_env_steps_sampled_lifetime: 50000, episode_return_mean: 475}
evaluation: {episodes: 5}
budget: {time_s: 600}
checkpoint: {keep: 2, keep_trials: 4}
tracking: {uri: "https://mlflow.example", register_as: walker}
"""


@pytest.fixture(autouse=True)
def _a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feasibility, "usable_cores", lambda: 4)
    monkeypatch.setattr("sweeper.views.plan.usable_cores", lambda: 4)
    monkeypatch.chdir(tmp_path)


def plan_of(text: str, *overrides: str) -> SweepPlan:
    Path("spec.yaml").write_text(text)
    return load_plan("spec.yaml", overrides)


def test_a_whole_plan_in_words() -> None:
    assert (
        "\n".join(describe_plan(plan_of(SPEC), 100))
        == """\
demo tries 6 configurations of PPO on CartPole-v1: drawn at random (seed 3), beginning with 1 point
of yours.

Searched
  lr              0.0001 to 0.01, on a log scale (default 5e-05)
  minibatch_size  64, 128 or 256 (default 128)

Fixed
  gamma 0.98; all else at RLlib's defaults of PPO

Training
  6 trials of 2 replicas (seeds 0, 1): 12 training runs with torch
  4 trials at a time on this machine's 4 cores
  a replica's environments are stepped as one, by gymnasium's own vector version
    (vector_entry_point)
  each until 50,000 env steps a replica or episode_return_mean of 475: at most 600,000 env steps in
    all
  all of it within 10m00s

Judged by
  the last evaluation/episode_return_mean; more is better
  evaluated over 5 greedy episodes on separate seeds, every 5,000 env steps and at the end

Confirmation
  3 finalists and the defaults on 5 fresh seeds each, and 5 more at a time while they can't be told
    apart, up to 30: 20 to 120 training runs, at most 6,000,000 env steps, then 100 episodes each
  the best mean of these runs makes the champion; their seeds have streams of their own, which the
    search never used

Cost
  time  unknown: no similar run in this storage; try --rehearse
  disk  size unknown: the last 2 checkpoints of each of the best 4 trials, of finished ones the
        agent only

Written
  runs/demo-<date>-<time>/: journal, logs, checkpoints, champion
  https://mlflow.example: MLflow, experiment demo, model walker"""
    )


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", ["quickstart", "rllib_ppo_lr"])
def test_lines_fit_the_terminal(width: int, name: str) -> None:
    config = Path(__file__).parents[3] / "configs" / f"{name}.yaml"
    for line in describe_plan(load_plan(config), width):
        assert len(line) <= width or "/" in line, line


def test_an_estimate_says_what_it_is_based_on() -> None:
    estimate = Estimate(
        time_s=125.0, disk_bytes=3e6, based_on="demo-1", limit=None, is_upper_bound=False
    )

    def text_of(**changes: Any) -> str:
        plan = replace(plan_of(SPEC), estimate=replace(estimate, **changes))
        return " ".join("\n".join(describe_plan(plan)).split())

    assert "time about 2 minutes, by demo-1 disk" in text_of()
    assert "about 3.0 MB: the last 2 checkpoints" in text_of()
    words = "time at most about 2 minutes, by demo-1; less where trials end early disk"
    assert words in text_of(is_upper_bound=True)
    words = "time about 2 minutes, by demo-1; budget.env_steps ends it disk"
    assert words in text_of(limit="budget.env_steps")
    words = "time at most 2m05s, by budget.time_s disk"
    assert words in text_of(limit="budget.time_s", is_upper_bound=True)


def test_a_budget_of_trials_says_how_many_keep_their_checkpoints() -> None:
    text = " ".join("\n".join(describe_plan(plan_of(SPEC, "budget.trials=3"))).split())
    assert "the last 2 checkpoints of each of the 3 trials" in text
    assert "at most 300,000 env steps in all" in text


def test_values_stay_beside_their_names_and_lists_in_one_piece() -> None:
    plan = plan_of(
        "environment: CartPole-v1\nalgorithm: DQN\nseeds: 4\n"
        "stop: {num_env_steps_sampled_lifetime: 20000}\n"
        "param_space:\n"
        "  epsilon: {choice: [[[0, 1.0], [3000, 0.02]], [[0, 1.0], [8000, 0.05]]]}\n"
        "  replay_buffer_config: {type: PrioritizedEpisodeReplayBuffer, capacity: 50000}\n"
        "  model_config: {fcnet_hiddens: [64, 64], fcnet_activation: relu}\n"
        "search: {num_samples: 2}\n"
    )
    for width in range(60, 100):
        lines = describe_plan(plan, width)
        assert all(len(line) <= width or "/" in line for line in lines)
        for whole in (
            "[[0, 1.0], [8000, 0.05]]",
            "replay_buffer_config.capacity 50,000",
            "model_config.fcnet_hiddens [64, 64]",
            "4 replicas (seeds 0 to 3)",
        ):
            assert any(whole in line for line in lines), (width, whole)


def test_names_too_long_for_two_columns_get_their_own_line() -> None:
    name = "num_steps_sampled_before_learning_starts"
    space = f"param_space={{{name}: {{choice: [0, 500]}}}}"
    plan = plan_of(SPEC, "algorithm=DQN", space, "search.points_to_evaluate=[]")
    assert f"Searched\n  {name}  0 or" in "\n".join(describe_plan(plan, 80))
    assert f"Searched\n  {name}\n      0 or 500 (default 1000)\n" in "\n".join(
        describe_plan(plan, 79)
    )


def test_a_plan_says_what_is_off_or_unbounded() -> None:
    text = "\n".join(describe_plan(plan_of(
        "environment: CartPole-v1\nalgorithm: PPO\nbudget: {time_s: 60}\ntracking: null\n"
    )))  # fmt: skip
    assert "spec trains one configuration of PPO on CartPole-v1; nothing is searched." in text
    assert "each until the budget is used up; env steps are not bounded" in text
    assert "no evaluation: returns are those of training, exploring" in text
    assert "MLflow is off" in text
    assert "everything at RLlib's defaults of PPO" in text
    assert "nothing but the search's budget ends a trial" in text


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        (Distribution("choice", (64,)), "64"),
        (Distribution("choice", (64, 128)), "64 or 128"),
        (Distribution("choice", tuple(range(20))), "0, 1, 2, 3, 4, 5, 6, 7 and 12 more"),
        (Distribution("choice", ([64, 64], None)), "[64, 64] or null"),
        (Distribution("grid_search", (0.1, 0.2, 0.3)), "all of 0.1, 0.2 and 0.3"),
        (Distribution("uniform", (0.1, 0.9)), "0.1 to 0.9"),
        (Distribution("randint", (1, 31)), "1 to 30, whole"),
        (Distribution("lograndint", (1, 1001)), "1 to 1000, whole, on a log scale"),
        (Distribution("quniform", (0.0, 1.0, 0.25)), "0 to 1, in steps of 0.25"),
        (Distribution("randn", ()), "normal, mean 0, deviation 1"),
        (Distribution("randn", (2.0, 0.5)), "normal, mean 2, deviation 0.5"),
        (Distribution("uniform", (0.1, 1), {"use_kl_loss": True}),
         "0.1 to 1, where use_kl_loss is true"),
    ],
)  # fmt: skip
def test_distributions_in_words(leaf: Distribution, words: str) -> None:
    assert describe_distribution(leaf) == words


# --- warnings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["param_space.lr={loguniform: [1e-2, 1e-1]}", "search.points_to_evaluate=[]"],
         "lr is searched from 0.01 to 0.1, all of it more than 10 times above PPO's default, "
         "5e-05"),
        (["param_space.vf_clip_param={uniform: [0.1, 0.5]}"],
         "vf_clip_param is searched from 0.1 to 0.5, all of it more than 10 times below PPO's "
         "default, 10.0"),
        (["param_space.lr={uniform: [1e-5, 1e-2]}"],
         "lr is drawn evenly from 1e-05 to 0.01: nine in ten draws lie above 0.001009; loguniform "
         "spreads them over the decades"),
        (["stop={time_total_s: 60}"],
         "the clock ends trials, so slower ones train less; for equal budgets give "
         "stop.num_env_steps_sampled_lifetime"),
        (["stop={episode_return_mean: 475}"],
         "nothing but the search's budget ends a trial, and the first ones may use it up; give "
         "stop.num_env_steps_sampled_lifetime too"),
        (["stop={num_env_steps_sampled_lifetime: 3000}"],
         "an iteration takes 4,000 env steps, more than stop's 3,000: each trial trains once; "
         "lower train_batch_size_per_learner"),
        (["evaluation.every_env_steps=60000"],
         "evaluation.every_env_steps (60,000) lies beyond a trial's end (50,000 env steps): it is "
         "evaluated once, at the end"),
        (["search.num_samples=1"],
         "only one configuration will be tried; raise search.num_samples"),
        (["search.max_concurrent=6"],
         "max_concurrent 6 is more than this machine has room for: 4 will run"),
    ],
)  # fmt: skip
def test_probable_mistakes_are_warnings(overrides: list[str], words: str) -> None:
    assert words in plan_of(SPEC, *overrides).warnings


def test_a_plateau_is_printed_and_an_impossible_one_is_a_warning() -> None:
    metric = "evaluation/episode_return_mean"
    plan = plan_of(SPEC, f"stop.plateau={{metric: {metric}, std: 2}}", "evaluation={}")
    text = " ".join("\n".join(describe_plan(plan)).split())
    assert f"or {metric} no longer moves (deviation below 2 over 4 values)" in text
    assert plan.warnings == ()
    plan = plan_of(SPEC, f"stop.plateau={{metric: {metric}, num_results: 20}}", "evaluation={}")
    assert plan.warnings == (
        "stop.plateau looks at 20 evaluations, and a trial has 10: it never ends one; lower "
        "evaluation.every_env_steps",
    )


def test_warnings_end_the_summary() -> None:
    assert "\n".join(describe_plan(plan_of(SPEC, "backend=rllib"), 100)).endswith(
        """
Warnings
  - 2 replicas on rllib are 2 training runs a trial, one after the other: 12 in all"""
    )


@pytest.mark.parametrize("is_installed", [True, False])
def test_envpool_is_suggested_for_a_slow_simulator(
    is_installed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeper.views.plan.has_envpool", lambda: is_installed)
    installs = "" if is_installed else f", after {install_extra('envpool')}"
    hint = (
        f"environment.vectorization: envpool would step them several times as fast{installs}, in "
        "its own implementation of Acrobot-v1"
    )

    def said(*overrides: str) -> bool:
        return hint in " ".join(" ".join(describe_plan(plan_of(SPEC, *overrides), 100)).split())

    assert said("environment=Acrobot-v1")
    assert said("environment={id: Acrobot-v1, vectorization: sync}")
    for elsewhere in (
        "environment=CartPole-v1",
        "environment={id: Acrobot-v1, vectorization: async}",
        "environment={id: Acrobot-v1, wrappers: [FlattenObservation]}",
        "environment={id: Acrobot-v1, kwargs: {max_episode_steps: 7}}",
    ):
        assert not said(elsewhere)
    assert not said("environment=Acrobot-v1", "backend=rllib", "seeds=1")
    dqn = ("algorithm=DQN", "param_space={lr: {choice: [1.0e-3]}}", "search.points_to_evaluate=[]")
    assert not said("environment=Acrobot-v1", *dqn)


def test_where_evaluation_episodes_are_cut_is_said_if_the_environment_has_no_limit() -> None:
    def judged(environment: str) -> str:
        lines = describe_plan(plan_of(SPEC, f"environment={environment}"))
        return " ".join(" ".join(lines).split())

    assert "on separate seeds, cut after 27,000 steps, every 5,000 env" in judged("Blackjack-v1")
    assert "on separate seeds, every 5,000 env steps" in judged("CartPole-v1")
