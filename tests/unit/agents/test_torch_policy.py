"""The standalone policy acts like the trainer's own greedy evaluation."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from sweeper.agents.torch_policy import TorchPolicy
from sweeper.environments.settings import EnvironmentSettings
from sweeper.tracking.champion import describe_torch_agent
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

SMALL = {
    "train_batch_size_per_learner": 64,
    "minibatch_size": 32,
    "num_epochs": 1,
    "num_envs_per_env_runner": 2,
}


def make_trainer(env: str, configuration: Mapping[str, Any] = {}, **kwargs: Any) -> TorchPPOTrainer:
    settings = TrialSettings(
        "PPO", "torch", EnvironmentSettings(env, **kwargs), constants={}, seeds=(3, 8)
    )
    return TorchPPOTrainer(settings, {**SMALL, **configuration})


def greedy(trainer: TorchPPOTrainer, observations: Any, replica: int) -> np.ndarray:
    """By the trainer's own encoder, normaliser, network and distribution."""
    encoded = trainer._encoder.encode(observations)
    batch = np.repeat(encoded[None], 2, axis=0)
    inputs = trainer._networks.policy(trainer._normalise(batch))[replica]
    return trainer._distribution.to_env(trainer._distribution.mode(inputs))


@pytest.mark.parametrize(
    ("env", "configuration"),
    [
        ("CartPole-v1", {"model_config": {"fcnet_hiddens": [16, 8]}}),
        ("CartPole-v1", {"model_config": {"fcnet_hiddens": [8], "vf_share_layers": True,
                                          "fcnet_activation": "relu",
                                          "fcnet_use_layernorm": True}}),
        ("CartPole-v1", {"model_config": {"fcnet_hiddens": [8], "head_fcnet_hiddens": [6],
                                          "head_fcnet_activation": "elu"}}),
        ("Pendulum-v1", {"model_config": {"fcnet_hiddens": [8], "free_log_std": True}}),
        ("Pendulum-v1", {"model_config": {"fcnet_hiddens": [8], "free_log_std": True,
                                          "log_std_init": -2.0, "policy_head_gain": 0.5,
                                          "value_head_gain": 1.0}}),
        ("MountainCarContinuous-v0", {"normalize_actions": False, "clip_actions": True,
                                      "model_config": {"fcnet_hiddens": [8]}}),
        ("FrozenLake-v1", {"model_config": {"fcnet_hiddens": [8]}}),
        ("Blackjack-v1", {"model_config": {"fcnet_hiddens": [8]}}),
    ],
)  # fmt: skip
def test_it_acts_as_the_trainer_acts(
    tmp_path: Path, env: str, configuration: Mapping[str, Any]
) -> None:
    trainer = make_trainer(env, configuration)
    try:
        trainer.train()
        trainer.save(tmp_path)
        envs = gym.make_vec(env, num_envs=20, vectorization_mode="sync")
        observations, _ = envs.reset(seed=1)
        envs.close()
        described, actions = describe_torch_agent(tmp_path)
        acted = TorchPolicy(tmp_path).act(described)
        assert (acted.shape, acted.dtype) == (actions.shape, actions.dtype)
        for replica in (0, 1):
            np.testing.assert_allclose(
                TorchPolicy(tmp_path, replica).act(observations),
                greedy(trainer, observations, replica),
                rtol=1e-5,
            )
    finally:
        trainer.close()


def test_replicas_are_different_agents_and_an_unknown_one_is_refused(
    tmp_path: Path,
) -> None:
    trainer = make_trainer("Pendulum-v1")
    try:
        trainer.save(tmp_path)
    finally:
        trainer.close()
    batch = np.ones((4, 3), np.float32)
    first, second = (TorchPolicy(tmp_path, index).act(batch) for index in (0, 1))
    assert first.shape == (4, 1)
    assert not np.allclose(first, second)
    with pytest.raises(ValueError, match="replicas 0 to 1, not 2"):
        TorchPolicy(tmp_path, 2)
    with pytest.raises(ValueError, match=r"expected a batch of \(3,\)"):
        TorchPolicy(tmp_path).act(np.ones(3))


def test_it_needs_none_of_sweeper_ray_gymnasium_and_torch(tmp_path: Path) -> None:
    trainer = make_trainer("CartPole-v1")
    try:
        trainer.save(tmp_path)
    finally:
        trainer.close()
    agents = Path(__file__).parents[3] / "sweeper" / "agents"
    shutil.copytree(agents / "torch_policy", tmp_path / "code" / "torch_policy")
    code = (
        "import sys\n"
        "for name in ('sweeper', 'ray', 'gymnasium', 'torch'): sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(tmp_path / 'code')!r})\n"
        "import numpy, torch_policy\n"
        f"policy = torch_policy.TorchPolicy({str(tmp_path)!r})\n"
        "print(policy.act(numpy.zeros((2, 4))).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[")
