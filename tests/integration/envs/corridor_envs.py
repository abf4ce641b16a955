"""A corridor with a goal, and a wrapper: an environment as a user would bring it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import WrapperSpec


class Corridor(gymnasium.Env[np.ndarray, int]):
    """Walk right to the end; each step costs, the goal pays."""

    def __init__(self, length: int = 5, goal_reward: float = 1.0) -> None:
        self.length, self.goal_reward = length, goal_reward
        self.observation_space = gymnasium.spaces.Box(0.0, 100.0, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self._place = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._place = int(self.np_random.integers(2))
        return np.array([self._place], np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._place = max(0, self._place + (1 if action else -1))
        done = self._place >= self.length
        reward = self.goal_reward if done else -0.1
        return np.array([self._place], np.float32), reward, done, False, {}


class DoubledReward(gymnasium.RewardWrapper):
    """Multiplies rewards, so that a test sees whether it is there."""

    def __init__(self, env: gymnasium.Env, factor: float = 2.0) -> None:
        super().__init__(env)
        self.factor = factor

    def reward(self, reward: float) -> float:
        return self.factor * reward


class Crashing(Corridor):
    """Fails after some steps, as broken simulators do; a plan takes fewer."""

    steps = 0

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        if self.steps > 20:
            raise OSError("the simulator\nwent away")
        return super().step(action)


class Counted(Corridor):
    """Counts the steps that all of its kind take together."""

    steps = 0

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        Counted.steps += 1
        return super().step(action)


class Failing(Corridor):
    """Returns what is not finite in the episode of one seed.

    Args:
        fault: ``reward``, ``observation`` or ``reset``.
        seed: of that episode.
    """

    def __init__(self, fault: str, seed: int) -> None:
        super().__init__()
        self.fault, self.seed, self.is_failing = fault, seed, False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        observation, info = super().reset(seed=seed)
        if seed is not None:
            self.is_failing = seed == self.seed
        if self.is_failing and self.fault == "reset":
            observation = np.full_like(observation, np.inf)
        return observation, info

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, *rest = super().step(action)
        if self.is_failing and self.fault == "observation":
            observation = np.full_like(observation, np.nan)
        elif self.is_failing and self.fault == "reward":
            reward = np.nan
        return observation, reward, *rest


class Hiding(gymnasium.Wrapper):
    """Never says that an episode has ended."""

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        observation, reward, _, _, info = self.env.step(action)
        return observation, reward, False, False, info


gymnasium.register("Corridor-v0", entry_point=Corridor, max_episode_steps=20)
gymnasium.register(
    "BeyondLimit-v0",
    entry_point=Corridor,
    max_episode_steps=20,
    additional_wrappers=(WrapperSpec("Hiding", f"{__name__}:Hiding", {}),),
)
gymnasium.register("Failing-v0", entry_point=Failing, max_episode_steps=20)
gymnasium.register("Crashing-v0", entry_point=Crashing, max_episode_steps=20)
gymnasium.register("Counted-v0", entry_point=Counted, max_episode_steps=20)
