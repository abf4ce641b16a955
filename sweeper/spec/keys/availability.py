"""What the design has and this version has not: the one place to switch a part on.

A spec that asks for one of these gets a line that says so, beside its other problems.
"""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.schedulers import registry as schedulers
from sweeper.search import registry as search
from sweeper.spec.keys.support import supports

__all__ = [
    "ALGORITHMS_LATER",
    "BACKENDS",
    "NORMALIZING",
    "SAVING_REPLAY",
    "SCHEDULERS",
    "SEARCH_ALGORITHMS",
    "default_backend",
    "default_seeds",
]

# The backends that run today, the one that is taken by default where it has the algorithm first.
BACKENDS: tuple[str, ...] = ("torch", "rllib")
# (backend, algorithm) pairs that normalise observations and rewards by running statistics.
NORMALIZING = frozenset({("torch", "PPO")})
# (backend, algorithm) pairs whose checkpoints can hold the replay memory.
SAVING_REPLAY = frozenset({("torch", "DQN")})
SEARCH_ALGORITHMS = frozenset(search.SEARCH_ALGORITHMS)
SCHEDULERS = frozenset(schedulers.SCHEDULERS)
ALGORITHMS_LATER = frozenset({"DreamerV3", "TQC"})

# A replica more costs little on torch, and a whole run on RLlib.
_SEEDS: Mapping[str, int] = {"torch": 5, "rllib": 1}


def default_backend(algorithm: str | None) -> str:
    """The backend of a spec that names none."""
    able = (name for name in BACKENDS if algorithm is None or supports(name, algorithm))
    return next(able, "rllib")


def default_seeds(backend: str) -> int:
    """How many replicas a trial has where the spec does not say."""
    return _SEEDS[backend]
