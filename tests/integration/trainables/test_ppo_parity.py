"""The torch backend's PPO equals RLlib's: same weights and batch, same losses and gradients."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.minibatch_utils import MiniBatchCyclicIterator
from ray.rllib.utils.schedules.scheduler import Scheduler
from ray.rllib.utils.spaces.space_utils import clip_action, unsquash_action

from sweeper.environments.spaces import build_observation_encoder
from sweeper.spec.keys.support import find_support
from sweeper.trainables.torch_backend.architecture import MODEL_CONFIG_DEFAULTS, build_architecture
from sweeper.trainables.torch_backend.distributions import build_distribution
from sweeper.trainables.torch_backend.networks import ReplicaNetworks
from sweeper.trainables.torch_backend.optimiser import clip_gradients
from sweeper.trainables.torch_backend.ppo.advantages import estimate_advantages
from sweeper.trainables.torch_backend.ppo.fused_loss import differentiate_loss
from sweeper.trainables.torch_backend.ppo.loss import (
    LossCoefficients,
    Minibatch,
    compute_loss,
    describe_loss,
)
from sweeper.trainables.torch_backend.ppo.settings import PPO_DEFAULTS, read_settings
from sweeper.trainables.torch_backend.ppo.update import PPOLearner
from sweeper.trainables.torch_backend.schedules import parse_schedule

REPLICAS, ROWS = 3, 64
TOLERANCE = 1e-5
MODULE = "default_policy"

ACTION_SPACES = {
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "continuous": spaces.Box(-2.0, 1.0, (2,), np.float32),
}
NETWORKS = {
    "standard": {"fcnet_hiddens": [16, 8]},
    "shared": {"fcnet_hiddens": [16], "vf_share_layers": True, "fcnet_activation": "relu"},
    "layer norm and heads": {
        "fcnet_hiddens": [16],
        "fcnet_use_layernorm": True,
        "fcnet_activation": "silu",
        "head_fcnet_hiddens": [8],
        "head_fcnet_use_layernorm": True,
    },
}
IMAGES = spaces.Box(0.0, 1.0, (10, 10, 2), np.float32)
VECTORS = spaces.Box(-1.0, 1.0, (4,), np.float32)


class _Env(gym.Env):
    def __init__(self, observation_space, action_space):
        self.observation_space, self.action_space = observation_space, action_space


def build_pair(observation_space, action_space, **hyperparameters):
    """RLlib's learner, and our networks with its weights in the middle replica."""
    model_config = hyperparameters.pop("model_config")
    config = PPOConfig().training(**hyperparameters).rl_module(model_config=dict(model_config))
    learner = config.build_learner(env=_Env(observation_space, action_space))
    distribution = build_distribution(action_space, normalize_actions=True)
    architecture = build_architecture(
        model_config,
        observation_shape=build_observation_encoder(observation_space).shape,
        distribution_inputs=distribution.input_size,
        is_gaussian=distribution.is_gaussian,
    )
    networks = ReplicaNetworks(architecture, replicas=REPLICAS, device=torch.device("cpu"))
    networks.initialise([torch.Generator().manual_seed(i) for i in range(REPLICAS)])
    module = learner.module[MODULE]
    for name, theirs in match_names(networks, module).items():
        networks.named_parameters()[name][1] = theirs.detach()
    return learner, networks, distribution


def match_names(networks, module):
    """Maps our names to RLlib's parameters, by their order within each network."""
    shared = networks.architecture.is_shared
    groups = {
        "encoder.policy.": "encoder.actor_encoder.",
        "encoder.value.": "encoder.critic_encoder.",
        "encoder.shared.": "encoder.encoder.",
        "head.policy.": "pi.net.",
        "head.value.": "vf.net.",
        "log_std": "pi.log_std",
    }
    theirs, matched = dict(module.named_parameters()), {}
    for ours_prefix, their_prefix in groups.items():
        if ours_prefix == ("encoder.policy." if shared else "encoder.shared."):
            continue
        ours = [name for name in networks.named_parameters() if name.startswith(ours_prefix)]
        found = [name for name in theirs if name.startswith(their_prefix)]
        assert len(ours) == len(found), (ours, found)
        matched.update({a: theirs[b] for a, b in zip(ours, found, strict=True)})
    return matched


def draw_batch(networks, distribution, generator, *, scale=1.0):
    """A batch for every replica, close enough to the policy that clipping and KL both matter."""
    shape = (REPLICAS, ROWS)
    observations = generator.normal(size=(*shape, *networks.architecture.observation_shape))
    observations = torch.from_numpy(observations.astype(np.float32))
    old = networks.forward(observations).distribution.detach()
    old = old + scale * torch.from_numpy(generator.normal(size=old.shape).astype(np.float32))
    noise = np.zeros((*shape, distribution.columns), dtype=np.float32)
    distribution.draw_noise(generator, noise)
    actions = torch.from_numpy(distribution.sample(old.numpy(), noise))
    normalised = distribution.normalise(old)
    minibatch = Minibatch(
        observations,
        actions,
        distribution.log_prob(normalised, actions),
        torch.from_numpy(generator.normal(size=shape).astype(np.float32)),
        torch.from_numpy(3 * generator.normal(size=shape).astype(np.float32)),
        normalised,
    )
    return minibatch, old


def to_rllib(minibatch, old, action_space):
    actions = minibatch.actions[1]
    if isinstance(action_space, spaces.Discrete):
        actions = actions[:, 0].long()
    elif isinstance(action_space, spaces.MultiDiscrete):
        actions = actions.long()
    return {
        Columns.OBS: minibatch.observations[1],
        Columns.ACTIONS: actions,
        Columns.ACTION_LOGP: minibatch.log_probs[1],
        Columns.ACTION_DIST_INPUTS: old[1],
        "advantages": minibatch.advantages[1],
        "value_targets": minibatch.value_targets[1],
    }


def assert_equal_step(learner, networks, distribution, action_space, hyperparameters, *, scale=1.0):
    settings = read_settings({**hyperparameters, "minibatch_size": 1})
    minibatch, old = draw_batch(networks, distribution, np.random.default_rng(0), scale=scale)
    kl_coeff = torch.full((REPLICAS,), settings.kl_coeff) if settings.use_kl_loss else None
    coefficients = LossCoefficients(
        clip_param=settings.clip_param.value(0),
        vf_clip_param=settings.vf_clip_param.value(0),
        vf_loss_coeff=settings.vf_loss_coeff.value(0),
        entropy_coeff=settings.entropy_coeff.value(0),
        kl_coeff=kl_coeff,
        use_critic=settings.use_critic,
    )
    batch = {MODULE: to_rllib(minibatch, old, action_space)}
    losses = learner.compute_losses(fwd_out=learner.module.forward_train(batch), batch=batch)
    gradients = learner.postprocess_gradients(learner.compute_gradients(losses))
    by_parameter = {parameter: gradients.get(key) for key, parameter in learner._params.items()}
    for differentiate in (by_autograd, by_fused_loss) if networks.packed else (by_autograd,):
        terms = differentiate(networks, distribution, minibatch, coefficients)
        ours = describe_loss(distribution, terms, coefficients)
        clip_gradients(networks, settings.grad_clip, settings.grad_clip_by)
        assert ours["total_loss"][1].item() == pytest.approx(losses[MODULE].item(), abs=TOLERANCE)
        for name in ("policy_loss", "vf_loss", "vf_loss_unclipped", "entropy", "mean_kl_loss"):
            theirs = learner.metrics.peek((MODULE, name)).item()
            assert ours[name][1].item() == pytest.approx(theirs, abs=TOLERANCE), name
        found = networks.named_gradients()
        for name, parameter in match_names(networks, learner.module[MODULE]).items():
            theirs = by_parameter[parameter]
            theirs = torch.zeros_like(parameter) if theirs is None else theirs
            torch.testing.assert_close(found[name][1], theirs, atol=TOLERANCE, rtol=0)


def by_autograd(networks, distribution, minibatch, coefficients):
    networks.gradients.zero_()
    outputs = networks.forward(minibatch.observations)
    terms = compute_loss(distribution, outputs, minibatch, coefficients)
    terms.total.mean(1).sum().backward()
    return terms


def by_fused_loss(networks, distribution, minibatch, coefficients):
    networks.gradients.fill_(torch.nan)  # shows gradients that are not written
    return differentiate_loss(networks.packed, distribution, minibatch, coefficients)[1]


@pytest.mark.parametrize("actions", ACTION_SPACES)
@pytest.mark.parametrize(
    "hyperparameters",
    [
        {},
        {"use_kl_loss": False, "clip_param": 0.1},
        {"kl_coeff": 1.5, "entropy_coeff": 0.01, "vf_loss_coeff": 0.5},
        {"vf_clip_param": 0.5, "use_kl_loss": False},
        {"vf_clip_param": float("inf"), "grad_clip": 0.1},
        {"grad_clip": 0.05, "grad_clip_by": "norm"},
        {"grad_clip": 0.01, "grad_clip_by": "value", "use_critic": False},
    ],
    ids=lambda given: ",".join(given) or "defaults",
)
def test_losses_and_gradients_equal_rllibs(actions, hyperparameters):
    space = ACTION_SPACES[actions]
    given = {"model_config": NETWORKS["standard"], **hyperparameters}
    pair = build_pair(VECTORS, space, **given)
    assert_equal_step(*pair, space, given)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_networks_equal_rllibs(network, actions):
    space = ACTION_SPACES[actions]
    given = {"model_config": NETWORKS[network], "grad_clip": 0.5}
    assert_equal_step(*build_pair(VECTORS, space, **given), space, given)


def test_convolutions_with_default_filters_equal_rllibs():
    space = ACTION_SPACES["discrete"]
    given = {"model_config": {}}
    assert_equal_step(*build_pair(IMAGES, space, **given), space, given)


@pytest.mark.parametrize("clip", [20.0, 0.2])
def test_free_and_clipped_log_deviations_equal_rllibs(clip):
    space = ACTION_SPACES["continuous"]
    model_config = {"fcnet_hiddens": [8], "free_log_std": True, "log_std_clip_param": clip}
    given = {"model_config": model_config, "entropy_coeff": 0.01}
    learner, networks, distribution = build_pair(VECTORS, space, **given)
    with torch.no_grad():
        for log_std in (
            networks.named_parameters()["log_std"][1],
            learner.module[MODULE].pi.log_std,
        ):
            log_std.copy_(torch.tensor([0.1, -0.5]))
    assert_equal_step(learner, networks, distribution, space, given, scale=0.3)


def test_state_dependent_log_deviations_are_clipped_as_rllibs_are():
    space = ACTION_SPACES["continuous"]
    given = {"model_config": {"fcnet_hiddens": [8], "log_std_clip_param": 0.1}}
    assert_equal_step(*build_pair(VECTORS, space, **given), space, given, scale=0.3)


@pytest.mark.parametrize("lambda_", [1.0, 0.9])
def test_value_targets_equal_rllibs_connectors(lambda_):
    """Three episodes of one sub-environment in sequence: terminal, truncated, cut."""
    gamma, generator = 0.97, np.random.default_rng(1)
    space = ACTION_SPACES["discrete"]
    learner, networks, _ = build_pair(
        VECTORS, space, model_config=NETWORKS["standard"], gamma=gamma, lambda_=lambda_
    )
    episodes, observations, rewards = [], [], []
    for length, terminated, truncated in ((5, True, False), (3, False, True), (4, False, False)):
        seen = list(generator.normal(size=(length + 1, 4)).astype(np.float32))
        gained = list(generator.normal(size=length))
        episodes.append(
            SingleAgentEpisode(
                observations=seen,
                actions=[0] * length,
                rewards=gained,
                terminated=terminated,
                truncated=truncated,
                extra_model_outputs={
                    Columns.ACTION_LOGP: [-1.0] * length,
                    Columns.ACTION_DIST_INPUTS: [np.zeros(3, np.float32)] * length,
                },
                len_lookback_buffer=0,
            )
        )
        observations += seen
        rewards += [*gained, 0.0]
    theirs = learner._learner_connector(
        rl_module=learner.module,
        batch={},
        episodes=episodes,
        shared_data={},
        metrics=learner.metrics,
    )[MODULE]

    # NEXT_STEP autoreset: the step after an end is the reset, an invalid row.
    steps = len(observations) - 1
    terminated, ended, reset = np.zeros((3, steps), dtype=bool)
    terminated[4] = True
    ended[[4, 8]] = True
    reset[[5, 9]] = True
    valid = ~reset
    stacked = np.stack(observations)[None].repeat(REPLICAS, 0)
    values = networks.values(stacked)[1]
    advantages = estimate_advantages(
        rewards=np.array(rewards[:-1], dtype=np.float32)[None, :, None],
        values=values[None, :, None],
        terminated=terminated[None, :, None],
        ended=ended[None, :, None],
        valid=valid[None, :, None],
        gamma=gamma,
        lambda_=lambda_,
    )[0, :, 0]
    mask = theirs[Columns.LOSS_MASK].numpy()
    np.testing.assert_allclose(
        (advantages + values[:-1])[valid], theirs["value_targets"].numpy()[mask], atol=TOLERANCE
    )


def test_actions_are_unsquashed_as_rllib_does():
    space = spaces.Box(np.float32([-2, 0, -5]), np.float32([1, 10, 5]))
    distribution = build_distribution(space, normalize_actions=True)
    actions = np.random.default_rng(0).normal(scale=1.5, size=(50, 3)).astype(np.float32)
    theirs = np.stack([unsquash_action(action, space) for action in actions])
    np.testing.assert_array_equal(distribution.to_env(actions), theirs)


def test_actions_are_clipped_as_rllib_does():
    space = spaces.Box(np.float32([-2, 0, -np.inf]), np.float32([1, np.inf, np.inf]))
    distribution = build_distribution(space, normalize_actions=False)
    actions = np.random.default_rng(0).normal(scale=1.5, size=(50, 3)).astype(np.float32)
    theirs = np.stack([clip_action(action, space) for action in actions])
    np.testing.assert_array_equal(distribution.to_env(actions), theirs)


def test_unbounded_actions_are_left_alone_as_rllib_does():
    space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    distribution = build_distribution(space, normalize_actions=True)
    actions = np.float32([[3.0, -7.0]])
    np.testing.assert_array_equal(distribution.to_env(actions), actions)


def test_schedules_equal_rllibs():
    points = [[0, 1e-3], [1000, 5e-4], [3000, 0.0]]
    theirs = Scheduler(fixed_value_or_schedule=points, framework="torch")
    ours = parse_schedule("lr", points)
    for env_steps in (0, 1, 500, 1000, 1001, 2999, 3000, 10_000):
        expected = theirs.update(timestep=env_steps)
        assert ours.value(env_steps) == pytest.approx(expected, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize(("rows", "size", "epochs"), [(256, 256, 3), (300, 128, 2), (10, 4, 3)])
def test_minibatches_are_counted_as_rllib_does(rows, size, epochs):
    batch = MultiAgentBatch({MODULE: SampleBatch({"x": np.arange(rows)})}, rows)
    theirs = MiniBatchCyclicIterator(
        batch, num_epochs=epochs, minibatch_size=size, shuffle_batch_per_epoch=False
    )
    theirs = [minibatch[MODULE]["x"] for minibatch in theirs]
    _, networks, distribution = build_pair(
        VECTORS, ACTION_SPACES["discrete"], model_config={"fcnet_hiddens": [4]}
    )
    settings = read_settings(
        {
            "train_batch_size_per_learner": rows,
            "minibatch_size": size,
            "num_epochs": epochs,
            "shuffle_batch_per_epoch": False,
        }
    )
    generators = [np.random.default_rng(i) for i in range(REPLICAS)]
    ours = PPOLearner(networks, distribution, settings, generators)._draw_order(rows)
    np.testing.assert_array_equal(ours[:, 0].numpy(), np.stack(theirs))


def test_the_defaults_are_those_of_the_installed_rllib():
    config = PPOConfig()
    departures = {"num_env_runners": 0}
    for key, value in PPO_DEFAULTS.items():
        if key == "model_config":
            continue
        assert departures.get(key, getattr(config, key)) == value, key
    theirs = {**vars(DefaultModelConfig()), "vf_share_layers": False}
    beyond = find_support("torch", "PPO").extensions
    for key, value in MODEL_CONFIG_DEFAULTS.items():
        assert (key in theirs) is (key not in beyond), key
        assert theirs.get(key, value) == value, key


def test_a_dict_as_model_config_does_not_share_layers():
    learner, networks, _ = build_pair(
        VECTORS, ACTION_SPACES["discrete"], model_config={"fcnet_hiddens": [4]}
    )
    assert hasattr(learner.module[MODULE].encoder, "critic_encoder")
    assert networks.architecture.encoders == ("policy", "value")
