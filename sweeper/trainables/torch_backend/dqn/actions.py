"""Choose epsilon-greedy actions for all replicas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sweeper.errors import ConfigurationRefusedError
from sweeper.trainables.torch_backend.distributions import Categorical

__all__ = ["EpsilonGreedy", "build_epsilon_greedy", "choose_actions"]

Array = NDArray[Any]


@dataclass(frozen=True)
class EpsilonGreedy(Categorical):
    """A distribution whose inputs are Q values; its mode is the greedy action.

    Attributes:
        epsilon: probability that `sample` takes a random action.
    """

    epsilon: float = 0.0

    def sample(self, inputs: Array, noise: Array) -> NDArray[np.float32]:
        """Choose epsilon-greedy actions."""
        return choose_actions(inputs, noise[..., 0], self.epsilon)[..., None].astype(np.float32)


def choose_actions(values: Array, points: Array, epsilon: float | Array) -> NDArray[np.int64]:
    """Choose the action with the largest Q value, or with probability epsilon a random one.

    Args:
        values: ``float32[..., actions]``.
        points: uniform numbers in [0, 1), ``float64[...]``. A number below epsilon explores, and
            its position between 0 and epsilon selects the action.
        epsilon: from 0 to 1, a number or ``float64[...]``, with axes of size 1 where it is the
            same for all.
    """
    chosen: NDArray[np.int64] = values.argmax(axis=-1)
    explores = points < epsilon
    if explores.any():
        actions = values.shape[-1]
        scale = actions / np.where(epsilon > 0, epsilon, 1.0)  # with 0 nothing explores
        # Rounding can take a number just below epsilon one action too far.
        explored = np.minimum((points * scale).astype(np.int64), actions - 1)
        chosen = np.where(explores, explored, chosen)
    return chosen


def build_epsilon_greedy(space: spaces.Space[Any]) -> EpsilonGreedy:
    """Build the distribution of an action space.

    Raises:
        ConfigurationRefusedError: the space is not Discrete.
    """
    if not isinstance(space, spaces.Discrete):
        raise ConfigurationRefusedError(f"action space {space}: DQN takes Discrete only")
    return EpsilonGreedy(
        (int(space.n),), (int(space.start),), is_vector=False, dtype=np.dtype(space.dtype)
    )
