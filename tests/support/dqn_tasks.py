"""Tiny environments on which a wrong DQN fails, and helpers to train on them."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from sweeper.environments.settings import EnvironmentSettings
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer

__all__ = ["SMALL", "build_trainer", "picture", "q_values", "settings_of"]


class Chain(gym.Env):
    """A chain with a reward at its end; one action goes forward, the other back to the start.

    The observation after the end is the first one, so values are wrong if a terminated episode is
    bootstrapped or a truncated one is not.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, length=4, terminates=True):
        self.observation_space = spaces.Discrete(length)
        self._length, self._terminates = length, terminates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._state = 0
        return 0, {}

    def step(self, action):
        self._state = self._state + 1 if action else 0
        if self._state < self._length:
            return self._state, 0.0, False, False, {}
        return 0, 1.0, self._terminates, not self._terminates, {}


class Corridor(gym.Env):
    """A step to either side; a reward of 1 at the right end, which only the last action reaches.

    If the value of that action is never trained, greedy play never reaches the end.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, length=6):
        self.observation_space = spaces.Discrete(length)
        self._end = length - 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._at = 0
        return 0, {}

    def step(self, action):
        self._at = min(self._at + 1, self._end) if action else max(self._at - 1, 0)
        is_over = self._at == self._end
        return self._at, float(is_over), is_over, False, {}


class Delayed(gym.Env):
    """The first action is rewarded two steps later, and no state in between shows it."""

    observation_space = spaces.Discrete(3)
    action_space = spaces.Discrete(2, start=-1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._step, self._reward = 0, 0.0
        return 0, {}

    def step(self, action):
        if self._step == 0:
            self._reward = float(action + 1)
        self._step += 1
        is_over = self._step == 3
        return self._step % 3, self._reward if is_over else 0.0, is_over, False, {}


class Noisy(gym.Env):
    """Sutton and Barto's example of maximisation bias (2nd edition, example 6.7).

    Eight lotteries with a mean of -0.1: the best of them looks like a gain if the same estimates
    choose and judge it.
    """

    observation_space = spaces.Discrete(2)
    action_space = spaces.Discrete(8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._state = 0
        return 0, {}

    def step(self, action):
        if self._state == 1:
            return 0, float(self.np_random.normal(-0.1, 1.0)), True, False, {}
        self._state = 1
        return 1, 0.0, False, False, {}


class Coin(gym.Env):
    """One step with a reward of 1 with probability 3/4, else -1."""

    observation_space = spaces.Discrete(1)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 1.0 if self.np_random.random() < 0.75 else -1.0, True, False, {}


class Picture(gym.Env):
    """The brighter half of the picture, left or right, shows the right action."""

    observation_space = spaces.Box(0, 255, (10, 10, 1), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action):
        reward = float(action == self._side)
        return self._draw(), reward, self.np_random.random() < 0.2, False, {}

    def _draw(self):
        self._side = int(self.np_random.integers(2))
        return picture(self._side)


def picture(side):
    """``uint8[10, 10, 1]``."""
    pixels = np.zeros((10, 10, 1), dtype=np.uint8)
    pixels[:, 5 * side : 5 * side + 5] = 2
    return pixels


for _task in (Chain, Delayed, Noisy, Coin, Picture):
    gym.register(f"dqn_tasks/{_task.__name__}-v0", entry_point=_task)
gym.register("dqn_tasks/Corridor-v0", entry_point=Corridor, max_episode_steps=60)


def settings_of(env_id, *, seeds=(0,), evaluation=None, checkpoint_replay=False, **kwargs):
    return TrialSettings(
        algorithm="DQN",
        backend="torch",
        environment=EnvironmentSettings(env_id, kwargs=kwargs),
        constants={},
        seeds=tuple(seeds),
        evaluation=evaluation,
        checkpoint_replay=checkpoint_replay,
    )


SMALL = {
    "lr": [[0, 1e-2], [2000, 5e-4]],
    "gamma": 0.5,
    "epsilon": 0.5,
    "num_steps_sampled_before_learning_starts": 100,
    "rollout_fragment_length": 4,
    "train_batch_size_per_learner": 64,
    "target_network_update_freq": 40,
    "min_sample_timesteps_per_iteration": 200,
    "replay_buffer_config": {"capacity": 2000},
    "model_config": {"fcnet_hiddens": [16]},
}


def build_trainer(settings, **hyperparameters):
    return TorchDQNTrainer(settings, {**SMALL, **hyperparameters})


def q_values(trainer):
    """Return the Q values of all states of a Discrete space, ``[replicas, states, actions]``."""
    states = np.eye(trainer._encoder.shape[0], dtype=np.float32)
    return trainer._networks.values(np.tile(states, (len(trainer._envs), 1, 1)))
