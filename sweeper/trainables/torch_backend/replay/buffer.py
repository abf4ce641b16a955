"""The replay memory of all replicas: one preallocated ring for each sub-environment.

An observation is stored once, in its own dtype: it ends one step and begins the next. No step
begins at an episode's last observation or at the latest one, which take a slot too. A ring of N
slots holds the last N observations and the steps between them; each new observation overwrites
the oldest slot (RLlib evicts whole episodes instead).

Of stacked frames a slot holds the newest alone (`observation_rings`), and no transition begins at
the oldest slots, whose earlier frames are gone.

Steps are drawn as by RLlib's buffers (utils/replay_buffers/): uniformly, or in proportion to
``priority ** alpha`` with importance weights for ``beta`` (Schaul et al. 2016, "Prioritized
Experience Replay"). An n-step transition (Sutton 1988; Hessel et al. 2018, "Rainbow") never
crosses the end of an episode: near the end it has the steps that are left. RLlib does not draw
such a start, so an episode's last n - 1 actions are never learned. While an episode runs, a start
is drawn only once its n steps exist. The discount of a transition of k steps is ``gamma ** k``.
It is terminal only if its last step ended in a terminal state; a truncated episode is
bootstrapped from its last observation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.trainables.torch_backend.replay.observation_rings import ObservationRings
from sweeper.trainables.torch_backend.replay.observation_store import ObservationStore
from sweeper.trainables.torch_backend.replay.settings import ReplaySettings, ring_size
from sweeper.trainables.torch_backend.replay.sum_tree import SumTree

__all__ = ["ReplayBuffer", "ReplaySample"]

Array = NDArray[Any]
Indices = NDArray[np.int64]

# What a slot holds, as bits: a step begins here, it ended in a terminal state, a transition can
# begin here (the minimum number of steps exist, or the episode has ended).
_STEP, _TERMINAL, _START = np.uint8(1), np.uint8(2), np.uint8(4)

_MIN_PRIORITY = 1e-12  # RLlib's (prioritized_episode_buffer.py)


@dataclass(frozen=True)
class ReplaySample:
    """Transitions of all replicas.

    Attributes:
        slots: where they begin, ``int64[replicas, rows]``.
        observations: at the start, then at the end: ``[replicas, 2 * rows, *encoded]``, float32 or
            the bytes of images.
        actions: ``int64[replicas, rows]``.
        rewards: discounted sums of the steps, ``float32[replicas, rows]``.
        discounts: of the value at the end, 0 if it is terminal, ``float32[replicas, rows]``.
        weights: importance weights, at most 1, ``float32[replicas, rows]``; 0 for a replica
            without transitions.
    """

    slots: Indices
    observations: Array
    actions: Indices
    rewards: NDArray[np.float32]
    discounts: NDArray[np.float32]
    weights: NDArray[np.float32]


class ReplayBuffer:
    """The rings of all replicas. A lane is one sub-environment of one replica.

    Lane ``e`` of replica ``r`` has the number ``r * envs + e``, and its ring the slots from
    ``lane * ring`` on.

    Attributes:
        starts: slots of each replica at which a transition can begin, ``int64[replicas]``.
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
        self._settings = settings
        self._generators = generators
        self._lanes, self._envs = replicas * envs, envs
        self._ring = ring_size(settings, envs)
        slots = self._lanes * self._ring
        self._observations = ObservationRings(
            store, settings.frames, lanes=self._lanes, ring=self._ring
        )
        self._actions: Array = np.zeros(slots, dtype=np.min_scalar_type(actions - 1))
        self._rewards = np.zeros(slots, dtype=np.float32)
        self._kinds = np.zeros(slots, dtype=np.uint8)
        # Of each lane: the latest slot, the slots in use, the steps of the current episode, and
        # whether it goes on.
        self._position = np.full(self._lanes, -1, dtype=np.int64)
        self._filled = np.zeros(self._lanes, dtype=np.int64)
        self._episode_steps = np.zeros(self._lanes, dtype=np.int64)
        self._is_running = np.zeros(self._lanes, dtype=np.bool_)
        self.starts = np.zeros(replicas, dtype=np.int64)
        self._first = np.arange(self._lanes) * self._ring
        self._discounts = settings.gamma ** np.arange(settings.n_step[1] + 1)
        self._tree, self._alpha = None, 0.0
        if settings.alpha is not None:
            self._alpha = settings.alpha
            self._tree = SumTree(replicas, envs * self._ring)
            # From our slot numbers to the tree's, which pads each replica.
            self._shift = np.arange(replicas) * (self._tree.stride - envs * self._ring)
        self._largest_priority = np.ones(replicas)

    def begin(self, lanes: Indices, observations: Array) -> None:
        """Begin an episode in each lane with its first observation, packed, ``[lanes, *shape]``."""
        for one in self._observations.split(observations):
            self._advance(lanes, one)
        self._episode_steps[lanes] = 0
        self._is_running[lanes] = True

    def append(
        self,
        lanes: Indices,
        *,
        actions: Array,
        rewards: Array,
        terminated: NDArray[np.bool_],
        ended: NDArray[np.bool_],
        observations: Array,
    ) -> None:
        """Add one step to the episode of each lane.

        Args:
            lanes: without duplicates.
            actions: counted from 0, ``[lanes]``.
            rewards: ``[lanes]``.
            terminated: whether the step ended in a terminal state, ``[lanes]``.
            ended: whether it ended the episode, terminal or truncated, ``[lanes]``.
            observations: after the step, packed, ``[lanes, *shape]``.

        Raises:
            EnvironmentFailedError: they are not the former stacks with one more frame.
        """
        slots = self._first[lanes] + self._position[lanes]
        newest = self._observations.take_newest(slots, observations)
        self._actions[slots] = actions
        self._rewards[slots] = rewards
        self._kinds[slots] = _STEP + _TERMINAL * terminated
        self._advance(lanes, newest)
        self._episode_steps[lanes] += 1
        self._is_running[lanes] = ~ended
        min_steps = self._settings.n_step[0]
        steps_left = np.full(len(lanes), min_steps)
        if min_steps > 1 and ended.any():
            fewer = np.arange(1, min_steps)
            steps_left = np.concatenate([steps_left, np.tile(fewer, ended.sum())])
            lanes = np.concatenate([lanes, lanes[ended].repeat(min_steps - 1)])
        self._add_starts(lanes, steps_left)

    def sample(self, rows: int) -> ReplaySample:
        """Draw transitions for every replica from its own generator, with replacement."""
        slots, steps = self._draw(rows)
        if self._settings.n_step[1] > 1:
            steps, rewards = self._sum_rewards(slots, steps)
        else:
            rewards = self._rewards[slots]
        both = np.concatenate([slots, self._observations.later(slots, steps)], axis=1)
        is_terminal = (self._kinds[self._observations.later(slots, steps - 1)] & _TERMINAL) > 0
        discounts = np.where(is_terminal, 0.0, self._discounts[steps])
        return ReplaySample(
            slots=slots,
            observations=self._observations.sample(both),
            actions=self._actions[slots].astype(np.int64),
            rewards=rewards,
            discounts=discounts.astype(np.float32),
            weights=self._weigh(slots),
        )

    def update_priorities(self, slots: Indices, td_errors: Array) -> None:
        """Set the priorities of drawn slots to their TD errors, ``[replicas, rows]`` both.

        Does nothing in uniform replay.
        """
        if self._tree is None:
            return
        # A replica with errors that are not finite is about to be frozen; its tree stays valid.
        errors = np.where(np.isfinite(td_errors), np.abs(td_errors), 0.0).astype(np.float64)
        priorities = np.maximum(errors, _MIN_PRIORITY)
        self._largest_priority = np.maximum(self._largest_priority, priorities.max(axis=1))
        chosen = slots + self._shift[:, None]
        weights = priorities**self._alpha
        if not self.starts.all():
            chosen, weights = chosen[self.starts > 0], weights[self.starts > 0]
        self._tree.update(chosen.reshape(-1), weights.reshape(-1))

    def state(self) -> dict[str, Array]:
        """Return all arrays, replicas first, without the slots that were never written.

        Returns views, not copies: a replay memory can be gigabytes.
        """
        used = int(self._filled.max(initial=0))
        replicas = len(self.starts)

        def lanes(array: Array) -> Array:
            by_lane = array.reshape(self._lanes, self._ring, *array.shape[1:])[:, :used]
            return by_lane.reshape(replicas, self._envs, *by_lane.shape[1:])

        state = {
            **{name: lanes(array) for name, array in self._rings().items()},
            "position": self._position.reshape(replicas, self._envs),
            "filled": self._filled.reshape(replicas, self._envs),
            "starts": self.starts,
        }
        if self._tree is not None:
            # By our slot numbers, without the tree's padding.
            weights = self._tree.weights[:, : self._envs * self._ring]
            state["priorities"] = weights.reshape(replicas, self._envs, self._ring)[..., :used]
            state["largest_priority"] = self._largest_priority
        return state

    def can_restore(self, state: Mapping[str, Array]) -> bool:
        """Whether a state's slots hold the same; earlier versions kept whole stacks of frames."""
        return state["observations"].shape[3:] == self._observations.array.shape[1:]

    def restore(self, state: Mapping[str, Array]) -> None:
        """Load what `state` returned; unfinished episodes count as truncated.

        A ring of the same size is copied slot by slot. A ring of another size (``stop`` was
        raised, or the checkpoint is of a trial with another capacity) is copied in the order of
        its steps, as many of the newest as fit.
        """
        used = state["kinds"].shape[2]
        position, filled = (state[name].reshape(-1) for name in ("position", "filled"))
        kept = np.minimum(filled, self._ring)
        oldest = np.zeros_like(kept)
        if used != self._ring:
            # 0 in a lane that has not wrapped. One that has wrapped fills the saved ring.
            oldest = (position + 1 - kept) % max(used, 1)
            position = kept - 1

        def fill(array: Array, saved: Array) -> None:
            by_lane = array.reshape(self._lanes, self._ring, *array.shape[1:])
            saved = saved.reshape(self._lanes, used, *array.shape[1:])
            for lane, (first, size) in enumerate(zip(oldest, kept, strict=True)):
                split = min(size, used - first)
                by_lane[lane, :split] = saved[lane, first : first + split]
                by_lane[lane, split:size] = saved[lane, : size - split]

        for name, array in self._rings().items():
            fill(array, state[name])
        self._position[:], self._filled[:] = position, kept
        self._is_running[:] = False
        # No episode goes on, so a transition can begin at every step whose frames are there.
        is_step = (self._kinds & _STEP) > 0
        for lane, (last, size) in enumerate(zip(position, kept, strict=True)):
            oldest_slots = (last + 1 - size + np.arange(self._observations.frames - 1)) % self._ring
            is_step[self._first[lane] + oldest_slots] = False
        self._kinds[is_step] |= _START
        self._kinds[~is_step] &= ~_START
        for replica, kinds in enumerate(self._kinds.reshape(len(self.starts), -1)):
            self.starts[replica] = np.count_nonzero(kinds & _START)
        if self._tree is not None:
            weights = np.zeros(self._lanes * self._ring)
            fill(weights, state["priorities"])
            self._largest_priority = np.array(state["largest_priority"])
            saved = (weights * is_step).reshape(len(self.starts), -1)
            is_new = is_step.reshape(saved.shape) & (saved == 0)
            largest = self._largest_priority[:, None] ** self._alpha
            self._tree.restore(np.where(is_new, largest, saved))

    def _rings(self) -> dict[str, Array]:
        return {
            "observations": self._observations.array,
            "actions": self._actions,
            "rewards": self._rewards,
            "kinds": self._kinds,
        }

    def _advance(self, lanes: Indices, observations: Array) -> None:
        """Write observations to the lanes' next slots, over the oldest if a ring is full."""
        position = (self._position[lanes] + 1) % self._ring
        self._position[lanes] = position
        self._filled[lanes] = np.minimum(self._filled[lanes] + 1, self._ring)
        slots = self._first[lanes] + position
        self._observations.array[slots] = observations
        # The frame of the slot that is overwritten was the oldest one of this slot's stack.
        lost = slots
        if self._observations.frames > 1:
            lost = self._observations.later(slots, self._observations.frames - 1)
        was_start = (self._kinds[lost] & _START) > 0
        self._kinds[lost] &= ~_START
        self._kinds[slots] = 0
        if was_start.any():
            replicas = lanes[was_start] // self._envs
            self.starts -= np.bincount(replicas, minlength=len(self.starts))
            if self._tree is not None:
                self._tree.update(lost[was_start] + self._shift[replicas], 0.0)

    def _add_starts(self, lanes: Indices, steps_left: Indices) -> None:
        """Let transitions begin so many steps back, in episodes that are as long."""
        is_long = self._episode_steps[lanes] >= steps_left
        if not is_long.all():
            lanes, steps_left = lanes[is_long], steps_left[is_long]
        starts = self._first[lanes] + (self._position[lanes] - steps_left) % self._ring
        self._kinds[starts] |= _START
        replicas = lanes // self._envs
        self.starts += np.bincount(replicas, minlength=len(self.starts))
        if self._tree is not None and len(starts):
            weights = self._largest_priority[replicas] ** self._alpha
            self._tree.update(starts + self._shift[replicas], weights)

    def _draw(self, rows: int) -> tuple[Indices, Indices]:
        """Draw slots to begin at and maximum numbers of steps, ``int64[replicas, rows]`` both.

        An episode that has ended can have fewer steps left.
        """
        min_steps, max_steps = self._settings.n_step
        replicas = len(self._generators)
        # As in RLlib, a slot at which no transition begins is drawn again, with its steps.
        points = np.zeros((replicas, rows, 2 if max_steps > min_steps else 1))
        is_missing = np.repeat(self.starts[:, None] > 0, rows, axis=1)
        slots = np.zeros((replicas, rows), dtype=np.int64)
        steps = np.full((replicas, rows), min_steps, dtype=np.int64)
        while is_missing.any():
            for replica in np.flatnonzero(is_missing.any(axis=1)).tolist():
                missing = is_missing[replica]
                size = (int(missing.sum()), points.shape[2])
                points[replica, missing] = self._generators[replica].random(size)
            found, is_good = self._locate(points[..., 0])
            drawn = steps
            if max_steps > min_steps:
                drawn = min_steps + (points[..., 1] * (max_steps + 1 - min_steps)).astype(np.int64)
                left = self._count_steps(self._window(found))
                is_good &= (left >= drawn) | ~self._is_latest(found, left)
            accepted = is_good & is_missing
            slots = np.where(accepted, found, slots)
            steps = np.where(accepted, drawn, steps)
            is_missing &= ~is_good
        return slots, steps

    def _locate(self, points: NDArray[np.float64]) -> tuple[Indices, NDArray[np.bool_]]:
        """Map points in [0, 1) to each replica's slots; also whether a transition begins there."""
        if self._tree is not None:
            found = self._tree.find(points)
            is_good = self._tree.weights.reshape(-1)[found] > 0
            # A slot that is not good can lie in the tree's padding.
            return np.where(is_good, found - self._shift[:, None], 0), is_good
        filled = self._filled.reshape(-1, self._envs)
        cumulative = filled.cumsum(axis=1)
        ordinal = (points * cumulative[:, -1:]).astype(np.int64)
        replica = np.arange(len(points))[:, None]
        env = (ordinal[..., None] >= cumulative[:, None, :-1]).sum(axis=-1)
        before = (cumulative - filled)[replica, env]
        slots = (replica * self._envs + env) * self._ring + ordinal - before
        return slots, (self._kinds[slots] & _START) > 0

    def _window(self, slots: Indices) -> Indices:
        """The slots from these on, as many as a transition has steps at most, in a last axis."""
        return self._observations.later(slots[..., None], np.arange(self._settings.n_step[1]))

    def _count_steps(self, window: Indices) -> Indices:
        """The steps of one episode at the beginning of each window."""
        is_step = (self._kinds[window] & _STEP) > 0
        steps: Indices = np.where(is_step.all(axis=-1), window.shape[-1], is_step.argmin(axis=-1))
        return steps

    def _is_latest(self, slots: Indices, steps: Indices) -> NDArray[np.bool_]:
        """Whether so many steps lead to the latest observation of an episode that goes on."""
        lanes = slots // self._ring
        is_last = self._observations.later(slots, steps) == (self._first + self._position)[lanes]
        latest: NDArray[np.bool_] = is_last & self._is_running[lanes]
        return latest

    def _sum_rewards(
        self, slots: Indices, max_steps: Indices
    ) -> tuple[Indices, NDArray[np.float32]]:
        """The steps of transitions, within one episode each, and the discounted sums of rewards."""
        window = self._window(slots)
        steps = np.minimum(max_steps, self._count_steps(window))
        rewards = np.where(np.arange(window.shape[-1]) < steps[..., None], self._rewards[window], 0)
        total: NDArray[np.float32] = (rewards @ self._discounts[:-1]).astype(np.float32)
        return steps, total

    def _weigh(self, slots: Indices) -> NDArray[np.float32]:
        """``(p / min p) ** -beta``: the number of steps and the sum of priorities cancel."""
        is_drawn = np.repeat(self.starts[:, None] > 0, slots.shape[1], axis=1)
        if self._tree is None:
            return is_drawn.astype(np.float32)
        weights = self._tree.weights.reshape(-1)[slots + self._shift[:, None]]
        minimum = self._tree.minimum()[:, None]
        if not is_drawn.all():
            weights = np.where(is_drawn, weights, np.inf)
            minimum = np.where(np.isfinite(minimum), minimum, 0.0)
        importance: Array = (minimum / weights) ** self._settings.beta * is_drawn
        return importance.astype(np.float32)
