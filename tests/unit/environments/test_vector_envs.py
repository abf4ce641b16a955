from __future__ import annotations

import functools
from dataclasses import replace
from typing import ClassVar

import gymnasium
import numpy as np
import ppo_tasks  # noqa: F401  registers its environments
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from sweeper.environments.building import build_env
from sweeper.environments.settings import EnvironmentSettings, WrapperSettings
from sweeper.environments.vector import (
    SerialVectorEnv,
    build_vector_env,
    choose_vectorization,
    explain_native,
    has_native_vector_env,
)
from sweeper.errors import UserError

CARTPOLE = EnvironmentSettings("CartPole-v1")


def play(settings, *, steps, envs=8, seed=3):
    """Return the lengths of a random policy's episodes, and all observations."""
    vector = build_vector_env(settings, envs)
    generator = np.random.default_rng(0)
    observations, _ = vector.reset(seed=seed)
    seen, lengths, running = [np.array(observations)], [], np.zeros(envs, dtype=int)
    resetting = np.zeros(envs, dtype=bool)
    for _ in range(steps):
        actions = generator.integers(2, size=envs)
        observations, _, terminated, truncated, _ = vector.step(actions)
        seen.append(np.array(observations))
        running += ~resetting
        ended = (terminated | truncated) & ~resetting
        lengths += running[ended].tolist()
        running[ended] = 0
        resetting = ended
    vector.close()
    return lengths, np.stack(seen)


def test_a_native_vector_environment_is_used_if_there_is_one_and_no_wrapper():
    assert has_native_vector_env(CARTPOLE)
    assert not has_native_vector_env(EnvironmentSettings("Pendulum-v1"))
    wrapped = replace(CARTPOLE, wrappers=(WrapperSettings("FlattenObservation"),))
    assert not has_native_vector_env(wrapped)
    names = [type(build_vector_env(s, 2)).__name__ for s in (CARTPOLE, wrapped)]
    assert names == ["CartPoleVectorEnv", "SerialVectorEnv"]


def test_asking_for_a_missing_native_environment_is_an_error():
    settings = EnvironmentSettings("Pendulum-v1", vectorization="vector_entry_point")
    with pytest.raises(UserError, match=r"Pendulum-v1.*sync"):
        build_vector_env(settings, 2)


class Other(gymnasium.vector.VectorEnv):
    """Registered as the vector version of Pendulum, and another task, as ale_py's versions are."""

    metadata: ClassVar = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.single_observation_space = spaces.Box(0, 255, (4, 84, 84), np.uint8)
        self.single_action_space = spaces.Box(-2.0, 2.0, (1,), np.float32)


@pytest.fixture
def other():
    """Settings of an environment whose vector version is not gymnasium's own."""
    spec = gymnasium.spec("Pendulum-v1")
    gymnasium.register("Other-v0", spec.entry_point, vector_entry_point=Other)
    yield EnvironmentSettings("Other-v0")
    del gymnasium.registry["Other-v0"]


def test_a_vector_version_from_elsewhere_is_only_used_where_it_is_asked_for(other):
    assert choose_vectorization(CARTPOLE, 8) == "vector_entry_point"
    assert choose_vectorization(other, 8) == "sync"
    asked = replace(other, vectorization="vector_entry_point")
    assert choose_vectorization(asked, 8) == "vector_entry_point"
    env = build_env(other)
    words = explain_native(asked, env.observation_space, env.action_space)
    assert "another observation space, Box(0, 255, (4, 84, 84), uint8)" in words
    assert words.endswith("use auto, sync or async")


def test_a_vector_version_that_can_not_be_built_says_why(other):
    words = explain_native(
        replace(other, kwargs={"g": 9.0}), spaces.Discrete(2), spaces.Discrete(2)
    )
    assert "can't be built" in words
    assert "unexpected keyword argument 'g'" in words


def test_gymnasiums_own_vector_version_has_the_same_spaces():
    env = build_env(CARTPOLE)
    assert explain_native(CARTPOLE, env.observation_space, env.action_space) is None


def test_native_and_sync_give_the_same_episodes_to_a_random_policy():
    native, _ = play(CARTPOLE, steps=1500)
    sync, _ = play(replace(CARTPOLE, vectorization="sync"), steps=1500)
    spread = np.hypot(np.std(native) / len(native) ** 0.5, np.std(sync) / len(sync) ** 0.5)
    assert abs(np.mean(native) - np.mean(sync)) < 4 * spread


@pytest.mark.parametrize(
    ("env", "kwargs"),
    [
        ("CartPole-v1", {"max_episode_steps": 12}),
        ("Acrobot-v1", {"max_episode_steps": 7}),
        ("Pendulum-v1", {"max_episode_steps": 5}),
        ("ppo_tasks/Identity-v0", {"kind": "nested"}),
        ("ppo_tasks/Identity-v0", {"kind": "multi-discrete"}),
        ("ppo_tasks/Identity-v0", {"kind": "discrete"}),
    ],
)
def test_serial_stepping_equals_gymnasiums_sync_vector_env(env, kwargs):
    functions = [functools.partial(gymnasium.make, env, **kwargs) for _ in range(3)]
    ours = SerialVectorEnv(functions)
    theirs = SyncVectorEnv(functions, autoreset_mode=AutoresetMode.NEXT_STEP)
    for seed in (5, None):
        assert_equal(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
        theirs.action_space.seed(0)
        for _ in range(40):
            actions = theirs.action_space.sample()
            for found, expected in zip(
                ours.step(actions)[:4], theirs.step(actions)[:4], strict=True
            ):
                assert_equal(found, expected)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("env", ["Acrobot-v1", "ppo_tasks:ppo_tasks/Identity-v0"])
def test_only_environments_of_trainers_skip_order_enforcing(env):
    settings = EnvironmentSettings(env, kwargs={"max_episode_steps": 7}, vectorization="sync")
    stepped, single = build_vector_env(settings, 2).envs[1], build_env(settings)
    assert list(wrappers_of(stepped)) == ["TimeLimit"]
    assert list(wrappers_of(single)) == ["TimeLimit", "OrderEnforcing"]
    assert replace(stepped.spec, order_enforce=True) == single.spec
    assert gymnasium.spec(single.spec.id).order_enforce
    for each in (stepped, single):
        each.action_space.seed(0)
    for _ in range(2):
        np.testing.assert_equal(stepped.reset(seed=3)[0], single.reset(seed=3)[0])
        for _ in range(7):
            outcomes = [each.step(each.action_space.sample()) for each in (stepped, single)]
            np.testing.assert_equal(*(outcome[0] for outcome in outcomes))
            assert outcomes[0][1:] == outcomes[1][1:]
        assert outcomes[0][3]


def wrappers_of(env):
    while isinstance(env, gymnasium.Wrapper):
        yield type(env).__name__
        env = env.env


def assert_equal(found, expected):
    if isinstance(expected, dict | tuple):
        keys = expected if isinstance(expected, dict) else range(len(expected))
        for key in keys:
            assert_equal(found[key], expected[key])
        return
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("vectorization", ["auto", "sync"])
def test_a_seed_determines_all_episodes(vectorization):
    settings = replace(CARTPOLE, vectorization=vectorization)
    (_, first), (_, again), (_, other) = (play(settings, steps=50, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
