"""Environments of replicas are closed with their trainer, or if it can't be built."""

from __future__ import annotations

import gymnasium as gym
import pytest
from gymnasium import spaces

from sweeper.environments.settings import EnvironmentBuildError, EnvironmentSettings
from sweeper.environments.vector import build_vector_env
from sweeper.errors import ConfigurationRefusedError
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer
from sweeper.trainables.torch_backend.envs import open_replica_envs
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer


class Counted(gym.Env):
    """Counts its open instances; `left` more can be built."""

    observation_space = spaces.Discrete(1)
    opened = 0
    left = 10**6

    def __init__(self, actions=2):
        if Counted.left == 0:
            raise RuntimeError("no more")
        Counted.left -= 1
        Counted.opened += 1
        self.action_space = spaces.Discrete(actions) if actions else spaces.Box(0, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {}

    def step(self, action):
        return 0, 1.0, True, False, {}

    def close(self):
        Counted.opened -= 1


gym.register("replica_envs/Counted-v0", entry_point=Counted)


@pytest.fixture(autouse=True)
def _reset_counts(monkeypatch):
    held = []  # gymnasium closes environments when they are garbage collected

    def build(*arguments, **named):
        held.append(build_vector_env(*arguments, **named))
        return held[-1]

    monkeypatch.setattr("sweeper.trainables.torch_backend.envs.build_vector_env", build)
    monkeypatch.setattr(Counted, "opened", 0)
    monkeypatch.setattr(Counted, "left", 10**6)
    return held


def settings_of(env_id="replica_envs/Counted-v0", algorithm="PPO", **kwargs):
    return TrialSettings(
        algorithm=algorithm,
        backend="torch",
        environment=EnvironmentSettings(env_id, kwargs=kwargs),
        constants={},
        seeds=(0, 1),
    )


def test_environments_are_closed_with_their_block():
    with open_replica_envs(settings_of(), 3) as envs:
        assert (len(envs), envs.num_envs) == (2, 3)
        assert Counted.opened == 6
    assert Counted.opened == 0


def test_built_environments_are_closed_when_a_later_one_fails(monkeypatch):
    monkeypatch.setattr(Counted, "left", 3)
    with pytest.raises(EnvironmentBuildError, match="no more"), open_replica_envs(settings_of(), 3):
        pass
    assert Counted.left == 0
    assert Counted.opened == 0


@pytest.mark.parametrize(
    ("algorithm", "name"), [("PPO", "CartPoleVectorEnv"), ("DQN", "SerialVectorEnv")]
)
def test_auto_vectorization_depends_on_the_algorithm(algorithm, name):
    with open_replica_envs(settings_of("CartPole-v1", algorithm), 2) as envs:
        assert type(envs.vector_envs[0].unwrapped).__name__ == name


@pytest.mark.parametrize(
    ("algorithm", "trainer_class"), [("PPO", TorchPPOTrainer), ("DQN", TorchDQNTrainer)]
)
def test_a_closed_trainer_leaves_no_environment_open(algorithm, trainer_class):
    trainer = trainer_class(settings_of(algorithm=algorithm), {})
    training = Counted.opened
    trainer.evaluate()
    trainer.evaluate()
    assert Counted.opened == training  # an evaluation's are closed at its end
    trainer.close()
    assert Counted.opened == 0


def test_a_trainer_that_refuses_a_space_leaves_no_environment_open():
    with pytest.raises(ConfigurationRefusedError):
        TorchDQNTrainer(settings_of(algorithm="DQN", actions=0), {})
    assert Counted.left < 10**6
    assert Counted.opened == 0
