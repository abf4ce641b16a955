"""A plan says how large replay memories can get, and refuses those that don't fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from sweeper.environments.building import EnvironmentDescription
from sweeper.errors import SpecError
from sweeper.planning import replay_memory
from sweeper.planning.estimates import estimate_plan
from sweeper.planning.plan import SweepPlan, load_plan
from sweeper.planning.replay_memory import find_largest_replay
from sweeper.planning.settings import trial_settings
from sweeper.planning.values import possible_values
from sweeper.search.distributions import Distribution
from sweeper.views.plan import describe_plan

GB = 10**9
SPEC = """
name: demo
environment: CartPole-v1
algorithm: DQN
stop: {num_env_steps_sampled_lifetime: 100000}
"""


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_memory, "total_bytes", lambda: 16 * GB)


def plan_of(*overrides: str) -> SweepPlan:
    Path("spec.yaml").write_text(SPEC)
    return load_plan("spec.yaml", overrides)


def bytes_of(*overrides: str) -> int:
    plan = plan_of(*overrides)
    assert plan.replay is not None
    return plan.replay.replay_bytes


def cartpole(**space: Any) -> int:
    """The largest replay memory of one replica."""
    env = gymnasium.make("CartPole-v1")
    described = EnvironmentDescription(env.observation_space, env.action_space, 500)
    found = find_largest_replay(space, described, 1)
    assert found is not None
    return found.replay_bytes


@pytest.mark.parametrize("kind", ["PrioritizedEpisodeReplayBuffer", "EpisodeReplayBuffer"])
def test_five_replicas_of_cartpoles_last_100000_steps_take_at_most_30_mb(kind: str) -> None:
    taken = bytes_of(f"param_space.replay_buffer_config={{type: {kind}, capacity: 100000}}")
    assert 5 * 100_000 * 22 <= taken <= 30_000_000


def test_images_are_counted_in_bytes() -> None:
    images = spaces.Box(0, 255, (84, 84, 4), np.uint8)
    described = EnvironmentDescription(images, spaces.Discrete(6), None)
    space = {"replay_buffer_config": {"type": "EpisodeReplayBuffer", "capacity": 10**6}}
    found = find_largest_replay(space, described, 5)
    assert found is not None
    assert found.replay_bytes == 5 * 10**6 * (84 * 84 * 4 + 1 + 4 + 1)
    assert (found.observation_shape, found.observation_dtype) == ((84, 84, 4), "uint8")


def test_the_largest_configuration_of_a_space_counts() -> None:
    largest = cartpole(replay_buffer_config={"capacity": 80_000})
    for capacity in (
        Distribution("choice", (1000, 80_000, 200)),
        Distribution("randint", (100, 80_001)),
        Distribution("choice", (80_000,), {"double_q": True}),
    ):
        assert cartpole(replay_buffer_config={"capacity": capacity}) == largest
    configs = ({"capacity": 80_000}, {"type": "EpisodeReplayBuffer", "capacity": 90_000})
    assert cartpole(replay_buffer_config=Distribution("choice", configs)) == largest


def test_missing_keys_get_the_default_of_the_buffers_type() -> None:
    default = cartpole(replay_buffer_config={"capacity": 50_000})
    assert cartpole() == default
    conditional = Distribution("choice", (100,), {"double_q": True})
    assert cartpole(replay_buffer_config={"capacity": conditional}) == default
    uniform = {"type": "EpisodeReplayBuffer"}
    assert cartpole(replay_buffer_config=uniform) == 10_000 * 22


def test_possible_values_are_a_ranges_ends_and_the_default_under_a_condition() -> None:
    space = {
        "lr": Distribution("uniform", (0.1, 0.2)),
        "tau": Distribution("choice", (0.5, 1.0), {"double_q": True}),
        "model_config": Distribution("choice", ({"fcnet_hiddens": [8]}, {})),
    }
    assert possible_values(space, ("lr",), 0) == [0.1, 0.2]
    assert possible_values(space, ("tau",), 0.9) == [0.9, 0.5, 1.0]
    assert possible_values(space, ("model_config", "fcnet_hiddens"), None) == [[8], None]
    assert possible_values(space, ("gamma",), 0.99) == [0.99]


@pytest.mark.parametrize(
    ("overrides", "refused"),
    [
        ([], None),
        (["seeds=10"], "the replay memories of a trial take 20.2 GB (10 replicas"),
        (["param_space.lr={choice: [0.1, 0.2]}", "search={num_samples: 2}"],
         "take 10.1 GB (5 replicas of 65,000,000 slots of float32[4]), and 2 trials run at a "
         "time; this machine has 16.0 GB; lower replay_buffer_config.capacity, or "
         "search.max_concurrent or seeds"),
        (["param_space.lr={choice: [0.1, 0.2]}", "search={num_samples: 2, max_concurrent: 1}"],
         None),
        (["param_space.lr={choice: [0.1, 0.2]}", "search={num_samples: 2}",
          "ray.address=auto"], None),
        (["param_space.gamma=2", "seeds=10"], "the replay memories of a trial take 20.2 GB"),
    ],
)  # fmt: skip
def test_more_memory_than_this_machine_has_is_refused(
    overrides: list[str], refused: str | None
) -> None:
    config = "{type: PrioritizedEpisodeReplayBuffer, capacity: 65000000}"
    endless = "stop={time_total_s: 60}"
    given = [f"param_space.replay_buffer_config={config}", endless, *overrides]
    if refused is None:
        assert plan_of(*given).replay is not None
        return
    with pytest.raises(SpecError) as raised:
        plan_of(*given)
    (problem,) = [one for one in raised.value.problems if "replay" in one.key]
    assert problem.key == "param_space.replay_buffer_config.capacity"
    assert refused in problem.message


def test_replay_memories_hold_no_more_steps_than_a_trial_takes() -> None:
    config = "param_space.replay_buffer_config={capacity: 1000000}"
    plan = plan_of(config, "stop.num_env_steps_sampled_lifetime=20000")
    replay = plan.replay
    assert replay is not None
    # Every step may end an episode, which takes a slot, too; the last iteration is finished.
    assert 2 * 20_000 < replay.slots < 2 * 21_000 + 50
    assert replay.replay_bytes < 0.05 * bytes_of(config, "stop={time_total_s: 9}")
    assert 20_000 / replay.slots < replay.needed_bytes / replay.replay_bytes < 0.51
    text = " ".join(" ".join(describe_plan(plan, 100)).split())
    assert "a slot for every env step of a replica and every episode's end" in text


@pytest.mark.parametrize(("steps", "is_refused"), [(60_000_000, False), (90_000_000, True)])
def test_only_memory_that_a_trial_certainly_needs_is_refused(steps: int, is_refused: bool) -> None:
    given = (
        "seeds=8",
        "param_space.replay_buffer_config={capacity: 1000000000}",
        f"stop.num_env_steps_sampled_lifetime={steps}",
    )
    if not is_refused:
        assert plan_of(*given).replay is not None
        return
    words = r"take at least 2\d\.\d GB \(8 replicas of 90,001,\d\d\d slots of float32"
    with pytest.raises(SpecError, match=words):
        plan_of(*given)


@pytest.mark.parametrize(
    ("space", "key", "words"),
    [
        ("{n_step: 700000000}", "n_step", "5 replicas of 700,000,002 slots of float32[4]"),
        ("{n_step: [1, 700000000]}", "n_step", "lower n_step: each environment has n_step + 2"),
        ("{num_envs_per_env_runner: 300000000}", "num_envs_per_env_runner",
         "5 replicas of 900,000,000 slots of float32[4]"),
        ("{num_envs_per_env_runner: 300000000}", "num_envs_per_env_runner",
         "lower num_envs_per_env_runner: each environment has n_step + 2 slots, whatever the "
         "capacity, or seeds"),
    ],
)  # fmt: skip
def test_the_key_that_needs_too_much_memory_is_named(space: str, key: str, words: str) -> None:
    with pytest.raises(SpecError) as raised:
        plan_of("stop={time_total_s: 60}", f"param_space={space}")
    (problem,) = [one for one in raised.value.problems if "replay memories" in one.message]
    assert problem.key == f"param_space.{key}"
    assert words in problem.message


def test_the_plan_says_how_large_replay_memories_get_in_words_and_json() -> None:
    plan = plan_of("checkpoint.replay=true", "param_space.replay_buffer_config={capacity: 100000}")
    text = " ".join(" ".join(describe_plan(plan, 100)).split())
    assert "up to 16 MB of memory a trial: 100,000 slots a replica, observations as float32[4]" in (
        text
    )
    assert "with up to 15 MB of replay" in text
    document = plan.to_json()["replay_memory"]
    assert document["places"] == 100_000
    assert document["saved_bytes"] == 5 * 100_000 * 30
    assert document["replay_bytes"] == bytes_of("param_space.replay_buffer_config.capacity=100000")


@pytest.mark.parametrize("overrides", [["algorithm=PPO"], ["backend=rllib"]])
def test_without_a_replay_memory_of_ours_the_plan_does_not_mention_one(
    overrides: list[str],
) -> None:
    plan = plan_of(*overrides)
    assert plan.replay is None
    assert plan.to_json()["replay_memory"] is None
    assert "replay" not in " ".join(describe_plan(plan))


@pytest.mark.parametrize("saves", [False, True])
def test_trials_know_whether_checkpoints_include_the_replay_memory(saves: bool) -> None:
    plan = plan_of(f"checkpoint.replay={str(saves).lower()}")
    assert trial_settings(plan).checkpoint_replay is saves
    assert estimate_plan(plan).estimate is None  # nothing of the kind has run here


@pytest.mark.parametrize(
    ("overrides", "modes"),
    [
        ([], ["sync"]),
        (["param_space.num_envs_per_env_runner=4"], ["vector_entry_point"]),
        (["param_space.num_envs_per_env_runner={choice: [8, 2]}", "search.num_samples=2"],
         ["sync", "vector_entry_point"]),
        (["param_space.num_envs_per_env_runner=4", "environment.wrappers=[FlattenObservation]"],
         ["sync"]),
        (["environment.vectorization=async"], ["async"]),
        (["algorithm=PPO"], ["vector_entry_point"]),
        (["algorithm=PPO", "environment=LunarLander-v3"], ["sync"]),
        (["backend=rllib"], []),
    ],
)  # fmt: skip
def test_the_plan_says_how_environments_are_stepped(overrides: list[str], modes: list[str]) -> None:
    plan = plan_of(*overrides)
    assert plan.to_json()["vectorization"] == modes
    text = " ".join(" ".join(describe_plan(plan, 100)).split())
    assert ("environments are stepped" in text) == bool(modes)
    assert all(f"({mode})" in text for mode in modes)
    assert ("by their number" in text) == (len(modes) > 1)
