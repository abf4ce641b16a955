"""The RLlib backend in every space: what its networks see, and what its environments are sent.

``AnySpaces-v0`` raises an error for an action outside of its space.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from environment_table import SEEN_BY_TORCH
from space_envs import ACTIONS, OBSERVATIONS
from tiers import leave_after

from sweeper.environments.settings import EnvironmentSettings
from sweeper.environments.spaces import (
    build_observation_encoder,
    has_channels_first,
)
from sweeper.opened_agent import load_agent
from sweeper.trainables.contract import EvaluationSettings, TrialSettings
from sweeper.trainables.seeding import Purpose, derive_seed

pytestmark = pytest.mark.usefixtures("ray_cluster")

SAC = {
    "min_sample_timesteps_per_iteration": 40,
    "num_steps_sampled_before_learning_starts": 16,
    "train_batch_size_per_learner": 8,
    "training_intensity": 1,
    "replay_buffer_config": {"capacity": 100},
    "model_config": {"fcnet_hiddens": [4]},
}


# PPO and DQN: tests/integration/environments/test_environment_conformance.py
@pytest.mark.parametrize(
    "actions", leave_after(1, ["Discrete from 1", "float16", "each bounded otherwise"])
)
def test_sac_learns_and_its_agent_acts_as_in_its_evaluation(actions: str, tmp_path: Path) -> None:
    from sweeper.trainables.rllib_backend.trainer import RLlibTrainer

    spaces = {"observations": "integers", "actions": actions}
    settings = TrialSettings(
        algorithm="SAC",
        backend="rllib",
        constants={},
        seeds=(3,),
        environment=EnvironmentSettings("AnySpaces-v0", kwargs=spaces, module="space_envs"),
        evaluation=EvaluationSettings(episodes=2),
    )
    trainer = RLlibTrainer(settings, SAC)
    assert trainer.train()[0].learner
    evaluated = trainer.evaluate()[0].episode_returns
    trainer.save(tmp_path)
    trainer.close()
    agent = load_agent(tmp_path / "replica_3", trust=True)
    env = gymnasium.make("AnySpaces-v0", **spaces)
    seed, played = derive_seed(3, "search", Purpose.EVALUATION_ENVIRONMENTS), []
    for index in range(2):
        (observation, _), has_ended, total = env.reset(seed=seed + index), False, 0.0
        while not has_ended:
            observation, reward, has_ended, *_ = env.step(agent.act(observation))
            total += reward
        played.append(total)
    assert played == pytest.approx(evaluated, rel=1e-6)


def encode(space: gymnasium.Space[Any], observation: Any) -> Any:
    """What RLlib's network sees of an observation."""
    from ray.rllib.connectors.env_to_module import EnvToModulePipeline
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode

    from sweeper.trainables.rllib_backend.connectors import connect_observations

    action_space = gymnasium.spaces.Discrete(2)
    pieces = connect_observations(None, {"__env_single__": (space, action_space)})
    pipeline = EnvToModulePipeline(space, action_space, connectors=pieces)
    episode = SingleAgentEpisode(observation_space=space, action_space=action_space)
    episode.add_env_reset(observation=observation, infos={})
    pipeline(rl_module=None, episodes=[episode], explore=False)
    encoded = episode.get_observations(-1)
    built_for = pipeline.observation_space if pieces else space
    assert built_for.shape == encoded.shape
    return encoded


# RLlib sorts the keys of a Dict, as gymnasium does unless it is told an order.
SAME_ORDER = [
    name for name in SEEN_BY_TORCH if "channels first" not in name and "order" not in name
]


@pytest.mark.parametrize("name", SAME_ORDER)
def test_both_backends_networks_see_the_same(name: str) -> None:
    space = OBSERVATIONS[name]
    space.seed(5)
    observation = space.sample()
    one = gymnasium.vector.utils.batch_space(space, 1)
    empty = gymnasium.vector.utils.create_empty_array(space, 1)
    batch = gymnasium.vector.utils.concatenate(space, [observation], empty)
    assert one.contains(batch)
    expected = build_observation_encoder(space).encode(batch)[0]
    seen = np.asarray(encode(space, observation), np.float32)  # RLlib casts float64 itself
    np.testing.assert_array_equal(seen, expected.astype(np.float32))


def test_an_image_s_channels_move_to_the_end() -> None:
    space = OBSERVATIONS["byte image, channels first"]
    image = space.sample()
    seen = encode(space, image)
    assert (seen.shape, seen.dtype) == ((10, 10, 3), np.float32)
    np.testing.assert_array_equal(seen[4, 7], image[:, 4, 7])


def test_the_connectors_know_the_package_s_rule_of_channels() -> None:
    from sweeper.trainables.rllib_backend.connectors import _is_turned

    for shape in itertools.product((1, 3, 4, 84), repeat=3):
        assert _is_turned(gymnasium.spaces.Box(0, 1, shape)) == has_channels_first(shape)


def test_each_dimension_of_an_action_has_its_own_bounds() -> None:
    from ray.rllib.core.columns import Columns

    from sweeper.trainables.rllib_backend.connectors import NormalizeAndClipActions

    space = ACTIONS["each bounded otherwise"]
    chosen = np.array([[-1, -7, 7, -7], [0, 0.5, -0.5, 0.5], [9, 7, -7, 7]], np.float32)
    sent = {}
    for normalises in (True, False):  # clip_actions has no effect
        piece = NormalizeAndClipActions(
            None, space, normalize_actions=normalises, clip_actions=False
        )
        batch = {Columns.ACTIONS: {("one",): list(chosen)}}
        sent[normalises] = piece(rl_module=None, batch=batch, episodes=[])[Columns.ACTIONS_FOR_ENV][
            ("one",)
        ]
        assert all(space.contains(action) for action in sent[normalises])
    np.testing.assert_allclose(
        sent[True], [[-0.1, 0, 0, -7], [0.1, 0.5, -0.5, 0.5], [0.3, 7, -7, 7]], atol=1e-7
    )
    np.testing.assert_allclose(
        sent[False], [[-0.1, 0, 0, -7], [0, 0.5, -0.5, 0.5], [0.3, 7, -7, 7]], atol=1e-7
    )


@pytest.mark.parametrize("observations", ["float32", "float64", "float image"])
@pytest.mark.parametrize("actions", ["float32", "unbounded", "Discrete", "MultiDiscrete"])
def test_spaces_that_rllib_treats_well_get_its_own_pieces_only(
    observations: str, actions: str
) -> None:
    from ray.rllib.algorithms.ppo import PPOConfig

    from sweeper.trainables.rllib_backend.connectors import connect_actions, connect_observations

    both = {"__env_single__": (OBSERVATIONS[observations], ACTIONS[actions])}
    assert connect_observations(None, both) == []
    for normalises in (True, False):
        own = connect_actions(None, both, normalize_actions=normalises, clip_actions=not normalises)
        theirs = PPOConfig().build_module_to_env_connector(spaces=both)
        assert [type(piece) for piece in own] == [type(piece) for piece in theirs.connectors]


def test_actions_are_clipped_even_if_nothing_is_normalised_or_clipped() -> None:
    from sweeper.trainables.rllib_backend.connectors import (
        NormalizeAndClipActions,
        connect_actions,
    )

    both = {"__env_single__": (OBSERVATIONS["float32"], ACTIONS["float32"])}
    pieces = connect_actions(None, both, normalize_actions=False, clip_actions=False)
    assert any(isinstance(piece, NormalizeAndClipActions) for piece in pieces)


@pytest.mark.parametrize("number", [-9.0, -1.0, 0.0, 1.0, 9.0])
@pytest.mark.parametrize(
    "name", [name for name, space in ACTIONS.items() if np.dtype(space.dtype or int).kind == "f"]
)
def test_whatever_a_policy_draws_is_sent_inside_the_space(name: str, number: float) -> None:
    from sweeper.trainables.rllib_backend.connectors import NormalizeAndClipActions

    space = ACTIONS[name]
    piece = NormalizeAndClipActions(None, space, normalize_actions=True, clip_actions=False)
    sent = piece._convert(np.full(space.shape, number, np.float32).reshape(-1))
    assert space.contains(sent)
    assert np.isfinite(sent).all()
