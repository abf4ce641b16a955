"""DQN must learn these tasks, in about a second each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dqn_tasks import build_trainer, picture, q_values, settings_of

from sweeper.trainables.torch_backend.replay.buffer import ReplayBuffer

SEEDS = (0, 1, 2)
UNIFORM = {"type": "EpisodeReplayBuffer", "capacity": 2000}
# Values of going forward in each state. A truncated end is worth as much as the start.
VALUES = {
    True: np.array([0.125, 0.25, 0.5, 1.0]),
    False: 0.125 / (1 - 0.5**4) * np.array([1, 2, 4, 8]),
}


def learn(env, iterations=10, *, seeds=SEEDS, kwargs=None, **hyperparameters):
    settings = settings_of(f"dqn_tasks/{env}-v0", seeds=seeds, **(kwargs or {}))
    trainer = build_trainer(settings, **hyperparameters)
    try:
        for _ in range(iterations):
            trainer.train()
    finally:
        trainer.close()
    return trainer, q_values(trainer)


def is_solved(terminates, **hyperparameters):
    _, values = learn("Chain", kwargs={"terminates": terminates}, **hyperparameters)
    return bool(np.allclose(values[:, :, 1], VALUES[terminates], atol=0.03))


@pytest.mark.parametrize("terminates", [True, False])
@pytest.mark.parametrize(
    "hyperparameters",
    [
        {},
        {"dueling": False, "double_q": False, "replay_buffer_config": UNIFORM},
        {"num_envs_per_env_runner": 3, "td_error_loss_fn": "mse"},
        {"tau": 0.1, "target_network_update_freq": 4},
        {"num_atoms": 21, "v_min": -1.0, "v_max": 2.0},
        {"model_config": {"fcnet_hiddens": [16], "fcnet_use_layernorm": True}},
        {
            "train_batch_size_per_learner": 64,
            "rollout_fragment_length": 8,
            "training_intensity": 32,
        },
    ],
    ids=lambda given: ",".join(given) or "defaults",
)
def test_a_chain_is_learned_by_bootstrapping(terminates, hyperparameters):
    assert is_solved(terminates, **hyperparameters)


def test_the_chain_fails_if_terminal_states_are_bootstrapped(monkeypatch):
    monkeypatch.setattr("sweeper.trainables.torch_backend.replay.buffer._TERMINAL", np.uint8(0))
    assert not is_solved(terminates=True)


def test_the_chain_fails_if_truncated_episodes_are_not_bootstrapped(monkeypatch):
    append = ReplayBuffer.append

    def wrong(self, lanes, *, rewards, terminated, **given):
        append(self, lanes, rewards=rewards, terminated=rewards > 0, **given)

    monkeypatch.setattr(ReplayBuffer, "append", wrong)
    assert not is_solved(terminates=False)


def test_the_chain_fails_without_bootstrapping():
    assert not is_solved(terminates=True, gamma=0.0)


def test_a_delayed_reward_is_found_only_with_several_steps():
    """The states in between look the same, so one-step targets can't carry the reward back."""
    _, values = learn("Delayed", n_step=3)
    np.testing.assert_allclose(values[:, 0], [[0.0, 0.25]] * 3, atol=0.03)
    _, values = learn("Delayed", n_step=1)
    assert np.abs(values[:, 0, 1] - values[:, 0, 0]).max() < 0.1


def test_a_range_of_steps_reaches_its_upper_end():
    _, values = learn("Delayed", n_step=[1, 3], replay_buffer_config=UNIFORM)
    # A third of the draws take three steps and see the whole 1/4.
    assert (values[:, 0, 1] - values[:, 0, 0] > 0.04).all()


def walk_greedily(n_step, kind="PrioritizedEpisodeReplayBuffer"):
    """Learn the corridor, and return each replica's return and length of greedy episodes."""
    trainer, _ = learn(
        "Corridor",
        10,
        n_step=n_step,
        gamma=0.9,
        epsilon=[[0, 1.0], [2000, 0.2]],
        lr=2e-3,
        rollout_fragment_length=5,
        replay_buffer_config={"type": kind, "capacity": 20_000},
    )
    results = trainer.evaluate()
    return [(result.episode_returns[0], result.episode_lengths[0]) for result in results]


@pytest.mark.parametrize("kind", ["EpisodeReplayBuffer", "PrioritizedEpisodeReplayBuffer"])
@pytest.mark.parametrize("n_step", [1, 2, 3, 5, [1, 4], [2, 5]], ids=str)
def test_the_last_actions_of_an_episode_are_learned(n_step, kind):
    assert walk_greedily(n_step, kind) == [(1.0, 5)] * 3


def test_the_corridor_fails_if_transitions_near_the_end_are_not_drawn(monkeypatch):
    append = ReplayBuffer.append

    def wrong(self, lanes, *, ended, **given):
        append(self, lanes, ended=np.zeros_like(ended), **given)

    monkeypatch.setattr(ReplayBuffer, "append", wrong)
    assert walk_greedily(3) != [(1.0, 5)] * 3


def test_double_q_removes_the_maximisation_bias():
    bias = {}
    for double_q in (True, False):
        _, values = learn(
            "Noisy",
            12,
            seeds=tuple(range(10)),
            double_q=double_q,
            gamma=1.0,
            epsilon=1.0,
            lr=1e-2,
            target_network_update_freq=300,
            replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 150},
        )
        bias[double_q] = float(values[:, 0].mean()) + 0.1
    assert abs(bias[True]) < 0.25
    assert bias[False] > 0.35


def test_the_mean_of_the_returns_distribution_is_the_q_value():
    trainer, values = learn(
        "Coin",
        10,
        num_atoms=21,
        v_min=-2.0,
        v_max=2.0,
        epsilon=1.0,
        replay_buffer_config={"type": "EpisodeReplayBuffer", "capacity": 4000},
    )
    np.testing.assert_allclose(values, 0.5, atol=0.12)
    networks = trainer._networks
    outputs = networks._forward(0, np.ones((3, 1, 1), dtype=np.float32))
    probabilities = torch.softmax(networks.head.combine(outputs).logits, dim=-1)[:, 0]
    support = networks.head.support(torch.device("cpu"))
    np.testing.assert_allclose((probabilities * support).sum(-1), values[:, 0], atol=1e-5)
    # The distribution itself: -1 and 1 are atoms 5 and 15.
    np.testing.assert_allclose(probabilities[..., 5], 0.25, atol=0.08)
    np.testing.assert_allclose(probabilities[..., 15], 0.75, atol=0.08)


def test_evaluation_acts_greedily():
    trainer, _ = learn("Chain")
    results = trainer.evaluate()
    assert all(set(result.episode_lengths) == {4} for result in results)


def test_pictures_are_stored_as_bytes_and_told_apart():
    settings = settings_of("dqn_tasks/Picture-v0", seeds=(0, 1))
    trainer = build_trainer(settings, gamma=0.0, lr=1e-3, model_config={})
    for _ in range(2):
        trainer.train()
    trainer.close()
    assert trainer._buffer.state()["observations"].dtype == np.uint8
    pictures = np.stack([picture(0), picture(1)]).astype(np.float32)
    values = trainer._networks.values(np.stack([pictures, pictures]))
    np.testing.assert_allclose(values, [np.eye(2)] * 2, atol=0.1)
