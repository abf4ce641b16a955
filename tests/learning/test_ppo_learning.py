"""Tasks that PPO must really learn, about a second each."""

from __future__ import annotations

import numpy as np
import pytest
from ppo_tasks import build_trainer, settings_of, train

from sweeper.environments.settings import NormalizeSettings
from sweeper.trainables.torch_backend.ppo import trainer as ppo
from sweeper.trainables.torch_backend.ppo.rollout import RolloutCollector

SEEDS = (0, 1, 2)
ENVS = 16


def learn(env_id, iterations, *, normalize=None, kwargs=None, **hyperparameters):
    settings = settings_of(env_id, seeds=SEEDS, normalize=normalize, **(kwargs or {}))
    trainer = build_trainer(settings, **hyperparameters)
    try:
        returns = train(trainer, iterations)
    finally:
        trainer.close()
    return trainer, [float(np.mean(mine)) for mine in returns]


@pytest.mark.parametrize("kind", ["discrete", "multi-discrete", "nested"])
def test_discrete_identities_are_learned(kind):
    _, returns = learn("ppo_tasks/Identity-v0", 60, kwargs={"kind": kind}, gamma=0.0)
    assert min(returns) > 8.5  # of 10; chance gives at most 5


@pytest.mark.parametrize("free_log_std", [False, True])
def test_a_continuous_identity_is_learned(free_log_std):
    _, returns = learn(
        "ppo_tasks/Identity-v0",
        60,
        kwargs={"kind": "continuous"},
        gamma=0.0,
        lr=2e-3,
        clip_param=0.2,
        grad_clip=0.5,
        num_envs_per_env_runner=16,
        train_batch_size_per_learner=256,
        minibatch_size=64,
        model_config={"fcnet_hiddens": [16], "free_log_std": free_log_std},
    )
    assert min(returns) > -0.5  # the best constant gives -3.3


def credit(terminates):
    trainer, _ = learn(
        "ppo_tasks/TwoSteps-v0",
        100,
        kwargs={"terminates": terminates},
        lr=1e-2,
        num_envs_per_env_runner=ENVS,
        rollout_fragment_length=5,  # odd: fragments cut episodes in the middle
        train_batch_size_per_learner=5 * ENVS,
        minibatch_size=40,
    )
    states = np.repeat(np.eye(2, dtype=np.float32)[None], len(SEEDS), axis=0)
    logits = trainer._networks.policy(states)[:, 0]
    return trainer._networks.values(states), logits[:, 1] - logits[:, 0]


# Values of the patient policy with γ = 0.5: the end is worth 0, or as much as the first state.
VALUES = {True: (0.5, 1.0), False: (2 / 3, 4 / 3)}


def is_solved(terminates):
    values, preference = credit(terminates)
    return bool(np.allclose(values, VALUES[terminates], atol=0.03) and (preference > 1).all())


@pytest.mark.parametrize("terminates", [True, False])
def test_an_earlier_action_gets_credit(terminates):
    assert is_solved(terminates)


@pytest.mark.parametrize(
    ("terminates", "break_estimate"),
    [
        (True, lambda given: {"terminated": np.zeros_like(given["terminated"])}),
        (False, lambda given: {"terminated": given["ended"]}),
        (True, lambda given: {"gamma": 0.0}),
    ],
    ids=["terminal states bootstrapped", "truncation not bootstrapped", "nothing flows back"],
)
def test_the_credit_task_fails_with_wrong_advantages(monkeypatch, terminates, break_estimate):
    estimate = ppo.estimate_advantages
    monkeypatch.setattr(
        ppo, "estimate_advantages", lambda **given: estimate(**(given | break_estimate(given)))
    )
    assert not is_solved(terminates)


@pytest.mark.parametrize("terminates", [True, False])
def test_the_credit_task_fails_if_resets_are_part_of_the_batch(monkeypatch, terminates):
    never = property(
        lambda self: np.zeros((len(SEEDS), ENVS), dtype=bool), lambda self, value: None
    )
    monkeypatch.setattr(RolloutCollector, "_resetting", never, raising=False)
    assert not is_solved(terminates)


def test_a_badly_scaled_task_is_learned_only_with_normalisation():
    normalize = NormalizeSettings(observations=True, rewards=True)
    _, returns = learn("ppo_tasks/Scaled-v0", 60, normalize=normalize, gamma=0.0)
    assert min(returns) > 0.9 * 40_000
    _, returns = learn("ppo_tasks/Scaled-v0", 60, gamma=0.0)
    assert max(returns) < 0.5 * 40_000


def test_pictures_are_classified():
    trainer, returns = learn("ppo_tasks/Picture-v0", 30, model_config={}, gamma=0.0, lr=1e-3)
    assert min(returns) > 0.9
    assert trainer._collector._buffers.observations.dtype == np.uint8
