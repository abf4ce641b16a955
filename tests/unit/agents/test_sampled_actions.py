"""An agent that explores samples as its trainer does in evaluations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from space_envs import ACTIONS

from sweeper.agents.torch_policy import TorchPolicy
from sweeper.environments.settings import EnvironmentSettings
from sweeper.errors import UserError
from sweeper.evidence.evaluation import evaluate
from sweeper.opened_agent import load_agent
from sweeper.trainables.contract import EvaluationSettings, TrialSettings
from sweeper.trainables.torch_backend.dqn.trainer import TorchDQNTrainer
from sweeper.trainables.torch_backend.ppo.trainer import TorchPPOTrainer

PPO = {
    "train_batch_size_per_learner": 32,
    "minibatch_size": 32,
    "num_epochs": 1,
    "model_config": {"fcnet_hiddens": [8]},
}
DQN = {
    "min_sample_timesteps_per_iteration": 32,
    "num_steps_sampled_before_learning_starts": 16,
    "train_batch_size_per_learner": 8,
    "model_config": {"fcnet_hiddens": [8]},
}


def make_trainer(
    algorithm: str,
    environment: EnvironmentSettings,
    more: Mapping[str, Any] = {},
    seeds: tuple[int, ...] = (3, 8),
) -> Any:
    settings = TrialSettings(
        algorithm, "torch", environment, {}, seeds, evaluation=EvaluationSettings(explore=True)
    )
    if algorithm == "DQN":
        return TorchDQNTrainer(settings, {**DQN, **more})
    return TorchPPOTrainer(settings, {**PPO, **more})


def of_actions(actions: str) -> EnvironmentSettings:
    support = str(Path(__file__).parents[2] / "support")
    return EnvironmentSettings(
        "AnySpaces-v0", kwargs={"actions": actions}, module="space_envs", search_paths=(support,)
    )


@pytest.mark.parametrize(
    "actions",
    ["Discrete", "Discrete from 1", "MultiDiscrete from 1", "float32", "rank 0", "float64"],
)
def test_it_draws_what_its_trainer_draws_from_the_same_numbers(
    tmp_path: Path, actions: str
) -> None:
    trainer = make_trainer("PPO", of_actions(actions))
    trainer.train()
    trainer.save(tmp_path)
    distribution = trainer._distribution
    observations = np.random.default_rng(1).uniform(-1, 1, (200, 3)).astype(np.float32)
    for replica in (0, 1):
        drawn = TorchPolicy(tmp_path, replica).act(observations, np.random.default_rng(7))
        noise = np.zeros((200, distribution.columns), np.float32)
        distribution.draw_noise(np.random.default_rng(7), noise)
        inputs = trainer._networks.policy(np.repeat(observations[None], 2, axis=0))[replica]
        expected = distribution.to_env(distribution.sample(inputs, noise))
        np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-5)
        assert all(ACTIONS[actions].contains(action) for action in drawn)
        assert len(np.unique(drawn, axis=0)) > 1
    trainer.close()


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0, [[0, 1.0], [64, 0.2]]])
def test_dqn_explores_with_the_epsilon_that_it_had_come_to(tmp_path: Path, epsilon: Any) -> None:
    trainer = make_trainer("DQN", EnvironmentSettings("CartPole-v1"), {"epsilon": epsilon})
    trainer.train()
    trainer.evaluate()
    trainer.save(tmp_path)
    now = 0.6 if isinstance(epsilon, list) else epsilon
    assert json.loads((tmp_path / "agent.json").read_text())["epsilon"] == pytest.approx(now)
    observations = np.random.default_rng(1).uniform(-1, 1, (500, 4)).astype(np.float32)
    policy = TorchPolicy(tmp_path, 1)
    drawn, greedy = policy.act(observations, np.random.default_rng(7)), policy.act(observations)
    values = trainer._networks.values(np.repeat(observations[None], 2, axis=0))[1]
    noise = np.random.default_rng(7).random((500, 1), dtype=np.float32)
    distribution = trainer._distribution
    assert drawn.tolist() == distribution.to_env(distribution.sample(values, noise)).tolist()
    assert np.mean(drawn != greedy) == pytest.approx(now / 2, abs=0.08)
    trainer.close()


def test_an_agent_whose_epsilon_is_not_known_plays_greedily_or_not_at_all(tmp_path: Path) -> None:
    trainer = make_trainer("DQN", EnvironmentSettings("CartPole-v1"))
    trainer.save(tmp_path)
    trainer.close()
    description = json.loads((tmp_path / "agent.json").read_text())
    del description["epsilon"]
    (tmp_path / "agent.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match="an earlier version wrote it: play it greedily"):
        evaluate(str(tmp_path), "runs", episodes=2, explore=True)
    assert not evaluate(str(tmp_path), "runs", episodes=2).explore
    (tmp_path / "agent.json").write_text(json.dumps({**description, "epsilon": "much"}))
    with pytest.raises(UserError, match="epsilon is no number from 0 to 1"):
        load_agent(tmp_path)


def test_exploring_is_reproducible_by_the_seed_and_every_replica_draws_its_own(
    tmp_path: Path,
) -> None:
    trainer = make_trainer("PPO", EnvironmentSettings("CartPole-v1"))
    trainer.save(tmp_path)
    trainer.close()

    def play(**asked: Any) -> list[tuple[float, ...]]:
        agents = evaluate(str(tmp_path), "runs", episodes=20, **asked).agents
        return [agent.returns for agent in agents]

    np.random.seed(1)
    explored = play(explore=True)
    np.random.seed(2)
    assert play(explore=True) == explored
    assert play(explore=True, replica=8) == explored[1:]
    assert play(explore=True, seed=1) != explored
    assert play() == play(explore=False) != explored
    # The same weights twice differ by their random numbers alone.
    description = json.loads((tmp_path / "agent.json").read_text())
    (tmp_path / "agent.json").write_text(json.dumps({**description, "seeds": [5, 8]}))
    assert play(explore=True)[0] != explored[0]
    assert play()[0] == play(replica=5)[0]
