"""Collecting, advantages, normalisation and distributions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ppo_tasks import settings_of

from sweeper.environments.spaces import build_observation_encoder, space_from_json, space_to_json
from sweeper.environments.vector import build_vector_env
from sweeper.trainables.torch_backend.distributions import build_distribution
from sweeper.trainables.torch_backend.envs import SeparateReplicaEnvs
from sweeper.trainables.torch_backend.normalisation import ObservationNormaliser, RunningMoments
from sweeper.trainables.torch_backend.ppo.advantages import estimate_advantages, standardise
from sweeper.trainables.torch_backend.ppo.rollout import RolloutCollector


def build_collector(*, replicas=2, envs=3, steps=4, max_length=5, normaliser=None):
    environment = settings_of("ppo_tasks/Counting-v0", max_length=max_length).environment
    vector = SeparateReplicaEnvs([build_vector_env(environment, envs) for _ in range(replicas)])
    return RolloutCollector(
        vector,
        steps=steps,
        encoder=build_observation_encoder(vector.single_observation_space),
        distribution=build_distribution(vector.single_action_space),
        action_generators=[np.random.default_rng(10 + i) for i in range(replicas)],
        env_generators=[np.random.default_rng(20 + i) for i in range(replicas)],
        observation_normaliser=normaliser,
        reward_normaliser=None,
    )


def policy(observations):
    return np.zeros((*observations.shape[:2], 2), dtype=np.float32), None


class PolicyWithValues:
    """Values are known of every observation, and change with the policy's age."""

    def __init__(self):
        self.age = 0

    def __call__(self, observations):
        return policy(observations)[0], self.value(observations)

    def value(self, observations):
        return (observations.sum(axis=-1) * 3 + self.age).astype(np.float32)


@given(envs=st.integers(1, 5), steps=st.integers(1, 7), max_length=st.integers(1, 6))
def test_values_that_come_with_the_policy_are_those_of_the_present_one(envs, steps, max_length):
    collector = build_collector(envs=envs, steps=steps, max_length=max_length)
    act = PolicyWithValues()
    for age in range(4):
        act.age = age
        fragment = collector.collect(act, np.zeros(2, dtype=bool))
        expected = act.value(fragment.observations[:, :-1])
        np.testing.assert_array_equal(collector.values[fragment.valid], expected[fragment.valid])
    act.age = 9
    fragment = collector.collect(act, np.array([False, True]))
    expected = act.value(fragment.observations[:, :-1])
    assert (collector.values[0] == expected[0])[fragment.valid[0]].all()
    assert not collector.values[1].any()
    collector.collect(policy, np.zeros(2, dtype=bool))
    assert collector.values is None


@given(envs=st.integers(1, 5), steps=st.integers(1, 7), max_length=st.integers(1, 6))
def test_every_step_is_in_exactly_one_fragment_and_no_reset_is(envs, steps, max_length):
    collector = build_collector(envs=envs, steps=steps, max_length=max_length)
    seen = [[] for _ in range(2)]
    for _ in range(4):
        fragment = collector.collect(policy, np.zeros(2, dtype=bool))
        assert (fragment.valid.sum(axis=(1, 2)) == steps * envs).all()
        for replica, step, env in np.argwhere(fragment.valid):
            episode, number, length = fragment.observations[replica, step, env]
            after = fragment.observations[replica, step + 1, env]
            # The outcome of a step is the next observation of its own episode.
            assert tuple(after) == (episode, number + 1, length)
            is_over = number + 1 == length
            assert fragment.ended[replica, step, env] == is_over
            assert fragment.terminated[replica, step, env] == (is_over and episode % 2 == 0)
            seen[replica].append((env, int(episode), int(number)))
    for mine in seen:
        assert len(set(mine)) == len(mine)
        for env in range(envs):
            numbers = sorted((episode, step) for e, episode, step in mine if e == env)
            # No gaps within episodes or between them.
            for (episode, step), (following, first) in pairwise(numbers):
                assert (following, first) in ((episode, step + 1), (episode + 1, 0))


def test_finished_episodes_are_reported_once_with_their_length():
    collector = build_collector()
    for _ in range(5):
        collector.collect(policy, np.zeros(2, dtype=bool))
    for episodes in collector.take_episodes():
        assert 4 <= len(episodes) <= 60
        assert all(episode.length == episode.episode_return <= 5 for episode in episodes)
    assert collector.take_episodes() == [[], []]


def test_a_frozen_replica_does_not_step_but_has_the_same_number_of_rows():
    collector = build_collector()
    collector.collect(policy, np.zeros(2, dtype=bool))
    collector.take_episodes()
    for _ in range(3):
        fragment = collector.collect(policy, np.array([False, True]))
        assert (fragment.valid.sum(axis=(1, 2)) == 12).all()
        assert not fragment.observations[1].any()
    assert collector.take_episodes()[1] == []


def test_moments_count_each_observation_acted_on_once():
    normaliser = ObservationNormaliser(2, (3,))
    collector = build_collector(normaliser=normaliser)
    fragments = [collector.collect(policy, np.zeros(2, dtype=bool)) for _ in range(3)]
    assert (np.abs(fragments[-1].observations) <= 10).all()
    # 36 steps each, plus observations without an action yet.
    counts = normaliser.moments.count
    assert ((counts > 36) & (counts <= 36 + 2 * 3)).all()


def test_running_moments_equal_those_of_everything_seen():
    generator = np.random.default_rng(0)
    rows = generator.normal(3.0, 2.0, size=(2, 50, 7, 3))
    counted = generator.random((2, 50, 7)) < 0.6
    counted[1, :10] = False
    moments = RunningMoments(2, (3,))
    for step in range(50):
        moments.update(rows[:, step], counted[:, step])
    for replica in range(2):
        seen = rows[replica][counted[replica]]
        np.testing.assert_allclose(moments.mean[replica], seen.mean(0), rtol=1e-3)
        np.testing.assert_allclose(moments.variance[replica], seen.var(0), rtol=1e-3)


def advantages_of(rewards, values, *, terminated=(), ended=(), invalid=(), gamma=0.9, lambda_=0.5):
    masks = np.zeros((3, len(rewards)), dtype=bool)
    for mask, steps in zip(masks, (terminated, (*ended, *terminated), invalid), strict=True):
        mask[list(steps)] = True
    return estimate_advantages(
        rewards=np.float32(rewards)[None, :, None],
        values=np.float32(values)[None, :, None],
        terminated=masks[0][None, :, None],
        ended=masks[1][None, :, None],
        valid=~masks[2][None, :, None],
        gamma=gamma,
        lambda_=lambda_,
    )[0, :, 0]


def test_a_cut_fragment_is_bootstrapped():
    second = 2 + 0.9 * 7 - 6
    first = 1 + 0.9 * 6 - 5 + 0.9 * 0.5 * second
    np.testing.assert_allclose(advantages_of([1, 2], [5, 6, 7]), [first, second], rtol=1e-6)


def test_a_terminal_state_is_worth_nothing_and_stops_the_flow():
    ours = advantages_of([1, 2, 0, 3], [5, 6, 100, 7, 8], terminated=[1], invalid=[2])
    second, last = 2 - 6, 3 + 0.9 * 8 - 7
    np.testing.assert_allclose(ours, [1 + 0.9 * 6 - 5 + 0.45 * second, second, 0, last], rtol=1e-6)


def test_a_truncated_episode_is_bootstrapped_and_stops_the_flow():
    ours = advantages_of([1, 2, 0, 3], [5, 6, 100, 7, 8], ended=[1], invalid=[2])
    second, last = 2 + 0.9 * 100 - 6, 3 + 0.9 * 8 - 7
    np.testing.assert_allclose(ours, [1 + 0.9 * 6 - 5 + 0.45 * second, second, 0, last], rtol=1e-6)


def test_advantages_are_standardised_for_each_replica():
    advantages = np.random.default_rng(0).normal(2.0, [[3.0], [0.1]], size=(2, 500))
    ours = standardise(advantages.astype(np.float32))
    np.testing.assert_allclose(ours.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(ours.std(axis=1), 1, rtol=1e-4)
    constant = standardise(np.full((1, 5), 3.0, dtype=np.float32))
    assert (constant == 0).all()


@pytest.mark.parametrize("kind", ["discrete", "multi-discrete", "continuous", "nested"])
def test_spaces_survive_json(kind):
    import json

    import gymnasium

    env = gymnasium.make("ppo_tasks/Identity-v0", kind=kind)
    for space in (env.observation_space, env.action_space):
        document = json.loads(json.dumps(space_to_json(space)))
        assert space_from_json(document) == space


def test_infinite_bounds_survive_json():
    from gymnasium.spaces import Box

    space = Box(np.float32([-np.inf, 0]), np.float32([1, np.inf]))
    assert space_from_json(space_to_json(space)) == space


def test_discrete_actions_follow_their_probabilities():
    from gymnasium.spaces import MultiDiscrete

    distribution = build_distribution(MultiDiscrete([2, 3]))
    logits = np.log(np.float32([0.2, 0.8, 0.5, 0.0 + 1e-9, 0.5]))
    inputs = np.tile(logits, (1, 20_000, 1))
    noise = np.zeros((1, 20_000, 2), dtype=np.float32)
    distribution.draw_noise(np.random.default_rng(0), noise[0])
    actions = distribution.sample(inputs, noise)[0]
    assert actions[:, 0].mean() == pytest.approx(0.8, abs=0.01)
    assert (actions[:, 1] == 2).mean() == pytest.approx(0.5, abs=0.01)
    assert not (actions[:, 1] == 1).any()
    np.testing.assert_array_equal(distribution.mode(inputs)[0, 0], [1, 0])
