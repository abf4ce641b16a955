"""PPO's fused loss takes the same steps as its loss in autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sweeper.trainables.torch_backend.architecture import build_architecture
from sweeper.trainables.torch_backend.distributions import build_distribution
from sweeper.trainables.torch_backend.networks import ReplicaNetworks
from sweeper.trainables.torch_backend.ppo.loss import Minibatch
from sweeper.trainables.torch_backend.ppo.settings import read_settings
from sweeper.trainables.torch_backend.ppo.update import PPOLearner, TrainBatch

REPLICAS, ROWS, BATCH = 3, 24, 60

ACTION_SPACES = {
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 4, 3]),
    "box": spaces.Box(-2.0, 1.0, (2,), np.float32),
    "number": spaces.Box(-2.0, 1.0, (), np.float32),
}
NETWORKS = {
    "standard": {"fcnet_hiddens": [16, 8]},
    "shared": {"fcnet_hiddens": [8], "vf_share_layers": True, "fcnet_activation": "relu"},
    "linear": {"fcnet_hiddens": [6, 5, 4], "fcnet_activation": "linear"},
}
DEVIATIONS = {
    "of the state": {"fcnet_hiddens": [8]},
    "of the state, clipped": {"fcnet_hiddens": [8], "log_std_clip_param": 0.1},
    "free": {"fcnet_hiddens": [8], "free_log_std": True},
    "free, clipped": {"fcnet_hiddens": [8], "free_log_std": True, "log_std_clip_param": 0.1},
}
HYPERPARAMETERS = [
    {},
    {"use_kl_loss": False, "clip_param": 0.1},
    {"kl_coeff": 1.5, "entropy_coeff": 0.01, "vf_loss_coeff": 0.5},
    {"vf_clip_param": 0.5, "use_kl_loss": False, "entropy_coeff": [[0, 0.5], [1000, 0.0]]},
    {"vf_clip_param": math.inf, "grad_clip": 0.1, "clip_param": [[0, 0.4], [1000, 0.0]]},
    {"grad_clip": 0.05, "grad_clip_by": "norm"},
    {"grad_clip": 0.01, "grad_clip_by": "value", "use_critic": False},
]


def build_learner(space, model_config, hyperparameters, *, is_packed):
    distribution = build_distribution(space, normalize_actions=True)
    architecture = build_architecture(
        model_config,
        observation_shape=(5,),
        distribution_inputs=distribution.input_size,
        is_gaussian=distribution.is_gaussian,
    )
    networks = ReplicaNetworks(
        architecture, replicas=REPLICAS, device=torch.device("cpu"), is_packed=is_packed
    )
    networks.initialise([torch.Generator().manual_seed(i) for i in range(REPLICAS)])
    if architecture.free_log_std:
        drawn = torch.tensor([[0.05, -0.3], [0.3, 0.05], [-0.05, 0.02]])
        networks.named_parameters()["log_std"].copy_(drawn[:, : architecture.log_deviations])
    settings = read_settings(
        {
            "minibatch_size": ROWS,
            "num_epochs": 2,
            "train_batch_size_per_learner": BATCH,
            "lr": 1e-3,
            **hyperparameters,
        }
    )
    generators = [np.random.default_rng(i) for i in range(REPLICAS)]
    return PPOLearner(networks, distribution, settings, generators), distribution


def build_pair(space, model_config, hyperparameters):
    (packed, distribution), (plain, _) = (
        build_learner(space, model_config, hyperparameters, is_packed=is_packed)
        for is_packed in (True, False)
    )
    assert packed.networks.packed is not None
    assert plain.networks.packed is None
    return packed, plain, distribution


def draw_fields(networks, distribution, rows=BATCH, *, scale=0.5):
    """A batch close enough to the policy that some rows are clipped and some are not."""
    generator = np.random.default_rng(0)
    shape = REPLICAS, rows

    def normal(*inner):
        return generator.normal(size=(*shape, *inner)).astype(np.float32)

    observations = normal(5)
    inputs = networks.policy(observations)
    inputs = inputs + scale * normal(distribution.input_size)
    noise = np.zeros((*shape, distribution.columns), dtype=np.float32)
    distribution.draw_noise(generator, noise)
    actions = torch.from_numpy(distribution.sample(inputs, noise))
    old = distribution.normalise(torch.from_numpy(inputs))
    return Minibatch(
        torch.from_numpy(observations),
        actions,
        distribution.log_prob(old, actions),
        torch.from_numpy(normal()),
        torch.from_numpy(3 * normal()),
        old,
    )


def assert_equal_steps(packed, plain, batch, *, env_steps=250):
    """Every minibatch of an update from equal weights: values, loss, gradients and norms."""
    coefficients = packed._coefficients(env_steps)
    order = packed._draw_order(BATCH)
    for minibatch in batch.minibatches(order):
        ours, theirs = (
            learner._step(minibatch, coefficients, lr=1e-3) for learner in (packed, plain)
        )
        for found, expected in zip((ours[0], *ours[1]), (theirs[0], *theirs[1]), strict=True):
            assert (found is None) == (expected is None)
            if found is not None:
                torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours[2], theirs[2], atol=1e-5, rtol=1e-4)
        gradients = [learner.networks.gradients for learner in (packed, plain)]
        torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)
        # Adam scales rounding errors up to full steps, so continue from equal weights.
        plain.networks.parameters.detach().copy_(packed.networks.parameters.detach())
    assert (plain.networks.gradients != 0).float().mean() > 0.3


@pytest.mark.parametrize("actions", ACTION_SPACES)
@pytest.mark.parametrize(
    "hyperparameters", HYPERPARAMETERS, ids=lambda given: ",".join(given) or "defaults"
)
def test_a_fused_step_equals_a_step_by_autograd(actions, hyperparameters):
    given = ACTION_SPACES[actions], NETWORKS["standard"], hyperparameters
    packed, plain, distribution = build_pair(*given)
    batch = TrainBatch.build(draw_fields(packed.networks, distribution))
    assert_equal_steps(packed, plain, batch)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("actions", ["discrete", "box"])
def test_every_standard_network_takes_the_same_fused_step(network, actions):
    hyperparameters = {"entropy_coeff": 0.02}
    packed, plain, distribution = build_pair(
        ACTION_SPACES[actions], NETWORKS[network], hyperparameters
    )
    batch = TrainBatch.build(draw_fields(packed.networks, distribution))
    assert_equal_steps(packed, plain, batch)


@pytest.mark.parametrize("deviations", DEVIATIONS)
@pytest.mark.parametrize("use_kl_loss", [True, False])
def test_every_kind_of_deviation_takes_the_same_fused_step(deviations, use_kl_loss):
    hyperparameters = {"entropy_coeff": 0.02, "use_kl_loss": use_kl_loss, "vf_clip_param": 5.0}
    packed, plain, distribution = build_pair(
        ACTION_SPACES["box"], DEVIATIONS[deviations], hyperparameters
    )
    fields = draw_fields(packed.networks, distribution, scale=0.2)
    assert_equal_steps(packed, plain, TrainBatch.build(fields))


@pytest.mark.parametrize("actions", ["discrete", "multi-discrete", "box"])
def test_a_fused_update_reports_the_same_metrics_as_autograd(actions):
    hyperparameters = {"grad_clip": 0.5, "entropy_coeff": 0.01}
    packed, plain, distribution = build_pair(
        ACTION_SPACES[actions], NETWORKS["standard"], hyperparameters
    )
    batch = TrainBatch.build(draw_fields(packed.networks, distribution))
    before = packed.networks.parameters.detach().clone()
    ours, theirs = packed.update(batch, 250), plain.update(batch, 250)
    assert list(ours) == list(theirs)
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], atol=1e-3, rtol=1e-3, err_msg=name)
    weights = [learner.networks.parameters.detach() for learner in (packed, plain)]
    torch.testing.assert_close(*weights, atol=1e-3, rtol=0)
    assert (weights[0] - before).abs().max() > 3e-3
    np.testing.assert_array_equal(packed.kl_coeffs, plain.kl_coeffs)


@pytest.mark.parametrize("actions", ["discrete", "box"])
def test_the_same_replica_diverges_with_the_fused_loss_and_autograd(actions):
    packed, plain, distribution = build_pair(ACTION_SPACES[actions], NETWORKS["standard"], {})
    fields = draw_fields(packed.networks, distribution)
    fields.value_targets[1, 7] = math.nan
    batch = TrainBatch.build(fields)
    before = packed.networks.parameters.detach().clone()
    for learner in (packed, plain):
        with np.errstate(all="ignore"):
            learner.update(batch, 0)
            learner.update(batch, 0)
        np.testing.assert_array_equal(learner.is_frozen, [False, True, False])
        weights = learner.networks.parameters.detach()
        assert torch.equal(weights[1], before[1])
        assert not torch.equal(weights[0], before[0])
        assert torch.isfinite(weights).all()


def test_a_frozen_replica_takes_no_fused_step_and_does_not_affect_others():
    given = ACTION_SPACES["discrete"], NETWORKS["standard"], {}
    (all_free, distribution), (one_frozen, _) = (
        build_learner(*given, is_packed=True) for _ in range(2)
    )
    batch = TrainBatch.build(draw_fields(all_free.networks, distribution))
    before = one_frozen.networks.parameters.detach().clone()
    one_frozen.freeze(np.array([False, True, False]))
    for learner in (all_free, one_frozen):
        learner.update(batch, 0)
    free, frozen = (learner.networks.parameters.detach() for learner in (all_free, one_frozen))
    assert torch.equal(frozen[1], before[1])
    assert torch.equal(frozen[[0, 2]], free[[0, 2]])


def test_an_overflowing_ratio_gives_the_same_gradient_as_autograd():
    """RLlib makes such gradients finite and continues; so must the fused step."""
    packed, plain, distribution = build_pair(ACTION_SPACES["discrete"], NETWORKS["standard"], {})
    fields = draw_fields(packed.networks, distribution)
    fields.log_probs[1, 7] = -200.0
    fields.advantages[1, 7] = 1.0
    batch = TrainBatch.build(fields)
    for learner in (packed, plain):
        with np.errstate(all="ignore"):
            learner.update(batch, 0)
    np.testing.assert_array_equal(packed.is_frozen, plain.is_frozen)
    weights = [learner.networks.parameters.detach() for learner in (packed, plain)]
    torch.testing.assert_close(*weights, atol=1e-3, rtol=0)
