"""The hand-derived update (fused_loss, packed_q) equals the update by autograd (loss)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sweeper.trainables.torch_backend.dqn.networks import QNetworks, build_q_architecture
from sweeper.trainables.torch_backend.dqn.settings import read_settings
from sweeper.trainables.torch_backend.dqn.trainer import build_head
from sweeper.trainables.torch_backend.dqn.update import DQNLearner
from sweeper.trainables.torch_backend.replay.buffer import ReplaySample

REPLICAS, ROWS, ACTIONS = 3, 32, 4


def build_learner(hyperparameters, *, is_packed):
    settings = read_settings(hyperparameters)
    head = build_head(settings, ACTIONS)
    architecture = build_q_architecture(settings.model_config, observation_shape=(5,), head=head)
    networks = QNetworks(
        architecture, head, replicas=REPLICAS, device=torch.device("cpu"), is_packed=is_packed
    )
    assert (networks.packed is not None) == is_packed
    networks.initialise([torch.Generator().manual_seed(i) for i in range(REPLICAS)])
    return DQNLearner(networks, settings)


def draw_sample(generator):
    shape = (REPLICAS, ROWS)
    return ReplaySample(
        slots=np.zeros(shape, dtype=np.int64),
        observations=generator.normal(size=(REPLICAS, 2 * ROWS, 5)).astype(np.float32),
        actions=generator.integers(ACTIONS, size=shape),
        rewards=(3 * generator.normal(size=shape)).astype(np.float32),
        discounts=(0.9 * (generator.random(shape) < 0.7)).astype(np.float32),
        weights=generator.random(shape).astype(np.float32),
    )


@pytest.mark.parametrize("activation", ["tanh", "relu", "linear"])
@pytest.mark.parametrize(
    "hyperparameters",
    [
        {},
        {"dueling": False, "double_q": False},
        {"td_error_loss_fn": "mse", "double_q": False},
        {"td_error_loss_fn": "mse", "dueling": False},
        {"num_atoms": 11},
        {"num_atoms": 11, "dueling": False, "double_q": False},
    ],
    ids=lambda given: ",".join(given) or "defaults",
)
def test_hand_derived_updates_equal_those_of_autograd(hyperparameters, activation):
    given = {
        **hyperparameters,
        "tau": 0.5,
        "target_network_update_freq": 2,
        "model_config": {"fcnet_hiddens": [16, 8], "fcnet_activation": activation},
    }
    packed, plain = (build_learner(given, is_packed=is_packed) for is_packed in (True, False))
    for learner in (packed, plain):
        learner.begin_iteration()
    generator = np.random.default_rng(0)
    for env_steps in range(5):
        sample = draw_sample(generator)
        ours, theirs = packed.update(sample, env_steps), plain.update(sample, env_steps)
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=1e-4)
        gradients = [learner.networks.online.gradients for learner in (packed, plain)]
        torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)
        # Adam scales gradients that are only rounding to full size: go on from equal weights.
        for name in ("online", "target"):
            weights = getattr(packed.networks, name).parameters.detach()
            getattr(plain.networks, name).parameters.detach().copy_(weights)
    first, second = packed.end_iteration(), plain.end_iteration()
    assert first["num_target_updates"][0] == 2
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name], atol=1e-4, rtol=1e-4, err_msg=name)


def test_hand_derived_values_equal_those_of_autograd():
    packed, plain = (build_learner({}, is_packed=is_packed) for is_packed in (True, False))
    observations = np.random.default_rng(0).normal(size=(REPLICAS, 7, 5)).astype(np.float32)
    np.testing.assert_allclose(
        packed.networks.values(observations), plain.networks.values(observations), atol=1e-6
    )
