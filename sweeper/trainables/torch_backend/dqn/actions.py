"""Epsilon-greedy actions of all replicas."""

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
        epsilon: how often `sample` takes any action.
    """

    epsilon: float = 0.0

    def sample(self, inputs: Array, noise: Array) -> NDArray[np.float32]:
        """Explores with probability epsilon."""
        return choose_actions(inputs, noise[..., 0], self.epsilon)[..., None].astype(np.float32)


def choose_actions(values: Array, points: Array, epsilon: float) -> NDArray[np.int64]:
    """The action of the largest Q value, or with probability epsilon any one.

    Args:
        values: ``float32[..., actions]``.
        points: uniform numbers in [0, 1), one an action: below epsilon it explores, and where
            below says which action, all being as likely.
        epsilon: from 0 to 1.
    """
    greedy: NDArray[np.int64] = values.argmax(axis=-1)
    explores = points < epsilon
    if explores.any():
        actions = values.shape[-1]
        # Rounding may put a number just below epsilon on the number of actions.
        explored = np.minimum((points * (actions / epsilon)).astype(np.int64), actions - 1)
        greedy = np.where(explores, explored, greedy)
    return greedy


def build_epsilon_greedy(space: spaces.Space[Any]) -> EpsilonGreedy:
    """For an action space.

    Raises:
        ConfigurationRefusedError: it is not Discrete.
    """
    if not isinstance(space, spaces.Discrete):
        raise ConfigurationRefusedError(f"action space {space}: DQN takes Discrete only")
    return EpsilonGreedy(
        (int(space.n),), (int(space.start),), is_vector=False, dtype=np.dtype(space.dtype)
    )
