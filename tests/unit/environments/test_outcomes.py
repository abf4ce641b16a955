from __future__ import annotations

import re

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import ClipReward, TimeLimit
from hypothesis import given
from hypothesis import strategies as st
from wrong_envs import VECTOR, WRONG_OBSERVATIONS, WRONG_RESULTS, WRONG_REWARDS, WrongEnv

from sweeper.environments.building import build_env, describe
from sweeper.environments.outcomes import (
    OWN_REWARD,
    CheckedEnv,
    EnvironmentFault,
    NonFiniteFault,
    find_deviation,
)
from sweeper.environments.probing import NOTHING_FOUND
from sweeper.environments.settings import (
    EnvironmentBuildError,
    EnvironmentSettings,
    WrapperSettings,
)
from sweeper.environments.vector import SerialVectorEnv, build_vector_env

CASES = [
    *(
        ("observation", space, wrong, words, name)
        for name, space, wrong, words in WRONG_OBSERVATIONS
    ),
    *(("reward", VECTOR, wrong, words, f"reward {name}") for name, wrong, words in WRONG_REWARDS),
    *(("result", VECTOR, wrong, words, f"result {name}") for name, wrong, words in WRONG_RESULTS),
]
every_case = pytest.mark.parametrize(
    ("part", "space", "wrong", "words"), [case[:4] for case in CASES], ids=[c[4] for c in CASES]
)


@every_case
@pytest.mark.parametrize("envs", [1, 3])
def test_a_vector_environment_names_what_is_wrong_at_the_first_step_that_has_it(
    part, space, wrong, words, envs
):
    functions = [lambda: WrongEnv(space, after=100)] * (envs - 1)
    vector = SerialVectorEnv([*functions, lambda: WrongEnv(space, part, wrong)])
    vector.reset(seed=0)
    for _ in range(4):
        vector.step(np.zeros(envs, dtype=int))
    place = "step 5" if envs == 1 else "step 5 of sub-environment 2"
    with pytest.raises(EnvironmentFault, match=rf"(?s){words}.*\({place}\)"):
        vector.step(np.zeros(envs, dtype=int))


@pytest.mark.parametrize(("name", "space", "wrong", "words"), WRONG_OBSERVATIONS)
def test_a_wrong_first_observation_is_named_too(name, space, wrong, words):
    vector = SerialVectorEnv([lambda: WrongEnv(space, "observation", wrong, after=0)])
    with pytest.raises(EnvironmentFault, match=f"(?s){words}") as raised:
        vector.reset(seed=0)
    assert "reset()" in str(raised.value)


@every_case
def test_the_checking_wrapper_says_the_same(part, space, wrong, words):
    env = CheckedEnv(WrongEnv(space, part, wrong))
    env.reset(seed=0)
    for _ in range(4):
        env.step(0)
    with pytest.raises(EnvironmentFault, match=rf"(?s){words}.*\(step 5\)"):
        env.step(0)


@every_case
def test_a_plan_names_it_as_a_problem_of_the_environment(part, space, wrong, words):
    kwargs = {"space": space, "part": part, "wrong": wrong, "after": 2}
    probe = describe(EnvironmentSettings("WrongEnv-v0", kwargs=kwargs)).probe
    assert re.search(f"(?s){words}", probe.fault)


def test_a_wrapper_that_can_not_unpack_an_old_step_does_not_hide_whose_fault_it_is():
    old = (np.zeros(3, np.float32), 1.0, False, {})
    env = CheckedEnv(TimeLimit(WrongEnv(VECTOR, "result", old, after=1), 10))
    env.reset()
    with pytest.raises(EnvironmentFault, match="returned 4 values"):
        env.step(0)


def test_an_error_of_the_environment_itself_passes_unchanged():
    class Broken(WrongEnv):
        def step(self, action):
            observation, reward, terminated, truncated, info = (1, 2, 3)
            return observation, reward, terminated, truncated, info

    vector = SerialVectorEnv([Broken])
    vector.reset()
    with pytest.raises(ValueError, match="not enough values") as raised:
        vector.step(np.zeros(1, dtype=int))
    assert not isinstance(raised.value, EnvironmentFault)


@pytest.mark.parametrize(
    ("space", "value"),
    [
        (VECTOR, np.array([0.1, 0.2, 0.3])),  # float64
        (VECTOR, [0.1, 0.2, 0.3]),
        (VECTOR, np.array([1, 0, -1])),
        (spaces.Box(0, 255, (3,), np.uint8), [1, 2, 255]),
        (spaces.Box(0, 255, (3,), np.uint8), np.array([1.0, 2.0, 255.0])),
        (spaces.Discrete(3), np.int64(2)),
        (spaces.Discrete(3), 2.0),
        (spaces.Discrete(3), np.array(2)),
        (spaces.MultiDiscrete([2, 3]), [1, 2]),
        (spaces.Box(-1, 1, (), np.float32), 0.5),
        (spaces.Tuple([spaces.Discrete(2), VECTOR]), [1, [0, 0, 0]]),
    ],
)
def test_values_of_another_type_are_taken_if_nothing_of_them_is_lost(space, value):
    vector = SerialVectorEnv([lambda: WrongEnv(space, "observation", value, after=1)] * 2)
    vector.reset(seed=0)
    observations, *_ = vector.step(np.zeros(2, dtype=int))
    leaves = observations if isinstance(observations, tuple) else (observations,)
    parts = value if isinstance(space, spaces.Tuple) else (value,)
    for leaf, part in zip(leaves, parts, strict=True):
        np.testing.assert_allclose(leaf, [part, part], rtol=1e-6)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    st.sampled_from([float, int, np.float32, np.float64, np.int32, bool, np.bool_, np.array]),
)
def test_rewards_of_every_number_type_are_summed_as_they_are(values, kind):
    rewards = [kind(value) for value in values]
    vector = SerialVectorEnv(
        [(lambda one=one: WrongEnv(VECTOR, "reward", one, 1)) for one in rewards]
    )
    vector.reset()
    _, given_back, *_ = vector.step(np.zeros(3, dtype=int))
    assert given_back.dtype == np.float64
    assert given_back.tolist() == [float(one) for one in rewards]


def test_what_is_outside_its_bounds_or_of_another_width_is_said_and_not_refused():
    low, high = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert find_deviation(np.ones(3, np.float32), spaces.Box(low, high)) is None
    assert find_deviation(np.ones(3), spaces.Box(low, high)) == (
        "observation is float64, the space says float32; it is cast"
    )
    assert find_deviation(np.array([0, 7, 0], np.float32), spaces.Box(low, high)) == (
        "observation[1] is 7, outside the space's bounds (0 to 1); widen them if that is right"
    )


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_a_kind_of_their_own(wrong):
    env = CheckedEnv(WrongEnv(VECTOR, "reward", wrong, after=1), refuses_non_finite=True)
    env.reset()
    with pytest.raises(NonFiniteFault, match=f"a reward of {wrong}"):
        env.step(0)
    broken = np.array([0, wrong, 0], np.float32)
    env = CheckedEnv(WrongEnv(VECTOR, "observation", broken, after=0), refuses_non_finite=True)
    with pytest.raises(NonFiniteFault, match="observation that is not finite"):
        env.reset()


class Doubling(gymnasium.Wrapper):
    """Takes two steps in each reset and in each step, and changes the rewards."""

    def reset(self, **kwargs):
        self.env.reset(**kwargs)
        self.env.step(0)
        observation, *_, info = self.env.step(0)
        return observation, info

    def step(self, action):
        self.env.step(action)
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, -100 * reward, terminated, truncated, info


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_rewards_below_the_wrappers_are_reported_beside_what_the_agent_learns_from(mode):
    settings = EnvironmentSettings(
        "WrongEnv-v0",
        kwargs={"part": "reward", "wrong": 2.5, "after": 7},
        wrappers=(WrapperSettings(f"{__name__}.Doubling"),),
        vectorization=mode,
    )
    vector = build_vector_env(settings, 2)
    try:
        vector.reset(seed=0)
        learned, own = [], []
        for _ in range(3):
            _, rewards, _, _, infos = vector.step(np.zeros(2, dtype=int))
            learned.append(rewards.tolist())
            own.append(infos[OWN_REWARD].tolist())
    finally:
        vector.close()
    # Two steps in the reset; then the seventh is the first to give 2.5.
    assert own == [[2, 2], [2, 2], [5, 5]]
    assert learned == [[-100, -100], [-100, -100], [-250, -250]]


def test_without_wrappers_there_is_nothing_to_report():
    vector = build_vector_env(EnvironmentSettings("Pendulum-v1"), 2)
    vector.reset(seed=0)
    assert vector.step(np.zeros((2, 1), np.float32))[4] == {}


class Welford(gymnasium.ObservationWrapper):
    def __init__(self, env):
        super().__init__(env)
        self.count, self.mean, self.m2 = 0, 0.0, 0.0

    def observation(self, observation):
        return observation


class Inside(gymnasium.ObservationWrapper):
    def __init__(self, env):
        super().__init__(env)
        self.trackers = {"x": gymnasium.wrappers.utils.RunningMeanStd()}

    def observation(self, observation):
        return observation


class Fixed(Welford):
    """Known constants, no count: not running."""

    def __init__(self, env):
        gymnasium.ObservationWrapper.__init__(self, env)
        self.mean, self.std = 0.5, 2.0


@pytest.mark.parametrize(
    "name", ["NormalizeObservation", "NormalizeReward", f"{__name__}.Welford", f"{__name__}.Inside"]
)
def test_wrappers_with_running_statistics_are_refused_with_what_to_write(name):
    wrappers = (WrapperSettings("FlattenObservation"), WrapperSettings(name))
    settings = EnvironmentSettings("Pendulum-v1", wrappers=wrappers)
    with pytest.raises(EnvironmentBuildError, match=r"running statistics.*normalize: \{") as raised:
        build_env(settings)
    assert raised.value.key == ("wrappers", 1)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("ClipReward", {"min_reward": -1, "max_reward": 1}),
        ("TimeAwareObservation", {}),
        ("FrameStackObservation", {"stack_size": 2}),
        ("RecordEpisodeStatistics", {}),
        ("RescaleAction", {"min_action": -1, "max_action": 1}),
        ("DelayObservation", {"delay": 1}),
        (f"{__name__}.Fixed", {}),
    ],
)
def test_wrappers_whose_state_ends_with_the_episode_are_taken(name, kwargs):
    settings = EnvironmentSettings("Pendulum-v1", wrappers=(WrapperSettings(name, kwargs),))
    build_env(settings).close()


def test_an_environment_whose_reset_takes_no_seed_is_told_the_signature():
    class Old(WrongEnv):
        def reset(self):
            return self._right, {}

    gymnasium.register("OldReset-v0", Old)
    fault = describe(EnvironmentSettings("OldReset-v0")).probe.fault
    assert "must be def reset(self, *, seed=None, options=None)" in fault


def test_gymnasiums_own_environments_pass():
    for name in ("CartPole-v1", "Pendulum-v1", "Taxi-v3", "Blackjack-v1", "FrozenLake-v1"):
        assert describe(EnvironmentSettings(name)).probe == NOTHING_FOUND
    clipped = ClipReward(gymnasium.make("Pendulum-v1"), -1, 1)
    CheckedEnv(clipped, refuses_non_finite=True).reset(seed=0)
