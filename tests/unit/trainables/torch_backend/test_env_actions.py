"""What is sent to an environment lies in its action space, dimension by dimension."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import ppo_tasks
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from sweeper.agents.torch_policy import TorchPolicy
from sweeper.agents.torch_policy.spaces import BoxActions
from sweeper.environments.spaces import space_from_json, space_to_json
from sweeper.opened_agent import load_agent
from sweeper.trainables.contract import EvaluationSettings
from sweeper.trainables.torch_backend.distributions import build_distribution
from sweeper.trainables.torch_backend.dqn.actions import build_epsilon_greedy

INF = np.inf
NUMBERS = st.one_of(
    st.floats(-3.0, 3.0, width=32),
    st.floats(-np.float32(1e30), np.float32(1e30), width=32),
    st.sampled_from([-1e30, -1.0, 0.0, 1.0, 1e30]),
)


@st.composite
def boxes(draw):
    """Float Boxes with bounds of every kind in each dimension."""
    dtype = np.dtype(draw(st.sampled_from(["float16", "float32", "float64"])))
    info, bits = np.finfo(dtype), 8 * dtype.itemsize
    bound = st.one_of(
        st.floats(float(info.min), float(info.max), width=bits),
        st.sampled_from([float(info.min), -0.3, 0.0, 0.1, float(info.max)]).map(dtype.type),
    )

    def dimension():
        low, high = sorted([draw(bound), draw(bound)])
        kind = draw(st.sampled_from(["both", "both", "equal", "lower", "upper", "none"]))
        return {
            "both": (low, high),
            "equal": (low, low),
            "lower": (low, INF),
            "upper": (-INF, high),
            "none": (-INF, INF),
        }[kind]

    size = draw(st.integers(0, 4))
    pairs = [dimension() for _ in range(max(size, 1))]
    low, high = (np.array(ends, dtype=dtype) for ends in zip(*pairs, strict=True))
    if size == 0:
        return spaces.Box(low[0], high[0], (), dtype=dtype.type)
    return spaces.Box(low, high, dtype=dtype.type)


@given(space=boxes(), normalize_actions=st.booleans(), clip_actions=st.booleans(), data=st.data())
def test_every_action_lies_in_its_box(space, normalize_actions, clip_actions, data):
    columns = int(np.prod(space.shape))
    rows = data.draw(st.lists(st.lists(NUMBERS, min_size=columns, max_size=columns), min_size=1))
    numbers = np.array(rows, dtype=np.float32)
    distribution = build_distribution(space, normalize_actions=normalize_actions)
    actions = distribution.to_env(numbers[None])[0]
    assert actions.shape == (len(rows), *space.shape)
    assert actions.dtype == space.dtype
    assert np.isfinite(actions).all()
    assert all(space.contains(np.asarray(action)) for action in actions)
    # The agent in the champion's folder does the same.
    document = json.loads(json.dumps(space_to_json(space)))
    flags = {"normalize_actions": normalize_actions, "clip_actions": clip_actions}
    alone = BoxActions(document, columns, **flags, by_dimension=True).fit(numbers)
    np.testing.assert_array_equal(alone, actions, strict=True)
    old = BoxActions(document, columns, **flags, by_dimension=False).fit(numbers)
    if np.isfinite([space.low, space.high]).all() and any(flags.values()):
        np.testing.assert_array_equal(old, actions, strict=True)

    low, high = space.low.reshape(-1), space.high.reshape(-1)
    is_scaled = np.isfinite(low) & np.isfinite(high) & normalize_actions
    plain = np.clip(numbers.astype(np.float64), low, high)
    limits = np.finfo(space.dtype)
    plain = np.clip(plain, limits.min, limits.max).astype(space.dtype)
    flat = actions.reshape(len(rows), columns)
    np.testing.assert_array_equal(flat[:, ~is_scaled], plain[:, ~is_scaled])


@given(space=boxes())
def test_bounds_and_middle_are_reached_where_both_are_finite(space):
    columns = int(np.prod(space.shape))
    numbers = np.repeat(np.float32([[-1.0], [0.0], [1.0]]), columns, axis=1)
    ends = build_distribution(space).to_env(numbers).reshape(3, columns)
    low, high = (bounds.reshape(-1).astype(np.longdouble) for bounds in (space.low, space.high))
    is_bounded = np.isfinite(low) & np.isfinite(high)
    tolerance = 4 * np.finfo(space.dtype).eps
    smallest = np.finfo(space.dtype).smallest_normal
    low, high = low[is_bounded], high[is_bounded]
    expected = np.stack([low, low / 2 + high / 2, high])
    size = np.maximum(np.abs(low), np.abs(high))
    error = np.abs(ends[:, is_bounded] - expected)
    assert (error <= tolerance * size + smallest).all()


def test_one_infinite_bound_leaves_the_other_dimensions_as_they_are():
    low, high = np.float32([-1, 0, -INF, -INF, 3]), np.float32([1, 10, INF, 2, INF])
    space = spaces.Box(low, high)
    numbers = np.float32([[-1.25, 0.5, 7.0, 7.0, 0.5]])
    scaled = build_distribution(space).to_env(numbers)
    np.testing.assert_array_equal(scaled, [[-1.0, 7.5, 7.0, 2.0, 3.0]])
    clipped = build_distribution(space, normalize_actions=False).to_env(numbers)
    np.testing.assert_array_equal(clipped, [[-1.0, 0.5, 7.0, 2.0, 3.0]])


def test_an_agent_of_an_older_version_acts_as_it_was_trained():
    space = space_to_json(spaces.Box(np.float32([-1, 0]), np.float32([1, INF])))
    numbers = np.float32([[-1.25, -0.5]])

    def act(normalize_actions, clip_actions):
        flags = {"normalize_actions": normalize_actions, "clip_actions": clip_actions}
        return (
            BoxActions(space, numbers.shape[1], **flags, by_dimension=False).fit(numbers).tolist()
        )

    assert act(True, False) == act(True, True) == act(False, False) == numbers.tolist()
    assert act(False, True) == [[-1.0, 0.0]]


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@st.composite
def choices(draw):
    """Discrete and MultiDiscrete spaces of every integer dtype, with starts."""
    dtype = np.dtype(draw(st.sampled_from(INTEGERS)))
    info = np.iinfo(dtype)
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    # Discrete.contains adds start and n in the dtype of the space.
    ends = [st.integers(int(info.min), int(info.max) - 9), st.integers(0, 9)]
    starts = [draw(st.one_of(*ends)) for _ in sizes]
    if len(sizes) == 1 and draw(st.booleans()):
        return spaces.Discrete(sizes[0], start=starts[0], dtype=dtype)
    return spaces.MultiDiscrete(sizes, start=starts, dtype=dtype)


@given(space=choices(), seed=st.integers(0, 100))
def test_every_choice_lies_in_its_space(space, seed):
    distribution = build_distribution(space)
    generator = np.random.default_rng(seed)
    inputs = generator.normal(scale=3, size=(1, 20, distribution.input_size)).astype(np.float32)
    noise = np.zeros((1, 20, distribution.columns), dtype=np.float32)
    distribution.draw_noise(generator, noise[0])
    drawn = [distribution.sample(inputs, noise), distribution.mode(inputs)]
    if isinstance(space, spaces.Discrete):
        greedy = build_epsilon_greedy(space)
        drawn.append(dataclasses.replace(greedy, epsilon=0.5).sample(inputs, noise))
    for numbers in drawn:
        for action in distribution.to_env(numbers)[0]:
            assert action.dtype == space.dtype
            assert space.contains(action)
    document = json.loads(json.dumps(space_to_json(space)))
    restored = space_from_json(document)
    assert restored == space
    assert restored.dtype == space.dtype


STRICT = {
    "float64": spaces.Box(np.array([-0.3, 0.1]), np.array([0.7, 1e6]), dtype=np.float64),
    "float16": spaces.Box(-0.3, 0.7, (2,), np.float16),
    "scalar": spaces.Box(-0.3, 0.7, (), np.float64),
    "partly bounded": spaces.Box(
        np.array([-0.3, -INF, -INF]), np.array([0.7, INF, 0.1]), dtype=np.float64
    ),
    "int32": spaces.Discrete(3, start=-7, dtype=np.int32),
    "uint8": spaces.MultiDiscrete([3, 2], start=[200, 1], dtype=np.uint8),
}


def size_of(kind):
    return int(np.prod(STRICT[kind].shape))


@pytest.mark.parametrize("normalize_actions", [True, False])
@pytest.mark.parametrize("kind", STRICT)
def test_an_environment_that_refuses_other_actions_is_trained_evaluated_and_played(
    kind, normalize_actions, tmp_path
):
    evaluation = EvaluationSettings(episodes=4, every_env_steps=None, explore=normalize_actions)
    trainer = ppo_tasks.build_trainer(
        ppo_tasks.settings_of("ppo_tasks/Strict-v0", evaluation=evaluation, space=STRICT[kind]),
        normalize_actions=normalize_actions,
    )
    try:
        trainer.train()
        if isinstance(STRICT[kind], spaces.Box):  # as far as means can be
            bias = trainer._networks.named_parameters()["head.policy.out.bias"][:, : size_of(kind)]
            bias[:, ::2], bias[:, 1::2] = 1e30, -1e30
        (result,) = trainer.evaluate()
        trainer.save(tmp_path)
    finally:
        trainer.close()
    assert result is not None
    agent = load_agent(tmp_path)
    assert agent.action_space.contains(np.asarray(agent.act(np.zeros(1, dtype=np.float32))))
    batch = TorchPolicy(tmp_path).act(np.zeros((3, 1)))
    assert batch.dtype == STRICT[kind].dtype
