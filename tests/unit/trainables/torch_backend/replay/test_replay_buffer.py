"""Replay memory: which transitions are drawn, how often, and how much memory it takes."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from sweeper.environments.spaces import build_observation_encoder
from sweeper.trainables.torch_backend.replay.buffer import ReplayBuffer
from sweeper.trainables.torch_backend.replay.memory import describe_memory
from sweeper.trainables.torch_backend.replay.observation_store import ObservationStore
from sweeper.trainables.torch_backend.replay.settings import ReplaySettings
from sweeper.trainables.torch_backend.replay.sum_tree import SumTree

GAMMA = 0.9
SPACE = spaces.Box(-np.inf, np.inf, (2,), np.float32)


def build_buffer(
    capacity=40,
    *,
    replicas=2,
    envs=1,
    n_step=(1, 1),
    alpha=0.6,
    beta=0.4,
    space=SPACE,
    actions=4,
    max_steps=None,
):
    return ReplayBuffer(
        ObservationStore(build_observation_encoder(space)),
        ReplaySettings(capacity, alpha, beta, n_step, GAMMA, max_steps),
        replicas=replicas,
        envs=envs,
        actions=actions,
        generators=[np.random.default_rng(i) for i in range(replicas)],
    )


class Recorder:
    """Plays random episodes into a buffer, and records every transition that it may draw.

    An observation is (lane, clock), so each is unique.
    """

    def __init__(self, buffer, lanes, *, longest=6, seed=0):
        self.buffer, self.lanes, self.longest = buffer, lanes, longest
        self.generator = np.random.default_rng(seed)
        self.episodes = [[] for _ in range(lanes)]
        self.left = np.zeros(lanes, dtype=int)
        self.clock = np.zeros(lanes)
        self.begin(np.arange(lanes))

    def begin(self, lanes):
        self.clock[lanes] += 1
        self.left[lanes] = self.generator.integers(1, self.longest + 1, size=len(lanes))
        for lane in lanes:
            self.episodes[lane].append({"first": self.clock[lane], "steps": [], "end": None})
        self.buffer.begin(lanes, self.observe(lanes))

    def observe(self, lanes):
        return np.stack([lanes, self.clock[lanes]], axis=1).astype(np.float32)

    def step(self, lanes=None):
        lanes = np.arange(self.lanes) if lanes is None else lanes
        actions = self.generator.integers(4, size=len(lanes))
        rewards = self.generator.normal(size=len(lanes)).astype(np.float32)
        self.left[lanes] -= 1
        ends = self.left[lanes] == 0
        terminated = ends & (self.generator.random(len(lanes)) < 0.5)
        self.clock[lanes] += 1
        self.buffer.append(
            lanes,
            actions=actions,
            rewards=rewards,
            terminated=terminated,
            ended=ends,
            observations=self.observe(lanes),
        )
        for lane, action, reward, end, terminal in zip(
            lanes, actions, rewards, ends, terminated, strict=True
        ):
            episode = self.episodes[lane][-1]
            episode["steps"].append((int(action), float(reward)))
            episode["end"] = ("terminated" if terminal else "truncated") if end else None
        if ends.any():
            self.begin(lanes[ends])

    def transitions(self, lane, n_step, slots):
        """``{(start, n): (end, action, reward, discount)}`` of the last ``slots`` observations."""
        found = {}
        for episode in self.episodes[lane]:
            steps, first = episode["steps"], episode["first"]
            for t in range(len(steps)):
                for n in range(n_step[0], n_step[1] + 1):
                    if first + t <= self.clock[lane] - slots:
                        continue
                    if t + n > len(steps):
                        if episode["end"] is None:
                            continue
                        n = len(steps) - t
                    is_terminal = t + n == len(steps) and episode["end"] == "terminated"
                    reward = sum(GAMMA**i * steps[t + i][1] for i in range(n))
                    found[first + t, n] = (
                        first + t + n,
                        steps[t][0],
                        reward,
                        0.0 if is_terminal else GAMMA**n,
                    )
        return found


def draw_all(buffer, rows=4000):
    """Everything that is drawn, by lane, each as `Recorder.transitions`."""
    sample = buffer.sample(rows)
    found = {}
    starts, ends = sample.observations[:, :rows], sample.observations[:, rows:]
    assert (starts[..., 0] == ends[..., 0]).all()
    for replica in range(len(starts)):
        values = (sample.actions, sample.rewards, sample.discounts)
        drawn = np.column_stack(
            [starts[replica], ends[replica, :, 1], *(each[replica] for each in values)]
        )
        for lane, start, end, *others in np.unique(drawn, axis=0).tolist():
            transition = found.setdefault(int(lane), {}).setdefault((start, int(end - start)), [])
            assert not transition, "one transition has two values"
            transition += [end, *others]
    return found


@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("n_step", [(1, 1), (3, 3), (1, 4), (2, 3)])
@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("steps", [10, 37, 400])
def test_exactly_the_stored_transitions_are_drawn(alpha, n_step, envs, steps):
    buffer = build_buffer(36 * envs, envs=envs, n_step=n_step, alpha=alpha)
    recorder = Recorder(buffer, 2 * envs)
    for _ in range(steps):
        recorder.step()
    found = draw_all(buffer)
    for lane in range(2 * envs):
        expected = recorder.transitions(lane, n_step, slots=36)
        assert sorted(found[lane]) == sorted(expected)
        for key, values in expected.items():
            np.testing.assert_allclose(found[lane][key], values, rtol=1e-5, err_msg=str(key))


def play(buffer, rewards, *, terminated=False, truncated=False, clock=0.0):
    """Play one episode in lane 0; its observations count from ``clock``."""
    lane, size = np.array([0]), len(rewards)
    buffer.begin(lane, np.array([[0.0, clock]]))
    for i, reward in enumerate(rewards):
        is_last = i + 1 == size
        buffer.append(
            lane,
            actions=np.array([i % 4]),
            rewards=np.array([reward]),
            terminated=np.array([terminated and is_last]),
            ended=np.array([(terminated or truncated) and is_last]),
            observations=np.array([[0.0, clock + i + 1]]),
        )


@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("n_step", [(3, 3), (1, 3), (5, 5)])
@pytest.mark.parametrize("terminated", [True, False])
def test_the_last_steps_of_an_episode_are_drawn_before_the_next_one_begins(
    alpha, n_step, terminated
):
    """Between an end and the reset other sub-environments step, and the trainer may learn."""
    buffer = build_buffer(replicas=1, n_step=n_step, alpha=alpha)
    play(buffer, [1.0, 2.0], terminated=terminated, truncated=not terminated)
    found = draw_all(buffer, 500)[0]
    two, one = (0.0, 0.0) if terminated else (GAMMA**2, GAMMA)
    expected = {(0.0, 2): (2.0, 0, 1.0 + GAMMA * 2.0, two), (1.0, 1): (2.0, 1, 2.0, one)}
    if n_step[0] == 1:
        expected[0.0, 1] = (1.0, 0, 1.0, GAMMA)
    assert sorted(found) == sorted(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-6)


@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("n_step", [(3, 3), (2, 4)])
def test_an_episode_that_goes_on_is_not_drawn_beyond_its_latest_observation(alpha, n_step):
    buffer = build_buffer(replicas=1, n_step=n_step, alpha=alpha)
    play(buffer, [1.0, 2.0, 3.0])
    found = draw_all(buffer, 500)[0]
    whole = {(0.0, 3)} if n_step[0] == 3 else {(0.0, 2), (1.0, 2), (0.0, 3)}
    assert set(found) == whole


def test_the_steps_near_an_end_are_new_steps_with_the_largest_priority():
    buffer = build_buffer(replicas=1, n_step=(3, 3), alpha=1.0)
    play(buffer, [0.0] * 5)
    buffer.update_priorities(np.array([[0, 1, 2]]), np.array([[7.0, 2.0, 3.0]]))
    play(buffer, [0.0] * 2, truncated=True, clock=10.0)
    np.testing.assert_array_equal(buffer._tree.weights[0, :9], [7, 2, 3, 0, 0, 0, 7, 7, 0])
    assert buffer.starts == [5]


def test_lanes_with_fewer_steps_are_drawn_less_often():
    buffer = build_buffer(400, envs=2, replicas=1, alpha=None)
    recorder = Recorder(buffer, 2, longest=50)
    for step in range(120):
        recorder.step(np.arange(2) if step % 3 == 0 else np.array([1]))
    lanes = buffer.sample(20_000).observations[0, :20_000, 0]
    assert np.mean(lanes == 0) == pytest.approx(40 / 160, abs=0.02)


def starts_of(buffer, replica, ring):
    slots = np.flatnonzero(buffer._kinds & 4)
    return slots[(slots >= replica * ring) & (slots < (replica + 1) * ring)]


@pytest.mark.parametrize("alpha", [None, 0.6, 1.0])
def test_transitions_are_drawn_as_often_as_the_formula_says(alpha):
    """Chi-square test at 0.1 % of transitions with known priorities."""
    buffer = build_buffer(60, alpha=alpha)
    recorder = Recorder(buffer, 2, longest=7, seed=1)
    for _ in range(200):
        recorder.step()
    mine = [starts_of(buffer, replica, 60) for replica in range(2)]
    longest = max(map(len, mine))
    slots = np.stack([np.resize(each, longest) for each in mine])
    errors = 0.05 + np.abs(np.sin(slots))  # equal for equal slots
    buffer.update_priorities(slots, errors)
    drawn = buffer.sample(60_000)
    for replica in range(2):
        priorities = (0.05 + np.abs(np.sin(mine[replica]))) ** (alpha or 0.0)
        share = priorities / priorities.sum()
        counts = np.array([(drawn.slots[replica] == slot).sum() for slot in mine[replica]])
        assert counts.sum() == 60_000
        assert scipy.stats.chisquare(counts, 60_000 * share).pvalue > 1e-3
        if alpha is None:
            assert (drawn.weights[replica] == 1).all()
            continue
        # Schaul et al. 2016, section 3.4.
        importance = (len(share) * share) ** -0.4
        found = dict(zip(drawn.slots[replica], drawn.weights[replica], strict=True))
        np.testing.assert_allclose(
            [found[slot] for slot in mine[replica]], importance / importance.max(), rtol=1e-5
        )


def test_the_chi_square_test_would_notice_a_wrong_exponent():
    share = (0.05 + np.abs(np.sin(np.arange(50)))) ** 0.6
    wrong = (0.05 + np.abs(np.sin(np.arange(50)))) ** 0.5
    counts = 60_000 * wrong / wrong.sum()
    assert scipy.stats.chisquare(counts, 60_000 * share / share.sum()).pvalue < 1e-3


def test_new_steps_get_the_largest_priority_so_far():
    buffer = build_buffer(replicas=1, alpha=1.0)
    recorder = Recorder(buffer, 1, longest=20)
    for _ in range(5):
        recorder.step()
    slots = np.flatnonzero(buffer._kinds & 4)[None]
    buffer.update_priorities(slots, np.full(slots.shape, 0.5))
    buffer.update_priorities(slots[:, :1], np.array([[8.0]]))
    before = set(slots[0].tolist())
    recorder.step()
    new = (set(np.flatnonzero(buffer._kinds & 4).tolist()) - before).pop()
    assert buffer._tree.weights[0, new] == 8.0


def test_errors_of_zero_or_nan_give_priorities_above_zero():
    buffer = build_buffer()
    recorder = Recorder(buffer, 2)
    for _ in range(8):
        recorder.step()
    sample = buffer.sample(500)
    errors = np.where(sample.slots < 40, 0.0, np.nan)
    buffer.update_priorities(sample.slots, errors)
    again = buffer.sample(500)
    assert (again.weights > 0).all()
    assert (buffer._kinds[again.slots] & 4).all()


def test_a_replica_draws_the_same_alone():
    both, alone = build_buffer(), build_buffer(replicas=1)
    for buffer, lanes in ((both, 2), (alone, 1)):
        recorder = Recorder(buffer, lanes, longest=3)
        recorder.generator = np.random.default_rng(5)
        lane = np.array([0])
        for step in range(30):
            recorder.step(lane)
            if lanes == 2 and step % 2:
                buffer.begin(np.array([1]), np.ones((1, 2)))
    first, second = both.sample(100), alone.sample(100)
    np.testing.assert_array_equal(first.slots[0], second.slots[0])
    np.testing.assert_array_equal(first.observations[0], second.observations[0])


def test_rows_of_a_replica_without_transitions_have_no_weight():
    buffer = build_buffer()
    buffer.begin(np.array([0, 1]), np.zeros((2, 2)))
    for number in range(3):
        buffer.append(
            np.array([1]),
            actions=np.array([1]),
            rewards=np.array([1.0]),
            terminated=np.array([False]),
            ended=np.array([False]),
            observations=np.full((1, 2), number),
        )
    sample = buffer.sample(8)
    assert (sample.weights[0] == 0).all()
    assert (sample.weights[1] == 1).all()
    buffer.update_priorities(sample.slots, np.ones((2, 8)))
    assert (buffer.sample(8).weights[0] == 0).all()


def test_the_end_of_an_episode_longer_than_the_ring_is_kept():
    buffer = build_buffer(5, replicas=1, n_step=(2, 2))
    recorder = Recorder(buffer, 1, longest=1)
    recorder.left[:] = 1000
    for _ in range(100):
        recorder.step()
    found = draw_all(buffer, 200)[0]
    assert sorted(found) == [(97.0, 2), (98.0, 2), (99.0, 2)]


@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("steps", [7, 100])
def test_a_restored_buffer_draws_the_same_and_truncates_open_episodes(alpha, steps):
    buffer = build_buffer(alpha=alpha, envs=2)
    recorder = Recorder(buffer, 4)
    for _ in range(steps):
        recorder.step()
    if alpha is not None:
        sample = buffer.sample(16)
        buffer.update_priorities(sample.slots, sample.rewards)
    state = {name: array.copy() for name, array in buffer.state().items()}
    assert all(len(array) == 2 for array in state.values())
    restored = build_buffer(alpha=alpha, envs=2)
    restored.restore(state)
    restored._generators = [np.random.default_rng(9), np.random.default_rng(10)]
    buffer._generators = [np.random.default_rng(9), np.random.default_rng(10)]
    first, second = buffer.sample(200), restored.sample(200)
    for name in vars(first):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    before = draw_all(restored)
    restored.begin(np.arange(4), np.full((4, 2), -1.0))  # a slot each
    after = draw_all(restored)
    for lane in range(4):
        lost = set(before[lane]) - set(after[lane])
        assert set(after[lane]) <= set(before[lane])
        assert len(lost) <= 1


@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("n_step", [(1, 1), (4, 4), (2, 4)])
def test_a_memory_saved_with_fewer_steps_is_restored_for_more(alpha, n_step):
    """As one saved by a version that drew no transition near an episode's end."""
    saved = build_buffer(replicas=1, n_step=(2, 2), alpha=alpha)
    recorder = Recorder(saved, 1)
    for _ in range(70):  # the ring wraps around
        recorder.step()
    state = {name: array.copy() for name, array in saved.state().items()}
    for slot in range(40):  # without the starts near the ends, which had no priority either
        kinds = state["kinds"][0, 0]
        if kinds[slot] & 4 and not kinds[(slot + 1) % 40] & 1:
            kinds[slot] &= ~np.uint8(4)
            if alpha is not None:
                state["priorities"][0, 0, slot] = 0.0
    state["starts"][:] = np.count_nonzero(state["kinds"] & 4)
    restored = build_buffer(replicas=1, n_step=n_step, alpha=alpha)
    restored.restore(state)
    last = recorder.episodes[0][-1]
    last["end"] = last["end"] or "truncated"
    expected = recorder.transitions(0, n_step, slots=40)
    found = draw_all(restored)[0]
    assert sorted(found) == sorted(expected)
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], values, rtol=1e-5)


def restart(recorder, max_steps, **given):
    """Continue with a new buffer for ``max_steps`` that is restored from the saved state."""
    state = {name: array.copy() for name, array in recorder.buffer.state().items()}
    recorder.buffer = build_buffer(10**6, max_steps=max_steps, **given)
    recorder.buffer.restore(state)
    for episodes in recorder.episodes:
        episodes[-1]["end"] = episodes[-1]["end"] or "truncated"
    recorder.begin(np.arange(recorder.lanes))


@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("n_step", [(1, 1), (3, 3), (1, 3)])
@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("longest", [1, 5])
@pytest.mark.parametrize(
    "max_steps",
    [(4, 4), (4, 10), (10, 4)],
    ids=["same", "grown", "shrunk"],
)
def test_exactly_the_stored_transitions_are_drawn_after_many_restarts(
    alpha, n_step, envs, longest, max_steps
):
    given = {"alpha": alpha, "n_step": n_step, "envs": envs}
    lanes, before, after = 2 * envs, *(envs * steps for steps in max_steps)
    recorder = Recorder(build_buffer(10**6, max_steps=before, **given), lanes, longest=longest)
    held = np.zeros(lanes)
    launches, generator = 30, np.random.default_rng(0)
    for launch in range(launches):
        observed = recorder.clock.copy() if launch else 0
        if launch:
            restart(recorder, before if launch < launches // 2 else after, **given)
        for _ in range(generator.integers(4)):
            recorder.step()
        ring = recorder.buffer._ring
        held = np.minimum(np.minimum(held, ring) + recorder.clock - observed, ring)
        if launch + 1 not in (launches // 2, launches // 2 + 1, launches):
            continue
        expected = [recorder.transitions(lane, n_step, held[lane]) for lane in range(lanes)]
        found = draw_all(recorder.buffer, 3000) if recorder.buffer.starts.any() else {}
        for lane in range(lanes):
            assert sorted(found.get(lane, {})) == sorted(expected[lane])
            for key, values in expected[lane].items():
                np.testing.assert_allclose(found[lane][key], values, rtol=1e-5)
    assert (recorder.clock > 2 * ring).all()


def test_five_replicas_of_100k_cartpole_transitions_take_at_most_30_mb():
    space = spaces.Box(-np.inf, np.inf, (4,), np.float32)
    settings = ReplaySettings(100_000, 0.6, 0.4, (1, 1), GAMMA)
    buffer = build_buffer(100_000, replicas=5, space=space, actions=2)
    arrays = [buffer._observations.array, buffer._actions, buffer._rewards, buffer._kinds]
    arrays += [*buffer._tree._sums, *buffer._tree._minima]
    real = sum(array.nbytes for array in arrays)
    assert real <= 30e6
    assert real <= planned_bytes(settings, space, replicas=5, envs=1) <= 1.1 * real


def planned_bytes(settings, space, **shape):
    actions = spaces.Discrete(2)
    memory = describe_memory(settings, observation_space=space, action_space=actions, **shape)
    return memory.replay_bytes


def resident_bytes():
    ctypes.CDLL(None).malloc_trim(0)  # what earlier tests have freed would be used again
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fill(buffer, lanes, steps):
    """Add one-step episodes to every lane."""
    observations = np.ones((len(lanes), *buffer._observations.array.shape[1:]), dtype=np.float32)
    buffer.begin(lanes, observations)
    for _ in range(steps):
        buffer.append(
            lanes,
            actions=np.zeros(len(lanes)),
            rewards=np.ones(len(lanes)),
            terminated=np.ones(len(lanes), dtype=bool),
            ended=np.ones(len(lanes), dtype=bool),
            observations=observations,
        )
        buffer.begin(lanes, observations)


@pytest.mark.parametrize("alpha", [0.6, None])
def test_a_bounded_replica_has_room_for_all_its_steps(alpha):
    buffer = build_buffer(10**6, envs=3, alpha=alpha, max_steps=100)
    fill(buffer, np.arange(6), 34)
    np.testing.assert_array_equal(buffer.starts, 102)
    assert buffer._kinds.size < 6 * 100


def test_a_process_takes_the_planned_memory():
    space = spaces.Box(-np.inf, np.inf, (128,), np.float32)
    shape = {"replicas": 5, "envs": 8}
    settings = ReplaySettings(10**6, 0.6, 0.4, (1, 1), GAMMA, max_steps=8 * 1000)
    planned = planned_bytes(settings, space, **shape)
    before = resident_bytes()
    buffer = build_buffer(10**6, space=space, actions=2, max_steps=8 * 1000, **shape)
    fill(buffer, np.arange(40), 1000)
    # Rings of the whole capacity took 190 MB: every huge page that a ring begins in.
    assert resident_bytes() - before == pytest.approx(planned, rel=0.15)
    assert planned < 45e6


@pytest.mark.parametrize(
    ("space", "dtype", "size"),
    [
        (spaces.Box(0, 255, (10, 10, 3), np.uint8), np.uint8, 300),
        (spaces.Box(-1, 1, (3,), np.float64), np.float32, 12),
        (spaces.Discrete(500), np.int64, 8),
        (spaces.MultiDiscrete([3, 4]), np.int64, 16),
        (spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Discrete(2)}), np.float32, 20),
    ],
    ids=str,
)
def test_observations_are_stored_in_their_own_dtype(space, dtype, size):
    encoder = build_observation_encoder(space)
    buffer = build_buffer(20, replicas=1, space=space)
    assert buffer._observations.array.dtype == dtype
    assert buffer._observations.array[0].nbytes == size
    store = ObservationStore(encoder)
    batched = batch_space(space, 1)
    batched.seed(0)
    seen = [batched.sample() for _ in range(4)]
    lane = np.array([0])
    buffer.begin(lane, store.pack(seen[0]))
    for observation in seen[1:]:
        buffer.append(
            lane,
            actions=np.array([0]),
            rewards=np.array([0.0]),
            terminated=np.array([False]),
            ended=np.array([False]),
            observations=store.pack(observation),
        )
    sample = buffer.sample(50)
    assert sample.observations.dtype == encoder.dtype
    for row in range(50):
        start = sample.slots[0, row]
        for offset, half in ((0, 0), (1, 50)):
            expected = encoder.encode(seen[start + offset])[0]
            np.testing.assert_allclose(sample.observations[0, half + row], expected, rtol=1e-6)


@pytest.mark.parametrize("slots", [1, 16, 17, 5000, 20_000])
def test_the_tree_finds_what_a_cumulative_sum_finds(slots):
    generator = np.random.default_rng(0)
    tree = SumTree(3, slots)
    weights = generator.random((3, slots)) * (generator.random((3, slots)) < 0.7)
    weights[:, -1] = 0.5
    weights[2] = 0.0
    indices = np.arange(slots) + np.arange(3)[:, None] * tree.stride
    tree.update(indices.reshape(-1), weights.reshape(-1))
    changed = generator.integers(slots, size=200) + tree.stride
    tree.update(changed, 3.0)
    weights[1, changed - tree.stride] = 3.0
    points = generator.random((3, 500))
    found = tree.find(points) - np.arange(3)[:, None] * tree.stride
    for replica in range(2):
        cumulative = weights[replica].cumsum()
        expected = np.searchsorted(cumulative, points[replica] * cumulative[-1], "right")
        np.testing.assert_array_equal(found[replica], expected)
    smallest = [w[w > 0].min() if w.any() else np.inf for w in weights]
    np.testing.assert_array_equal(tree.minimum(), smallest)


def test_the_tree_finds_only_slots_with_weight():
    tree = SumTree(1, 10_000)
    chosen = np.random.default_rng(0).choice(10_000, 300, replace=False)
    tree.update(chosen, np.random.default_rng(1).random(300) ** 8)
    edges = np.concatenate([[0.0, 1 - 2**-53], np.random.default_rng(2).random(100_000)])
    assert (tree.weights[0, tree.find(edges[None])[0]] > 0).all()
