"""How a replay memory keeps and draws steps, and how many slots it gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PRIORITISED", "REPLAY_DEFAULTS", "UNIFORM", "ReplaySettings", "ring_size"]

PRIORITISED, UNIFORM = "PrioritizedEpisodeReplayBuffer", "EpisodeReplayBuffer"
# RLlib's: DQNConfig's for the prioritised buffer, the class's own for the uniform one.
REPLAY_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    PRIORITISED: {"type": PRIORITISED, "capacity": 50_000, "alpha": 0.6, "beta": 0.4},
    UNIFORM: {"type": UNIFORM, "capacity": 10_000},
}

# A restart from a checkpoint begins an episode. After more of them than this the oldest slots may
# be overwritten, as they are at the capacity.
_RESTARTS = 16


@dataclass(frozen=True)
class ReplaySettings:
    """How steps are kept and drawn.

    Attributes:
        capacity: slots of one replica.
        alpha: exponent of the priorities; None for uniform replay.
        beta: exponent of the importance weights.
        n_step: minimum and maximum steps of a transition, both included.
        gamma: discount factor.
        max_steps: env steps that a replica can take, if bounded; there is no room for more,
            whatever the capacity.
        frames: of a stacked observation, of which a slot holds the newest; 1: not stacked.
    """

    capacity: int
    alpha: float | None
    beta: float
    n_step: tuple[int, int]
    gamma: float
    max_steps: int | None = None
    frames: int = 1


def ring_size(settings: ReplaySettings, envs: int) -> int:
    """Return the slots of one sub-environment; at least one transition always fits."""
    slots = math.ceil(settings.capacity / envs)
    if settings.max_steps is not None:
        # At worst every step ends an episode, whose first frames take a slot each too. Unused
        # slots would not be free: numpy asks for pages of 2 MB, and one byte written to a page
        # takes all of it.
        longest = (1 + settings.frames) * math.ceil(settings.max_steps / envs)
        slots = min(slots, longest + _RESTARTS * settings.frames)
    return max(slots, settings.n_step[1] + 1 + settings.frames)
