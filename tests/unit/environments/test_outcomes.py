from __future__ import annotations

import functools
import re
import types

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import ClipReward, TimeLimit
from hypothesis import given
from hypothesis import strategies as st
from wrong_envs import VECTOR, WRONG_OBSERVATIONS, WRONG_RESULTS, WRONG_REWARDS, WrongEnv

from sweeper.environments.building import build_env, describe
from sweeper.environments.deviations import find_deviation
from sweeper.environments.outcomes import (
    OWN_REWARD,
    CheckedEnv,
    EnvironmentFault,
    NonFiniteFault,
    SeededEpisodes,
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
        "observation[1] is 7.0, outside the space's bounds (0 to 1); widen them if that is right"
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


class Inside(gymnasium.ObservationWrapper):
    def __init__(self, env):
        super().__init__(env)
        self.trackers = {"x": gymnasium.wrappers.utils.RunningMeanStd()}

    def observation(self, observation):
        return observation


class Averaging(gymnasium.ObservationWrapper):
    """Statistics under names of its own."""

    def __init__(self, env):
        super().__init__(env)
        self.total, self.seen = np.zeros(3), 0

    def observation(self, observation):
        self.total, self.seen = self.total + observation, self.seen + 1
        return (observation - self.total / self.seen).astype(np.float32)


class Shrinking(gymnasium.RewardWrapper):
    def __init__(self, env):
        super().__init__(env)
        self.box = types.SimpleNamespace(largest=1.0)

    def reward(self, reward):
        self.box.largest = max(self.box.largest + 0.1, abs(reward))
        return reward / self.box.largest


class Fixed(gymnasium.ObservationWrapper):
    """Known constants, and a count that changes nothing."""

    def __init__(self, env):
        super().__init__(env)
        self.mean, self.var, self.count = 0.5, 2.0, 0

    def observation(self, observation):
        self.count += 1
        return ((observation - self.mean) / self.var).astype(np.float32)


class Noisy(Fixed):
    """Draws from a generator that nothing seeds."""

    def observation(self, observation):
        return observation + np.random.default_rng().normal(size=3).astype(np.float32)


@pytest.mark.parametrize("name", ["NormalizeObservation", "NormalizeReward", f"{__name__}.Inside"])
def test_wrappers_with_running_statistics_are_refused_with_what_to_write(name):
    wrappers = (WrapperSettings("FlattenObservation"), WrapperSettings(name))
    settings = EnvironmentSettings("Pendulum-v1", wrappers=wrappers)
    with pytest.raises(EnvironmentBuildError, match=r"running statistics.*normalize: \{") as raised:
        build_env(settings)
    assert raised.value.key == ("wrappers", 1)


@pytest.mark.parametrize("name", ["Averaging", "Shrinking"])
def test_a_plan_finds_state_that_outlives_an_episode_by_what_it_does(name):
    wrappers = (WrapperSettings(f"{__name__}.{name}"), WrapperSettings("FlattenObservation"))
    fault = describe(EnvironmentSettings("Pendulum-v1", wrappers=wrappers)).probe.fault
    assert fault.startswith(f"{name} keeps running statistics or another state")


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("TimeAwareObservation", {}),
        ("FrameStackObservation", {"stack_size": 2}),
        ("RecordEpisodeStatistics", {}),
        ("RescaleAction", {"min_action": -1, "max_action": 1}),
        ("DelayObservation", {"delay": 1}),
        ("StickyAction", {"repeat_action_probability": 0.5}),
        (f"{__name__}.Fixed", {}),
    ],
)
def test_wrappers_whose_state_ends_with_the_episode_are_taken(name, kwargs):
    settings = EnvironmentSettings("Pendulum-v1", wrappers=(WrapperSettings(name, kwargs),))
    probe = describe(settings).probe
    assert probe.fault is None
    assert not any("same seed" in note for note in probe.notes)


def test_a_plan_says_what_is_not_repeatable_and_whose_doing_it_is():
    wrappers = (WrapperSettings(f"{__name__}.Noisy"),)
    notes = describe(EnvironmentSettings("Pendulum-v1", wrappers=wrappers)).probe.notes
    assert notes[-1] == "reset again with the same seed, the wrapper Noisy gives another episode"
    notes = describe(EnvironmentSettings("Forgetful-v0")).probe.notes
    assert notes[-1] == "reset again with the same seed, the environment gives another episode"


class Forgetful(WrongEnv):
    """Makes itself a new generator wherever it is given no seed."""

    def reset(self, *, seed=None, options=None):
        self._steps = 0
        return np.random.default_rng(seed).random(3).astype(np.float32), {}


gymnasium.register("Forgetful-v0", functools.partial(Forgetful, after=100))


def test_a_plan_says_that_scores_are_below_wrappers_that_change_rewards():
    wrappers = (WrapperSettings("ClipReward", {"min_reward": -0.1, "max_reward": 0.1}),)
    notes = describe(EnvironmentSettings("Pendulum-v1", wrappers=wrappers)).probe.notes
    assert any("returns and scores are in the environment's own rewards" in one for one in notes)


class Weighing(gymnasium.RewardWrapper):
    def reward(self, reward):
        return float(np.sum(reward))


class Doubled(gymnasium.RewardWrapper):
    def reward(self, reward):
        return 2 * reward


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("wrong", [np.array([1.0, 2.0]), np.array([3.0])])
def test_where_the_environments_rewards_are_no_numbers_the_lowest_that_are_count(mode, wrong):
    settings = EnvironmentSettings(
        "WrongEnv-v0",
        kwargs={"part": "reward", "wrong": wrong, "after": 0},
        wrappers=(WrapperSettings(f"{__name__}.Weighing"), WrapperSettings(f"{__name__}.Doubled")),
        vectorization=mode,
    )
    vector = build_vector_env(settings, 2)
    try:
        vector.reset(seed=0)
        _, rewards, _, _, infos = vector.step(np.zeros(2, dtype=int))
    finally:
        vector.close()
    assert rewards.tolist() == [6, 6]
    assert infos[OWN_REWARD].tolist() == [3, 3]


def test_an_info_of_the_environment_is_never_taken_for_its_reward():
    class Boasting(WrongEnv):
        def step(self, action):
            *rest, _ = super().step(action)
            return *rest, {"own_reward": 777.0}

    env = CheckedEnv(Boasting(after=100))
    env.reset(seed=0)
    _, reward, _, _, info = env.step(0)
    assert info.get(OWN_REWARD, reward) == reward == 1.0


class Reaching(gymnasium.Wrapper):
    """Uses a method of the wrapper below it."""

    def step(self, action):
        self.env.shrink(1.0)
        return self.env.step(action)


class Shrinker(Doubled):
    def shrink(self, reward):
        return reward / 2


def test_a_wrapper_can_use_the_one_below_it():
    names = ("Shrinker", "Reaching")
    wrappers = tuple(WrapperSettings(f"{__name__}.{name}") for name in names)
    assert describe(EnvironmentSettings("Pendulum-v1", wrappers=wrappers)).probe.fault is None


@pytest.mark.parametrize("value", ["False", None, np.array([False, True]), 2])
def test_a_late_end_that_is_no_truth_value_is_named(value):
    class Odd(WrongEnv):
        def step(self, action):
            observation, reward, terminated, truncated, info = super().step(action)
            ended = value if self._steps > 4 else terminated
            return observation, reward, ended, truncated, info

    vector = SerialVectorEnv([functools.partial(Odd, after=100)] * 2)
    vector.reset(seed=0)
    for _ in range(4):
        vector.step(np.zeros(2, dtype=int))
    with pytest.raises(EnvironmentFault, match=r"as terminated; must be a bool \(step 5"):
        vector.step(np.zeros(2, dtype=int))


def test_every_episode_of_an_evaluation_has_a_seed_of_its_own():
    env = SeededEpisodes(gymnasium.make("CartPole-v1"))
    first = [env.reset(seed=5)[0], env.reset()[0]]
    for _ in range(3):
        env.step(0)  # what happens in an episode does not matter for the next
    third = env.reset()[0]
    again = [env.reset(seed=5)[0], env.reset()[0], env.reset()[0]]
    np.testing.assert_array_equal([*first, third], again)
    np.testing.assert_array_equal(first[0], gymnasium.make("CartPole-v1").reset(seed=5)[0])


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
