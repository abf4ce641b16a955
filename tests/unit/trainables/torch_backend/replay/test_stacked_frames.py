"""Replay of stacked frames: a slot holds one of them, and what is drawn are the whole stacks."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation

from sweeper.environments.settings import EnvironmentSettings, WrapperSettings
from sweeper.environments.spaces import build_observation_encoder
from sweeper.trainables.contract import EnvironmentFailedError
from sweeper.trainables.torch_backend.replay.buffer import ReplayBuffer
from sweeper.trainables.torch_backend.replay.memory import count_frames
from sweeper.trainables.torch_backend.replay.observation_store import ObservationStore
from sweeper.trainables.torch_backend.replay.settings import ReplaySettings

GAMMA = 0.9
FRAMES, SIZE = 3, 5
SPACE = spaces.Box(-np.inf, np.inf, (FRAMES, SIZE, SIZE), np.float32)


class Clock(gymnasium.Env):
    """Every frame in its life is another number; episodes have drawn lengths."""

    observation_space = spaces.Box(-np.inf, np.inf, (SIZE, SIZE), np.float32)
    action_space = spaces.Discrete(4)

    def __init__(self, lane):
        self.time, self.generator = 1000.0 * lane, np.random.default_rng(lane)

    def reset(self, *, seed=None, options=None):
        self.left = int(self.generator.integers(1, 8))
        return self.tick(), {}

    def step(self, action):
        self.left -= 1
        is_over, is_terminal = not self.left, bool(self.generator.random() < 0.5)
        return self.tick(), self.time, is_over and is_terminal, is_over and not is_terminal, {}

    def tick(self):
        self.time += 1
        return np.full((SIZE, SIZE), self.time, np.float32)


class Player:
    """Plays lanes into a buffer and keeps every step of every episode."""

    def __init__(self, buffer, lanes, padding, only=None):
        self.buffer = buffer
        self.envs = [
            FrameStackObservation(Clock(lane), FRAMES, padding_type=padding)
            for lane in range(lanes)
        ]
        self.only = range(lanes) if only is None else only
        self.episodes = [[] for _ in range(lanes)]
        for lane in self.only:
            self.reset(lane)

    def reset(self, lane):
        seen, _ = self.envs[lane].reset()
        self.episodes[lane].append([(seen, None, None)])
        self.buffer.begin(np.array([lane]), seen[None])

    def play(self, steps):
        for _ in range(steps):
            for lane in self.only:
                self.step(lane)

    def step(self, lane):
        seen, reward, terminated, truncated, _ = self.envs[lane].step(0)
        self.episodes[lane][-1].append((seen, reward, terminated))
        self.buffer.append(
            np.array([lane]),
            actions=np.array([lane]),
            rewards=np.array([reward]),
            terminated=np.array([terminated]),
            ended=np.array([terminated or truncated]),
            observations=seen[None],
        )
        if terminated or truncated:
            self.reset(lane)

    def transitions(self, lane, steps):
        """All that there ever was, by what the stacks at both ends show; discounts and rewards."""
        found = {}
        for episode in self.episodes[lane]:
            for t in range(len(episode) - 1):
                n = min(steps, len(episode) - 1 - t)
                rewards = [reward for _, reward, _ in episode[t + 1 : t + n + 1]]
                total = sum(GAMMA**i * reward for i, reward in enumerate(rewards))
                is_terminal = episode[t + n][2]
                found[_show(episode[t][0]), _show(episode[t + n][0])] = (
                    pytest.approx(total, rel=1e-5),
                    pytest.approx(0.0 if is_terminal else GAMMA**n),
                )
        return found


def _show(stack):
    """The numbers of a stack's frames, each of which is the same number all over."""
    return tuple(stack[:, 0, 0].tolist())


def build_buffer(capacity, *, replicas=1, envs=2, n_step=1, alpha=None, max_steps=None):
    settings = ReplaySettings(
        capacity, alpha, 0.4, (n_step, n_step), GAMMA, max_steps, frames=FRAMES
    )
    return ReplayBuffer(
        ObservationStore(build_observation_encoder(SPACE)),
        settings,
        replicas=replicas,
        envs=envs,
        actions=4,
        generators=[np.random.default_rng(i) for i in range(replicas)],
    )


def draw(buffer, lanes_of_a_replica, rows=3000):
    """What is drawn, as `Player.transitions` has it, by lane."""
    sample = buffer.sample(rows)
    found = {}
    for replica in range(len(sample.slots)):
        for row in range(rows):
            # Encoded images have their channels, the frames, last.
            ends = sample.observations[replica, [row, rows + row]].transpose(0, 3, 1, 2)
            assert (ends == ends[:, :, :1, :1]).all()
            lane = int(sample.actions[replica, row])
            assert lane // lanes_of_a_replica == replica
            values = float(sample.rewards[replica, row]), float(sample.discounts[replica, row])
            found.setdefault(lane, {})[_show(ends[0]), _show(ends[1])] = values
    return found


@pytest.mark.parametrize("padding", ["reset", "zero"])
@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("capacity", [400, 24])
def test_every_drawn_transition_is_one_that_was_played(padding, alpha, n_step, capacity):
    buffer = build_buffer(capacity, replicas=2, n_step=n_step, alpha=alpha)
    player = Player(buffer, 4, padding)
    for played in (9, 30, 7):
        player.play(played)
        drawn = draw(buffer, 2)
        assert set(drawn) == set(range(4))
        for lane, found in drawn.items():
            played_ones = player.transitions(lane, n_step)
            assert {ends: played_ones[ends] for ends in found} == found
            if capacity == 400:  # of an episode that goes on, what has its steps
                assert len(found) > 0.7 * len(played_ones)


def test_only_what_has_lost_a_frame_is_forgotten():
    buffer = build_buffer(24, envs=1)
    player = Player(buffer, 1, "reset")
    player.play(60)
    slots = []  # as the ring must hold them: an episode's first frames, then one a step
    for episode in player.episodes[0]:
        slots += [None] * (FRAMES - 1)
        slots += [_show(seen) for seen, *_ in episode]
        slots[-1] = None  # nothing begins at an episode's end, nor at the latest observation
    expected = {start for start in slots[-24:][FRAMES - 1 :] if start}
    assert {start for start, _ in draw(buffer, 1)[0]} == expected
    assert buffer.starts.tolist() == [len(expected)]


@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("sizes", [(24, 24), (24, 60), (60, 24), (200, 24)])
def test_a_restored_memory_draws_whole_stacks(alpha, sizes):
    first, second = (build_buffer(size, alpha=alpha) for size in sizes)
    player = Player(first, 2, "reset")
    player.play(50)
    state = {name: np.array(array) for name, array in first.state().items()}
    second.restore(state)
    for lane, found in draw(second, 2).items():
        played_ones = player.transitions(lane, 1)
        assert {ends: played_ones[ends] for ends in found} == found
        assert len(found) >= min(*sizes, 50) // 2 - 3 * FRAMES - 8
    player.buffer = second
    for lane in range(2):
        player.reset(lane)
    player.play(20)
    for lane, found in draw(second, 2).items():
        played_ones = player.transitions(lane, 1)
        assert {ends: played_ones[ends] for ends in found} == found


def test_a_bounded_replica_has_room_for_all_its_steps():
    buffer = build_buffer(10**6, envs=1, max_steps=100)
    for _ in range(100):
        stack = np.zeros((1, FRAMES, SIZE, SIZE), np.float32)
        buffer.begin(np.array([0]), stack)
        buffer.append(
            np.array([0]),
            actions=np.zeros(1),
            rewards=np.zeros(1),
            terminated=np.ones(1, bool),
            ended=np.ones(1, bool),
            observations=stack,
        )
    assert buffer.starts.tolist() == [100]


def test_what_is_no_stack_of_the_last_frames_is_refused():
    buffer = build_buffer(40, envs=1)
    player = Player(buffer, 1, "reset")
    with pytest.raises(EnvironmentFailedError, match="is not the former one with a new last frame"):
        buffer.append(
            np.array([0]),
            actions=np.zeros(1),
            rewards=np.zeros(1),
            terminated=np.zeros(1, bool),
            ended=np.zeros(1, bool),
            observations=player.episodes[0][0][0][0][None] + 1,
        )


@pytest.mark.parametrize(
    ("wrappers", "space", "frames"),
    [
        ([], SPACE, 1),
        (["GrayscaleObservation", "FrameStackObservation"], SPACE, FRAMES),
        (["gymnasium.wrappers.FrameStackObservation"], SPACE, FRAMES),
        (["FrameStackObservation", "TransformObservation"], SPACE, 1),
        (["FrameStackObservation"], spaces.Discrete(4), 1),
    ],
)
def test_a_stack_is_recognised_by_the_last_wrapper(wrappers, space, frames):
    settings = EnvironmentSettings("A-v0", wrappers=tuple(map(WrapperSettings, wrappers)))
    assert count_frames(settings, space) == frames
