"""Simulators of which a process can hold one only."""

from __future__ import annotations

import os

import gymnasium as gym
import numpy as np
import ppo_tasks
import pytest
from gymnasium import spaces

from sweeper.agents.episodes import play_episodes
from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.environments.vector import build_vector_env
from sweeper.errors import UserError
from sweeper.trainables.contract import EvaluationSettings


class Single(gym.Env):
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)
    alive = {}  # noqa: RUF012 - by process, as a lock file is

    def __init__(self, leaves=False, folder=None):
        self._leaves = leaves
        if folder is not None:  # a lock beyond the process
            os.mkdir(folder)  # noqa: PTH102
        self._folder = folder
        if Single.alive.get(os.getpid()):
            raise RuntimeError("another instance is running")
        Single.alive[os.getpid()] = 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        if self._leaves:
            raise SystemExit(4)
        self._steps += 1
        seen = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return seen, float(seen[0]), False, self._steps == 6, {}

    def close(self):
        if self._folder is not None:
            os.rmdir(self._folder)  # noqa: PTH106
        Single.alive[os.getpid()] = 0


gym.register("instances/Single-v0", entry_point=Single)
SINGLE = "instances/Single-v0"


@pytest.fixture(autouse=True)
def _nothing_is_left_open():
    Single.alive.clear()
    yield
    assert not any(Single.alive.values())


def train_and_evaluate(vectorization, seeds, envs):
    settings = ppo_tasks.settings_of(SINGLE, seeds=seeds, evaluation=EvaluationSettings(episodes=2))
    environment = EnvironmentSettings(SINGLE, vectorization=vectorization)
    trainer = ppo_tasks.build_trainer(
        type(settings)(**{**vars(settings), "environment": environment}),
        num_envs_per_env_runner=envs,
    )
    try:
        progress = trainer.train()
        return progress, trainer.evaluate()
    finally:
        trainer.close()


@pytest.mark.parametrize(
    ("seeds", "envs"), [((0,), 2), ((0, 1), 1), ((0,), 1)], ids=["envs", "replicas", "evaluation"]
)
def test_a_second_instance_that_fails_is_answered_with_a_remedy(seeds, envs):
    with pytest.raises(EnvironmentBuildError) as raised:
        train_and_evaluate("auto", seeds, envs)
    assert str(raised.value) == (
        "only one instance of instances/Single-v0 can be built in a process; "
        "environment.vectorization: async gives each a process of its own; the second failed: "
        "environment instances/Single-v0 can't be built: RuntimeError: another instance is running"
    )


def test_the_remedy_works():
    progress, evaluations = train_and_evaluate("async", (0, 1), 2)
    assert [len(one.episode_returns) > 0 for one in progress] == [True, True]
    assert [len(one.episode_returns) for one in evaluations] == [2, 2]


class Player:
    def act_batch(self, observations, generator):
        return np.zeros(len(observations), int)


def test_an_exit_while_an_agent_plays_is_said():
    settings = EnvironmentSettings(SINGLE, {"leaves": True})
    with pytest.raises(UserError) as raised:
        play_episodes(Player(), settings, episodes=3, seed=0)
    expected = "environment instances/Single-v0 failed: it ends the process with sys.exit(4)"
    assert str(raised.value) == expected


def test_it_is_played_in_one_instance():
    returns, lengths = play_episodes(Player(), EnvironmentSettings(SINGLE), episodes=3, seed=0)
    assert len(set(returns)) == 3
    assert lengths == [6, 6, 6]


def test_an_exit_in_a_process_of_its_own_is_said():
    settings = EnvironmentSettings(SINGLE, {"leaves": True}, vectorization="async")
    vector = build_vector_env(settings, 2)
    try:
        vector.reset(seed=0)
        with pytest.raises(RuntimeError, match=r"in step, it ends the process with sys\.exit\(4\)"):
            vector.step(np.zeros(2, int))
    finally:
        vector.close(terminate=True)


def test_a_process_that_ends_while_it_builds_is_said(tmp_path):
    folder = str(tmp_path / "lock")
    settings = EnvironmentSettings(SINGLE, {"folder": folder}, vectorization="async")
    with pytest.raises(EnvironmentBuildError, match="can be built once, but not 3 times"):
        build_vector_env(settings, 3)
