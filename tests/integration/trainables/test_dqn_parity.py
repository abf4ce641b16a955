"""The torch backend's DQN beside RLlib's: equal weights and batches, equal losses and gradients."""

from __future__ import annotations

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.dqn.dqn import calculate_rr_weights
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME, TD_ERROR_KEY
from ray.rllib.utils.replay_buffers.prioritized_episode_buffer import (
    PrioritizedEpisodeReplayBuffer,
)

from sweeper.environments.spaces import build_observation_encoder
from sweeper.trainables.torch_backend.dqn.loss import describe_loss
from sweeper.trainables.torch_backend.dqn.networks import QNetworks, build_q_architecture
from sweeper.trainables.torch_backend.dqn.settings import DQN_DEFAULTS, read_settings
from sweeper.trainables.torch_backend.dqn.trainer import build_head
from sweeper.trainables.torch_backend.dqn.update import DQNLearner
from sweeper.trainables.torch_backend.replay.buffer import ReplayBuffer, ReplaySample
from sweeper.trainables.torch_backend.replay.observation_store import ObservationStore
from sweeper.trainables.torch_backend.replay.settings import ReplaySettings

REPLICAS, ROWS, ACTIONS = 3, 32, 3
TOLERANCE = 1e-5
MODULE = "default_policy"
VECTORS = spaces.Box(-1.0, 1.0, (4,), np.float32)
IMAGES = spaces.Box(0.0, 1.0, (10, 10, 2), np.float32)
SMALL = {"fcnet_hiddens": [16, 8]}


class _Env(gym.Env):
    def __init__(self, observation_space):
        self.observation_space, self.action_space = observation_space, spaces.Discrete(ACTIONS)


def build_pair(observation_space, hyperparameters, *, is_packed=True):
    """RLlib's learner, and ours whose middle replica has its weights, online and target."""
    given = dict(hyperparameters)
    model_config = given.pop("model_config", SMALL)
    config = DQNConfig().training(**given).rl_module(model_config=dict(model_config))
    theirs = config.build_learner(env=_Env(observation_space))
    settings = read_settings({**given, "model_config": model_config})
    head = build_head(settings, ACTIONS)
    architecture = build_q_architecture(
        settings.model_config,
        observation_shape=build_observation_encoder(observation_space).shape,
        head=head,
    )
    networks = QNetworks(
        architecture, head, replicas=REPLICAS, device=torch.device("cpu"), is_packed=is_packed
    )
    networks.initialise([torch.Generator().manual_seed(i) for i in range(REPLICAS)])
    module = theirs.module[MODULE]
    with torch.no_grad():
        # Apart, so that it matters which of the two is asked.
        for name, parameter in module.named_parameters():
            if name.startswith("_target"):
                parameter += 0.05 * torch.randn(parameter.shape, generator=_seeded())
    for prefix, ours in (("", networks.online), ("_target_", networks.target)):
        for name, parameter in match_names(networks, module, prefix).items():
            ours.named_parameters()[name][1] = parameter.detach()
    return theirs, DQNLearner(networks, settings), settings


def _seeded():
    return torch.Generator().manual_seed(7)


def match_names(networks, module, prefix=""):
    """Ours to RLlib's parameters, by their order within each network."""
    groups = {"encoder.shared.": "encoder.", "head.policy.": "af.", "head.value.": "vf."}
    theirs, matched = dict(module.named_parameters()), {}
    for ours_prefix, their_prefix in groups.items():
        if ours_prefix == "head.value." and not networks.head.is_dueling:
            continue
        ours = [name for name in networks.online.named_parameters() if name.startswith(ours_prefix)]
        found = [name for name in theirs if name.startswith(prefix + their_prefix)]
        assert len(ours) == len(found), (ours, found)
        matched.update({a: theirs[b] for a, b in zip(ours, found, strict=True)})
    return matched


def draw_sample(observation_space, generator, n_step=2, gamma=0.99):
    """A batch for every replica, and RLlib's form of the middle one's."""
    shape = (REPLICAS, ROWS)
    observations = generator.normal(size=(REPLICAS, 2 * ROWS, *observation_space.shape))
    terminated = generator.random(shape) < 0.3
    steps = generator.integers(1, n_step + 1, size=shape)
    sample = ReplaySample(
        slots=np.zeros(shape, dtype=np.int64),
        observations=observations.astype(np.float32),
        actions=generator.integers(ACTIONS, size=shape),
        rewards=(3 * generator.normal(size=shape)).astype(np.float32),
        discounts=np.where(terminated, 0.0, gamma**steps).astype(np.float32),
        weights=generator.uniform(0.1, 1.0, size=shape).astype(np.float32),
    )
    batch = {
        Columns.OBS: torch.from_numpy(sample.observations[1, :ROWS]),
        Columns.NEXT_OBS: torch.from_numpy(sample.observations[1, ROWS:]),
        Columns.ACTIONS: torch.from_numpy(sample.actions[1]),
        Columns.REWARDS: torch.from_numpy(sample.rewards[1]),
        Columns.TERMINATEDS: torch.from_numpy(terminated[1]),
        "n_step": torch.from_numpy(steps[1]).float(),
        "weights": torch.from_numpy(sample.weights[1]),
    }
    return sample, {MODULE: batch}


def assert_equal_update(observation_space, hyperparameters, *, is_packed=True):
    theirs, ours, _ = build_pair(observation_space, hyperparameters, is_packed=is_packed)
    networks, module = ours.networks, theirs.module[MODULE]
    sample, batch = draw_sample(observation_space, np.random.default_rng(0))
    losses = theirs.compute_losses(fwd_out=theirs.module.forward_train(batch), batch=batch)
    gradients = theirs.postprocess_gradients(theirs.compute_gradients(losses))

    before = networks.online.parameters.detach().clone()
    ours.begin_iteration()
    errors = ours.update(sample, env_steps=0)
    terms, norms = ours._last
    metrics = describe_loss(terms)
    expected = theirs.metrics.peek((MODULE, TD_ERROR_KEY))
    expected = torch.cat([torch.as_tensor(each).reshape(-1) for each in expected])
    np.testing.assert_allclose(errors[1], expected.detach().numpy(), atol=TOLERANCE)
    assert metrics["total_loss"][1].item() == pytest.approx(losses[MODULE].item(), abs=TOLERANCE)
    for name in ("qf_loss", "qf_mean", "qf_max", "qf_min", "td_error_mean"):
        value = theirs.metrics.peek((MODULE, name)).item()
        assert metrics[name][1].item() == pytest.approx(value, abs=TOLERANCE), name
    by_parameter = {parameter: gradients.get(key) for key, parameter in theirs._params.items()}
    found = networks.online.named_gradients()
    for name, parameter in match_names(networks, module).items():
        torch.testing.assert_close(found[name][1], by_parameter[parameter], atol=TOLERANCE, rtol=0)
    if hyperparameters.get("grad_clip_by", "global_norm") == "global_norm":
        norm = theirs.metrics.peek((MODULE, "gradients_default_optimizer_global_norm"))
        assert norms[1].item() == pytest.approx(float(norm), rel=1e-4)

    # Adam's step too, but for gradients that are rounding only: Adam gives them full size.
    theirs.apply_gradients(gradients)
    for name, parameter in match_names(networks, module).items():
        is_real = found[name][1].abs() > 1e-5
        mine = networks.online.named_parameters()[name][1]
        torch.testing.assert_close(
            mine[is_real], parameter.detach()[is_real], atol=TOLERANCE, rtol=0
        )
    assert not torch.equal(before[1], networks.online.parameters[1])


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize(
    "hyperparameters",
    [
        {},
        {"double_q": False},
        {"dueling": False},
        {"double_q": False, "dueling": False, "td_error_loss_fn": "mse"},
        {"grad_clip": 0.1},
        {"grad_clip": 0.01, "grad_clip_by": "value"},
        {"grad_clip": 0.1, "grad_clip_by": "norm"},
        {"num_atoms": 11},
        {"num_atoms": 11, "dueling": False, "v_min": -2.0, "v_max": 5.0},
        {"num_atoms": 51, "double_q": False, "v_min": 0.0},
    ],
    ids=lambda given: ",".join(given) or "defaults",
)
def test_losses_gradients_and_priorities_equal_rllibs(hyperparameters, is_packed):
    assert_equal_update(VECTORS, hyperparameters, is_packed=is_packed)


@pytest.mark.parametrize(
    "model_config",
    [
        {},
        {"fcnet_hiddens": [16], "fcnet_activation": "relu"},
        {"fcnet_hiddens": [16], "fcnet_activation": "silu", "fcnet_use_layernorm": True},
        {"fcnet_hiddens": [16], "head_fcnet_hiddens": [8], "head_fcnet_activation": "tanh"},
    ],
    ids=lambda given: ",".join(given) or "defaults",
)
def test_networks_equal_rllibs(model_config):
    assert_equal_update(VECTORS, {"model_config": model_config})


def test_convolutions_with_default_filters_equal_rllibs():
    assert_equal_update(IMAGES, {"model_config": {}})


def test_values_of_a_distribution_on_an_atom_and_beyond_the_support_equal_rllibs():
    """Targets that fall on an atom, below the first and above the last one."""
    hyperparameters = {"num_atoms": 5, "v_min": -2.0, "v_max": 2.0}
    theirs, ours, _ = build_pair(VECTORS, hyperparameters)
    sample, batch = draw_sample(VECTORS, np.random.default_rng(0))
    rewards = np.tile(np.float32([-7.0, 0.0, 1.0, 9.0]), ROWS // 4)
    sample.rewards[:] = rewards
    sample.discounts[:] = 0.0
    batch[MODULE][Columns.REWARDS] = torch.from_numpy(rewards)
    batch[MODULE][Columns.TERMINATEDS] = torch.ones(ROWS, dtype=torch.bool)
    losses = theirs.compute_losses(fwd_out=theirs.module.forward_train(batch), batch=batch)
    ours.begin_iteration()
    ours.update(sample, env_steps=0)
    assert ours._last[0].weighted.mean(1)[1].item() == pytest.approx(
        losses[MODULE].item(), abs=TOLERANCE
    )


@pytest.mark.parametrize("tau", [1.0, 0.2])
def test_the_target_network_follows_as_rllibs_does(tau):
    given = {"tau": tau, "target_network_update_freq": 100}
    theirs, ours, _ = build_pair(VECTORS, given)
    networks, module = ours.networks, theirs.module[MODULE]
    expected = {1: 0, 99: 0, 100: 1, 101: 1, 250: 2, 349: 2, 350: 3}
    for env_steps, updates in expected.items():
        theirs.after_gradient_based_update(timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: env_steps})
        ours._follow(env_steps)
        assert ours._target_updates == updates
        assert ours._last_target_update == theirs.last_update_ts_by_mid[MODULE]
        for name, parameter in match_names(networks, module, "_target_").items():
            mine = networks.target.named_parameters()[name][1]
            torch.testing.assert_close(mine, parameter.detach(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("intensity", [None, 32.0, 128.0, 1.0, 8.0, 500.0])
@pytest.mark.parametrize(("batch", "fragment", "envs"), [(32, 1, 1), (64, 256, 1), (128, 4, 2)])
def test_rounds_are_divided_as_rllib_does(intensity, batch, fragment, envs):
    config = DQNConfig().training(training_intensity=intensity, train_batch_size_per_learner=batch)
    config.env_runners(rollout_fragment_length=fragment, num_envs_per_env_runner=envs)
    settings = read_settings(
        {
            "training_intensity": intensity,
            "train_batch_size_per_learner": batch,
            "rollout_fragment_length": fragment,
            "num_envs_per_env_runner": envs,
        }
    )
    assert [settings.fragments, settings.updates] == calculate_rr_weights(config)


@pytest.mark.parametrize("n_step", [1, 3])
def test_prioritised_draws_are_rllibs_transitions(n_step):
    """The same episodes in both buffers: equal transitions, weights, new priorities.

    Ours also draws the last n - 1 steps of an episode that has ended.
    """
    gamma, alpha, beta = 0.9, 0.6, 0.4
    theirs = PrioritizedEpisodeReplayBuffer(capacity=100, alpha=alpha)
    space = spaces.Box(-1e9, 1e9, (1,), np.float32)
    ours = ReplayBuffer(
        ObservationStore(build_observation_encoder(space)),
        ReplaySettings(100, alpha, beta, (n_step, n_step), gamma),
        replicas=1,
        envs=1,
        actions=ACTIONS,
        generators=[np.random.default_rng(0)],
    )
    lane, generator, seen = np.array([0]), np.random.default_rng(3), 0.0
    for length, terminated, truncated in ((6, True, False), (4, False, True), (5, False, False)):
        observations = [np.float32([seen + i]) for i in range(length + 1)]
        seen += length + 1
        rewards, actions = list(generator.normal(size=length)), list(range(ACTIONS)) * 2
        theirs.add(
            SingleAgentEpisode(
                observations=observations,
                actions=actions[:length],
                rewards=rewards,
                terminated=terminated,
                truncated=truncated,
                len_lookback_buffer=0,
            )
        )
        ours.begin(lane, np.stack(observations[:1]))
        for i in range(length):
            ours.append(
                lane,
                actions=np.array(actions[i : i + 1]),
                rewards=np.array(rewards[i : i + 1]),
                terminated=np.array([terminated and i == length - 1]),
                ended=np.array([(terminated or truncated) and i == length - 1]),
                observations=np.stack(observations[i + 1 : i + 2]),
            )

    draws = 2000  # the rarest transition is one in fifty

    def draw_theirs():
        episodes = theirs.sample(draws, n_step=n_step, beta=beta, gamma=gamma)
        return {
            float(episode.get_observations(0)[0]): (
                float(episode.get_observations(1)[0]),
                int(episode.get_actions(0)),
                float(episode.get_rewards(0)),
                0.0 if episode.is_terminated else gamma**n_step,
                float(episode.get_extra_model_outputs("weights", 0)),
            )
            for episode in episodes
        }

    def draw_ours():
        sample = ours.sample(draws)
        fields = (
            sample.observations[0, draws:, 0],
            sample.actions[0],
            sample.rewards[0],
            sample.discounts[0],
            sample.weights[0],
        )
        return dict(
            zip(sample.observations[0, :draws, 0].tolist(), zip(*fields, strict=True), strict=True)
        )

    # The episodes begin at 0, 7 and 12; the first two end after 6 and 4 steps.
    near_the_end = [6.0 - left for left in range(1, n_step)]
    near_the_end += [11.0 - left for left in range(1, n_step)]

    def assert_equal():
        expected, found = draw_theirs(), draw_ours()
        assert sorted([*expected, *near_the_end]) == sorted(found)
        for start, fields in expected.items():
            np.testing.assert_allclose(found[start], fields, rtol=1e-5)

    assert_equal()
    # New priorities for every transition, a function of its start.
    theirs_starts = [theirs._indices[theirs._tree_idx_to_sample_idx[i]] for i in range(15)]
    firsts = {0: 0.0, 1: 7.0, 2: 12.0}
    starts = np.array([firsts[triple[0]] + triple[1] for triple in theirs_starts])
    theirs._last_sampled_indices = list(range(15))
    theirs.update_priorities(0.1 + np.abs(np.sin(starts)))
    slots = np.flatnonzero(ours._kinds & 4)[None]
    ours.update_priorities(slots, 0.1 + np.abs(np.sin(ours._observations.array[slots, 0])))
    if n_step == 1:
        assert_equal()


def test_the_defaults_are_those_of_the_installed_rllib():
    config = DQNConfig()
    for key, value in DQN_DEFAULTS.items():
        if key != "model_config":
            # YAML has no tuples for the points of a schedule.
            assert json.loads(json.dumps(getattr(config, key))) == value, key
    theirs = vars(DefaultModelConfig())
    for key, value in DQN_DEFAULTS["model_config"].items():
        assert theirs[key] == value, key


def test_the_default_of_uniform_replay_is_rllibs():
    from ray.rllib.utils.replay_buffers.episode_replay_buffer import EpisodeReplayBuffer

    settings = read_settings({"replay_buffer_config": {"type": "EpisodeReplayBuffer"}})
    assert settings.replay.capacity == EpisodeReplayBuffer().capacity
    assert settings.replay.alpha is None


@pytest.mark.parametrize(
    "given",
    [{"capacity": 1000}, {"type": "PrioritizedEpisodeReplayBuffer", "alpha": 0.9, "beta": 1.0}],
    ids=lambda given: ",".join(given),
)
def test_a_replay_buffer_config_is_completed_as_rllib_does(given):
    theirs = DQNConfig().training(replay_buffer_config=given).replay_buffer_config
    replay = read_settings({"replay_buffer_config": given}).replay
    expected = (theirs["capacity"], theirs["alpha"], theirs["beta"])
    assert (replay.capacity, replay.alpha, replay.beta) == expected
