"""Environments that draw from the process-wide generators are repeatable, too."""

from __future__ import annotations

import random

import gymnasium as gym
import numpy as np
import ppo_tasks
import pytest
import torch
from gymnasium import spaces

from sweeper.environments.settings import EnvironmentSettings
from sweeper.environments.vector import build_vector_env
from sweeper.trainables.contract import EvaluationSettings
from sweeper.trainables.torch_backend.envs import open_replica_envs

DRAWS = {
    "numpy": np.random.rand,
    "python": random.random,
    "torch": lambda: torch.rand(()).item(),
}


class Careless(gym.Env):
    """Ignores the seed of `reset`, as many do; its constructor draws, too."""

    observation_space = spaces.Box(-1.0, 2.0, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, draws="numpy", reseeds=False):
        self._draw, self._reseeds = DRAWS[draws], reseeds
        self._offset = self._draw()

    def reset(self, *, seed=None, options=None):
        if self._reseeds:
            np.random.seed(42)
        self._steps = 0
        return self._look(), {}

    def step(self, action):
        reward = float(action == (self._seen > 0.5))
        self._steps += 1
        return self._look(), reward, False, self._steps == 5, {}

    def _look(self):
        self._seen = self._draw()
        return np.array([self._seen, self._offset], np.float32)


gym.register("process_wide/Careless-v0", entry_point=Careless)
CARELESS = "process_wide/Careless-v0"
EVALUATION = EvaluationSettings(episodes=6)


def rows_of(seeds, *, before=0, env_id=CARELESS, **kwargs):
    """Returns and evaluations of every replica; draws some numbers before."""
    for draw in DRAWS.values():
        for _ in range(before):
            draw()
    settings = ppo_tasks.settings_of(env_id, seeds=seeds, evaluation=EVALUATION, **kwargs)
    trainer = ppo_tasks.build_trainer(settings)
    try:
        rows = []
        for _ in range(3):
            progress, evaluations = trainer.train(), trainer.evaluate()
            pairs = zip(progress, evaluations, strict=True)
            rows.append([(list(one.episode_returns), two) for one, two in pairs])
        return [[row[replica] for row in rows] for replica in range(len(seeds))]
    finally:
        trainer.close()


@pytest.mark.parametrize("draws", list(DRAWS))
def test_equal_settings_give_equal_rows(draws):
    first = rows_of((0, 1), draws=draws)
    assert first == rows_of((0, 1), before=7, draws=draws)
    assert first[0] != first[1]


def test_a_replica_is_alone_what_it_is_beside_others():
    assert rows_of((4,)) == rows_of((3, 4))[1:]


def test_an_environment_that_reseeds_the_process_changes_no_other():
    assert rows_of((4,), reseeds=True) == rows_of((3, 4), reseeds=True)[1:]
    before = np.random.get_state()[2]
    rows_of((4,), reseeds=True)
    assert np.random.get_state()[2] == before


def test_every_evaluation_plays_the_same_episodes():
    """With an environment that doesn't care for actions."""
    settings = ppo_tasks.settings_of(CARELESS)
    with open_replica_envs(settings, 3) as envs:
        played = []
        for _ in range(2):
            seen = [np.array(next(envs.reset([5])))]
            seen += [np.array(next(envs.step(np.zeros((1, 3), int), [0]))[0]) for _ in range(40)]
            played.append(np.stack(seen))
    assert np.array_equal(*played)
    assert len(np.unique(played[0])) > 40


@pytest.mark.parametrize(("env_id", "expected"), [(CARELESS, True), ("Acrobot-v1", False)])
def test_states_are_swapped_only_where_it_matters(env_id, expected):
    with open_replica_envs(ppo_tasks.settings_of(env_id), 2) as envs:
        list(envs.reset([0]))
        for _ in range(40):
            list(envs.step(np.zeros((1, 2), int), [0]))
        assert envs._is_swapping is expected


def test_processes_of_their_own_draw_their_own_numbers():
    seen = []
    for _ in range(2):
        np.random.seed(0)
        settings = EnvironmentSettings(CARELESS, vectorization="async")
        vector = build_vector_env(settings, 3)
        observations = [np.array(vector.reset(seed=11)[0])]
        observations.append(np.array(vector.step(np.zeros(3, int))[0]))
        vector.close()
        seen.append(np.stack(observations))
    assert np.array_equal(*seen)
    assert len(np.unique(seen[0])) == 9  # 3 offsets, and 2 draws of 3 environments


# --- torch's default dtype -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["discrete", "multi-discrete", "continuous"])
def test_training_is_the_same_in_any_default_dtype(kind):
    returns = []
    for dtype in (torch.float32, torch.float64):
        torch.set_default_dtype(dtype)
        try:
            returns.append(rows_of((0,), env_id="ppo_tasks/Identity-v0", kind=kind))
        finally:
            torch.set_default_dtype(torch.float32)
    assert returns[0] == returns[1]
