"""Replay memory of all replicas: one preallocated ring for each sub-environment.

An observation is stored once, in its own dtype: it is the end of one step and the beginning of
the next. An episode's last observation takes a slot too, from which no step starts; so does the
latest one. A ring of N slots holds the last N observations and the steps between them, and the
oldest slots are overwritten one by one (RLlib evicts whole episodes).

Steps are drawn as RLlib's buffers draw them (utils/replay_buffers/): uniformly, or in proportion
to ``priority ** alpha`` with importance weights for ``beta`` (Schaul et al. 2016, "Prioritized
Experience Replay"). An n-step transition (Sutton 1988; Hessel et al. 2018, "Rainbow") never
crosses the end of an episode: a step with fewer than n steps after it is not drawn. It carries
``gamma ** n``, and is terminal only if the n-th step ended in a terminal state; a truncated
episode is bootstrapped from its last observation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.trainables.torch_backend.dqn.observation_store import ObservationStore
from sweeper.trainables.torch_backend.dqn.sum_tree import SumTree

__all__ = [
    "PRIORITISED",
    "REPLAY_DEFAULTS",
    "UNIFORM",
    "ReplayBuffer",
    "ReplaySample",
    "ReplaySettings",
    "ring_size",
]

Array = NDArray[Any]
Indices = NDArray[np.int64]

PRIORITISED, UNIFORM = "PrioritizedEpisodeReplayBuffer", "EpisodeReplayBuffer"
# RLlib's: the algorithm's for its own type, the class's own for the other one.
REPLAY_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    PRIORITISED: {"type": PRIORITISED, "capacity": 50_000, "alpha": 0.6, "beta": 0.4},
    UNIFORM: {"type": UNIFORM, "capacity": 10_000},
}

# What a slot is: bits of one byte.
_STEP, _TERMINAL, _START = np.uint8(1), np.uint8(2), np.uint8(4)

# A restart from a checkpoint begins an episode. After more of them than this the oldest slots may
# be overwritten, as they are at the capacity.
_RESTARTS = 16

_MIN_PRIORITY = 1e-12  # RLlib's (prioritized_episode_buffer.py)


@dataclass(frozen=True)
class ReplaySettings:
    """How steps are kept and drawn.

    Attributes:
        capacity: slots of one replica.
        alpha: of the priorities; None: uniform replay.
        beta: of the importance weights.
        n_step: the least and the greatest number of steps of a transition, both included.
        max_steps: env steps that a replica takes at most, where anything bounds them; for more
            there is no room, whatever the capacity.
    """

    capacity: int
    alpha: float | None
    beta: float
    n_step: tuple[int, int]
    gamma: float
    max_steps: int | None = None


@dataclass(frozen=True)
class ReplaySample:
    """Transitions of all replicas.

    Attributes:
        slots: where they start, ``int64[replicas, rows]``.
        observations: at the start, then at the end: ``float32[replicas, 2 * rows, *encoded]``.
        actions: ``int64[replicas, rows]``.
        rewards: discounted sums of n steps, ``float32[replicas, rows]``.
        discounts: of the value at the end, 0 if it is terminal, ``float32[replicas, rows]``.
        weights: importance weights, at most 1, ``float32[replicas, rows]``; 0 in the rows of a
            replica that has nothing to draw.
    """

    slots: Indices
    observations: NDArray[np.float32]
    actions: Indices
    rewards: NDArray[np.float32]
    discounts: NDArray[np.float32]
    weights: NDArray[np.float32]


class ReplayBuffer:
    """The rings of all replicas; a lane is one sub-environment of one replica.

    Lanes are numbered replica by replica: lane ``r * envs + e``.

    Attributes:
        starts: slots of each replica that a transition can start from, ``int64[replicas]``.
    """

    def __init__(
        self,
        store: ObservationStore,
        settings: ReplaySettings,
        *,
        replicas: int,
        envs: int,
        actions: int,
        generators: Sequence[np.random.Generator],
    ) -> None:
        self._store = store
        self._settings = settings
        self._generators = generators
        self._lanes, self._envs = replicas * envs, envs
        self._ring = ring_size(settings, envs)
        slots = self._lanes * self._ring
        self._observations: Array = np.zeros((slots, *store.shape), dtype=store.dtype)
        self._actions: Array = np.zeros(slots, dtype=np.min_scalar_type(actions - 1))
        self._rewards = np.zeros(slots, dtype=np.float32)
        self._kinds = np.zeros(slots, dtype=np.uint8)
        self._position = np.full(self._lanes, -1, dtype=np.int64)
        self._filled = np.zeros(self._lanes, dtype=np.int64)
        self._age = np.zeros(self._lanes, dtype=np.int64)
        self.starts = np.zeros(replicas, dtype=np.int64)
        self._first = np.arange(self._lanes) * self._ring
        self._discounts = settings.gamma ** np.arange(settings.n_step[1] + 1)
        self._tree, self._alpha = None, 0.0
        if settings.alpha is not None:
            self._alpha = settings.alpha
            self._tree = SumTree(replicas, envs * self._ring)
            # From our numbering of slots to the tree's, which pads each replica.
            self._shift = np.arange(replicas) * (self._tree.stride - envs * self._ring)
        self._largest_priority = np.ones(replicas)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        arrays = (self._observations, self._actions, self._rewards, self._kinds)
        tree = 0
        if self._tree is not None:
            tree = SumTree.bytes_needed(len(self.starts), self._envs * self._ring)
        return sum(array.nbytes for array in arrays) + tree

    @staticmethod
    def bytes_needed(
        store: ObservationStore,
        settings: ReplaySettings,
        *,
        replicas: int,
        envs: int,
        actions: int,
    ) -> int:
        """The memory of a buffer, without building it."""
        slots = envs * ring_size(settings, envs)
        tree = 0 if settings.alpha is None else SumTree.bytes_needed(replicas, slots)
        return replicas * slots * _slot_bytes(store, actions) + tree

    @staticmethod
    def bytes_saved(
        store: ObservationStore,
        settings: ReplaySettings,
        *,
        replicas: int,
        envs: int,
        actions: int,
    ) -> int:
        """What `state` comes to once the buffer is full, but for some bytes a lane."""
        one = _slot_bytes(store, actions) + (0 if settings.alpha is None else 8)
        return replicas * envs * ring_size(settings, envs) * one

    def begin(self, lanes: Indices, observations: Array) -> None:
        """Start episodes: their first observations, packed, ``[lanes, *shape]``."""
        self._advance(lanes, observations)
        self._age[lanes] = 0

    def append(
        self,
        lanes: Indices,
        *,
        actions: Array,
        rewards: Array,
        terminated: NDArray[np.bool_],
        observations: Array,
    ) -> None:
        """Add a step to the episode of each lane.

        Args:
            lanes: each at most once.
            actions: counted from 0, ``[lanes]``.
            rewards: ``[lanes]``.
            terminated: whether the step ended in a terminal state, ``[lanes]``.
            observations: after the step, an episode's last one too, ``[lanes, *shape]``.
        """
        slots = self._first[lanes] + self._position[lanes]
        self._actions[slots] = actions
        self._rewards[slots] = rewards
        self._kinds[slots] = _STEP + _TERMINAL * terminated
        self._advance(lanes, observations)
        self._age[lanes] += 1
        least = self._settings.n_step[0]
        if (self._age[lanes] < least).any():
            lanes = lanes[self._age[lanes] >= least]
        starts = self._first[lanes] + (self._position[lanes] - least) % self._ring
        self._kinds[starts] |= _START
        replicas = lanes // self._envs
        self.starts += np.bincount(replicas, minlength=len(self.starts))
        if self._tree is not None and len(starts):
            weights = self._largest_priority[replicas] ** self._alpha
            self._tree.update(starts + self._shift[replicas], weights)

    def sample(self, rows: int) -> ReplaySample:
        """Draw transitions for every replica from its own generator, with replacement."""
        slots, steps = self._draw(rows)
        lane = slots // self._ring
        first = lane * self._ring
        position = slots - first
        ends = first + (position + steps) % self._ring
        last = first + (position + (steps - 1)) % self._ring
        rewards = self._rewards[slots]
        if self._settings.n_step[1] > 1:
            rewards = self._sum_rewards(first, position, steps)
        both = np.concatenate([slots, ends], axis=1)
        is_terminal = (self._kinds[last] & _TERMINAL) > 0
        discounts = np.where(is_terminal, 0.0, self._discounts[steps])
        return ReplaySample(
            slots=slots,
            observations=self._store.unpack(self._observations[both]),
            actions=self._actions[slots].astype(np.int64),
            rewards=rewards,
            discounts=discounts.astype(np.float32),
            weights=self._weigh(slots),
        )

    def update_priorities(self, slots: Indices, td_errors: Array) -> None:
        """New priorities of what was drawn, ``[replicas, rows]`` both; uniform replay has none."""
        if self._tree is None:
            return
        # A replica whose errors are not numbers is about to be frozen; its tree stays one.
        errors = np.where(np.isfinite(td_errors), np.abs(td_errors), 0.0).astype(np.float64)
        priorities = np.maximum(errors, _MIN_PRIORITY)
        self._largest_priority = np.maximum(self._largest_priority, priorities.max(axis=1))
        chosen = slots + self._shift[:, None]
        weights = priorities**self._alpha
        if not self.starts.all():
            chosen, weights = chosen[self.starts > 0], weights[self.starts > 0]
        self._tree.update(chosen.reshape(-1), weights.reshape(-1))

    def state(self) -> dict[str, Array]:
        """Everything in it, with the replicas first; what was never written is left out.

        The arrays are views, for that the state of gigabytes is not as many again.
        """
        used = int(self._filled.max(initial=0))
        replicas = len(self.starts)

        def lanes(array: Array) -> Array:
            by_lane = array.reshape(self._lanes, self._ring, *array.shape[1:])[:, :used]
            return by_lane.reshape(replicas, self._envs, *by_lane.shape[1:])

        state = {
            "observations": lanes(self._observations),
            "actions": lanes(self._actions),
            "rewards": lanes(self._rewards),
            "kinds": lanes(self._kinds),
            "position": self._position.reshape(replicas, self._envs),
            "filled": self._filled.reshape(replicas, self._envs),
            "starts": self.starts,
        }
        if self._tree is not None:
            # By our slots, without the tree's padding.
            weights = self._tree.weights[:, : self._envs * self._ring]
            state["priorities"] = weights.reshape(replicas, self._envs, self._ring)[..., :used]
            state["largest_priority"] = self._largest_priority
        return state

    def restore(self, state: Mapping[str, Array]) -> None:
        """Take over what `state` gave; episodes that were under way end there, truncated.

        A ring of the same size is taken over slot by slot. Into one of another size (``stop`` was
        raised, or another trial's capacity) go the newest slots, the oldest of them first.
        """
        used = state["kinds"].shape[2]
        position, filled = (state[name].reshape(-1) for name in ("position", "filled"))
        kept = np.minimum(filled, self._ring)
        oldest = np.zeros_like(kept)
        if used != self._ring:
            # Slot 0 in a lane that has not wrapped; one that has wrapped fills the saved ring.
            oldest = (position + 1 - kept) % max(used, 1)
            position = kept - 1

        def fill(array: Array, saved: Array) -> None:
            by_lane = array.reshape(self._lanes, self._ring, *array.shape[1:])
            saved = saved.reshape(self._lanes, used, *array.shape[1:])
            for lane, (first, size) in enumerate(zip(oldest, kept, strict=True)):
                split = min(size, used - first)
                by_lane[lane, :split] = saved[lane, first : first + split]
                by_lane[lane, split:size] = saved[lane, : size - split]

        for name, array in (
            ("observations", self._observations),
            ("actions", self._actions),
            ("rewards", self._rewards),
            ("kinds", self._kinds),
        ):
            fill(array, state[name])
        self._position[:], self._filled[:] = position, kept
        for replica, kinds in enumerate(self._kinds.reshape(len(self.starts), -1)):
            self.starts[replica] = np.count_nonzero(kinds & _START)
        if self._tree is not None:
            weights = np.zeros(self._lanes * self._ring)
            fill(weights, state["priorities"])
            self._tree.restore(weights.reshape(len(self.starts), -1))
            self._largest_priority = np.array(state["largest_priority"])

    def _advance(self, lanes: Indices, observations: Array) -> None:
        """Write observations to the lanes' next slots, whatever was there before."""
        position = (self._position[lanes] + 1) % self._ring
        self._position[lanes] = position
        self._filled[lanes] = np.minimum(self._filled[lanes] + 1, self._ring)
        slots = self._first[lanes] + position
        self._observations[slots] = observations
        was_start = (self._kinds[slots] & _START) > 0
        self._kinds[slots] = 0
        if was_start.any():
            replicas = lanes[was_start] // self._envs
            self.starts -= np.bincount(replicas, minlength=len(self.starts))
            if self._tree is not None:
                self._tree.update(slots[was_start] + self._shift[replicas], 0.0)

    def _draw(self, rows: int) -> tuple[Indices, Indices]:
        """Slots to start from, and numbers of steps, ``int64[replicas, rows]`` both."""
        least, most = self._settings.n_step
        replicas = len(self._generators)
        # As RLlib does, what can't start a transition is drawn again, and its steps with it.
        points = np.zeros((replicas, rows, 2 if most > least else 1))
        is_missing = np.repeat(self.starts[:, None] > 0, rows, axis=1)
        slots = np.zeros((replicas, rows), dtype=np.int64)
        steps = np.full((replicas, rows), least, dtype=np.int64)
        while is_missing.any():
            for replica in np.flatnonzero(is_missing.any(axis=1)).tolist():
                missing = is_missing[replica]
                size = (int(missing.sum()), points.shape[2])
                points[replica, missing] = self._generators[replica].random(size)
            found, is_good = self._locate(points[..., 0])
            drawn = steps
            if most > least:
                drawn = least + (points[..., 1] * (most + 1 - least)).astype(np.int64)
                is_good &= self._has_steps(found, drawn)
            accepted = is_good & is_missing
            slots = np.where(accepted, found, slots)
            steps = np.where(accepted, drawn, steps)
            is_missing &= ~is_good
        return slots, steps

    def _locate(self, points: NDArray[np.float64]) -> tuple[Indices, NDArray[np.bool_]]:
        """Slots at shares of what a replica has, and which of them a transition can start from."""
        if self._tree is not None:
            found = self._tree.find(points)
            is_good = self._tree.weights.reshape(-1)[found] > 0
            # What is not good may lie in the tree's padding.
            return np.where(is_good, found - self._shift[:, None], 0), is_good
        filled = self._filled.reshape(-1, self._envs)
        cumulative = filled.cumsum(axis=1)
        ordinal = (points * cumulative[:, -1:]).astype(np.int64)
        replica = np.arange(len(points))[:, None]
        env = (ordinal[..., None] >= cumulative[:, None, :-1]).sum(axis=-1)
        before = (cumulative - filled)[replica, env]
        slots = (replica * self._envs + env) * self._ring + ordinal - before
        return slots, (self._kinds[slots] & _START) > 0

    def _has_steps(self, slots: Indices, steps: Indices) -> NDArray[np.bool_]:
        """Whether so many steps of one episode follow."""
        first = slots // self._ring * self._ring
        window = np.arange(self._settings.n_step[1])
        followed = first[..., None] + ((slots - first)[..., None] + window) % self._ring
        is_step = (self._kinds[followed] & _STEP) > 0
        enough: NDArray[np.bool_] = np.all(is_step | (window >= steps[..., None]), axis=-1)
        return enough

    def _sum_rewards(
        self, first: Indices, position: Indices, steps: Indices
    ) -> NDArray[np.float32]:
        window = np.arange(self._settings.n_step[1])
        followed = first[..., None] + (position[..., None] + window) % self._ring
        rewards = np.where(window < steps[..., None], self._rewards[followed], 0.0)
        total: NDArray[np.float32] = (rewards @ self._discounts[:-1]).astype(np.float32)
        return total

    def _weigh(self, slots: Indices) -> NDArray[np.float32]:
        """``(p / least p) ** -beta``, in which the number of steps and the sum cancel."""
        is_drawn = np.repeat(self.starts[:, None] > 0, slots.shape[1], axis=1)
        if self._tree is None:
            return is_drawn.astype(np.float32)
        weights = self._tree.weights.reshape(-1)[slots + self._shift[:, None]]
        least = self._tree.minimum()[:, None]
        if not is_drawn.all():
            weights = np.where(is_drawn, weights, np.inf)
            least = np.where(np.isfinite(least), least, 0.0)
        importance: Array = (least / weights) ** self._settings.beta * is_drawn
        return importance.astype(np.float32)


def _slot_bytes(store: ObservationStore, actions: int) -> int:
    """Of one slot: the observation, the action, the reward, and what the slot is."""
    observation = math.prod(store.shape) * store.dtype.itemsize
    return observation + np.min_scalar_type(actions - 1).itemsize + 4 + 1


def ring_size(settings: ReplaySettings, envs: int) -> int:
    """Slots of one sub-environment; enough for one transition in any case."""
    slots = math.ceil(settings.capacity / envs)
    if settings.max_steps is not None:
        # At worst every step ends an episode, whose last observation takes a slot too. Slots
        # that are never used would not be free: numpy asks for pages of 2 MB, and whoever writes
        # one byte of such a page has all of it.
        most = 2 * math.ceil(settings.max_steps / envs) + _RESTARTS
        slots = min(slots, most)
    return max(slots, settings.n_step[1] + 2)
