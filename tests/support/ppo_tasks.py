"""Tiny environments that only a correct PPO solves, and functions to train on them."""

from __future__ import annotations

from typing import ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from sweeper.environments.settings import EnvironmentSettings, NormalizeSettings
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

__all__ = ["build_trainer", "settings_of", "train"]


class Identity(gym.Env):
    """The reward is 1 if the action is the observation; ten steps."""

    def __init__(self, kind="discrete"):
        box = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.observation_space, self.action_space = {
            "discrete": (spaces.Discrete(3), spaces.Discrete(3, start=-1)),
            "multi-discrete": (spaces.MultiDiscrete([2, 3]), spaces.MultiDiscrete([2, 3])),
            "continuous": (box, spaces.Box(0.0, 10.0, (1,), np.float32)),
            "nested": (
                spaces.Dict(
                    {"a": spaces.Discrete(2), "b": spaces.Tuple([box, spaces.Discrete(2)])}
                ),
                spaces.Discrete(2),
            ),
        }[kind]
        self._kind = kind

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._observe(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        seen = self._seen
        if self._kind == "discrete":
            reward = float(action + 1 == seen)
        elif self._kind == "multi-discrete":
            reward = float((action == seen).mean())
        elif self._kind == "nested":
            reward = float(action == seen["a"])
        else:
            reward = -(float(action[0] / 5 - 1 - seen[0]) ** 2)
        self._steps += 1
        return self._observe(), reward, False, self._steps == 10, {}

    def _observe(self):
        number, other = int(self.np_random.integers(2)), int(self.np_random.integers(3))
        box = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        self._seen = {
            "discrete": other,
            "multi-discrete": np.array([number, other]),
            "continuous": box,
            "nested": {"a": number, "b": (box, other % 2)},
        }[self._kind]
        return self._seen


class TwoSteps(gym.Env):
    """A small reward now, or a larger one in the second and last step.

    The last observation equals the first. Therefore bootstrapping a terminated episode, not
    bootstrapping a truncated one, or learning from a reset gives wrong values.
    """

    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(2)

    def __init__(self, terminates=True):
        self._terminates = terminates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._patient = None
        return 0, {}

    def step(self, action):
        if self._patient is None:
            self._patient = bool(action)
            return 1, 0.2 * (1 - action), False, False, {}
        return 0, float(self._patient), self._terminates, not self._terminates, {}


class Counting(gym.Env):
    """Observes (episode, step, length); the seed determines lengths from 1 to ``max_length``."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, max_length=5):
        self._max_length = max_length
        self._episode = -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._episode += 1
        self._step = 0
        self._length = int(self.np_random.integers(1, self._max_length + 1))
        return self._observe(), {}

    def step(self, action):
        self._step += 1
        is_over = self._step == self._length
        even = self._episode % 2 == 0
        return self._observe(), 1.0, is_over and even, is_over and not even, {}

    def _observe(self):
        return np.array([self._episode, self._step, self._length], dtype=np.float32)


class Scaled(gym.Env):
    """A one-step choice by the sign of an observation far from 0; rewards in the thousands."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._observe(), {}

    def step(self, action):
        reward = 5000.0 if action == self._right else -5000.0
        self._steps += 1
        return self._observe(), reward, False, self._steps == 8, {}

    def _observe(self):
        self._right = int(self.np_random.integers(2))
        noise = self.np_random.normal(size=2)
        return np.float32([3000 + 0.5 * (2 * self._right - 1), 1e-3 * noise[0]])


class Strict(gym.Env):
    """Refuses actions outside of its space; eight steps."""

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, space):
        self.action_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action)), (action, self.action_space)
        self._steps += 1
        return np.zeros(1, dtype=np.float32), 0.0, False, self._steps == 8, {}


class Picture(gym.Env):
    """The reward is 1 if the action is the bright half of the image; one step."""

    observation_space = spaces.Box(0, 255, (10, 10, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._side = int(self.np_random.integers(2))
        picture = np.zeros((10, 10, 1), dtype=np.uint8)
        picture[:, 5 * self._side : 5 * self._side + 5] = 3
        return picture, {}

    def step(self, action):
        observation = np.zeros((10, 10, 1), dtype=np.uint8)
        return observation, float(action == self._side), True, False, {}


class Endless(gym.vector.VectorEnv):
    """The vector version of `Picture`, whose episodes never end."""

    metadata: ClassVar = {"autoreset_mode": gym.vector.AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs=1, **_):
        self.num_envs = num_envs
        self.single_observation_space = Picture.observation_space
        self.single_action_space = Picture.action_space
        self.observation_space = batch_space(Picture.observation_space, num_envs)
        self.action_space = batch_space(Picture.action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        return np.zeros(self.observation_space.shape, dtype=np.uint8), {}

    def step(self, actions):
        ended = np.zeros(self.num_envs, dtype=np.bool_)
        return *self.reset()[:1], np.zeros(self.num_envs), ended, ended, {}


for _task in (Identity, TwoSteps, Counting, Scaled, Strict, Picture):
    gym.register(f"ppo_tasks/{_task.__name__}-v0", entry_point=_task)
gym.register(
    "ppo_tasks/Endless-v0", entry_point=Picture, vector_entry_point=Endless, max_episode_steps=9
)


def settings_of(env_id, *, seeds=(0,), normalize=None, evaluation=None, **kwargs):
    normalize = normalize or NormalizeSettings()
    environment = EnvironmentSettings(env_id, kwargs=kwargs, normalize=normalize)
    return TrialSettings(
        algorithm="PPO",
        backend="torch",
        environment=environment,
        constants={},
        seeds=tuple(seeds),
        evaluation=evaluation,
    )


SMALL = {
    "lr": 5e-3,
    "gamma": 0.5,
    "lambda_": 0.9,
    "num_epochs": 4,
    "minibatch_size": 32,
    "train_batch_size_per_learner": 64,
    "num_envs_per_env_runner": 8,
    "use_kl_loss": False,
    "model_config": {"fcnet_hiddens": [16]},
}


def build_trainer(settings, **hyperparameters):
    return TorchPPOTrainer(settings, {**SMALL, **hyperparameters})


def train(trainer, iterations):
    """Train, and return every replica's episode returns of the last fifth of the iterations."""
    returns = None
    for iteration in range(iterations):
        progress = trainer.train()
        if returns is None or iteration == iterations - iterations // 5:
            returns = [[] for _ in progress]
        for mine, replica in zip(returns, progress, strict=True):
            mine += replica.episode_returns
    return returns
