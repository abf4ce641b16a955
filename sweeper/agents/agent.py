"""Load an agent from a checkpoint or a champion's folder, and act with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from sweeper.agents.locate import read_description
from sweeper.environments.spaces import space_from_json
from sweeper.errors import UserError
from sweeper.paths import CheckpointPaths

__all__ = ["Agent", "Policy", "load_agent"]


class Policy(Protocol):
    """Acts greedily on batches: `RLlibPolicy` or `TorchPolicy`.

    Attributes:
        observation_shape: of one observation as an array, flattened for a Dict or Tuple.
    """

    observation_shape: tuple[int, ...]

    def act(self, observations: Any) -> np.ndarray[Any, Any]:
        """Actions ``[batch, ...]`` for observations ``[batch, *observation]``."""


@dataclass(frozen=True)
class Agent:
    """A policy that acts greedily.

    Attributes:
        policy: acts on batches.
        observation_space: the environment's.
        action_space: the environment's.
        description: the contents of ``agent.json``; empty for RLlib's own checkpoint.
    """

    policy: Policy
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    description: Mapping[str, Any] = field(default_factory=dict)

    def act(self, observation: Any) -> Any:
        """The action for one observation, as ``env.step`` takes it.

        Args:
            observation: an element of the observation space.

        Raises:
            ValueError: it has another shape.
        """
        batch = _batch_of_one(self.observation_space, observation)
        return self.policy.act(batch)[0]

    def act_batch(self, observations: Any) -> np.ndarray[Any, Any]:
        """The actions for a batch of observations; see `Policy`."""
        return self.policy.act(observations)


def load_agent(folder: str | Path, replica: int = 0) -> Agent:
    """Load an agent.

    Args:
        folder: a champion's folder, a torch trial's checkpoint, or RLlib's own checkpoint.
        replica: index of the replica in a torch trial's checkpoint, which holds all of them.

    Raises:
        UserError: the folder holds no agent, or one that can't act on its own.
    """
    root = Path(folder).absolute()
    description = read_description(root)
    try:
        if description.get("backend") == "torch":
            return _load_torch_agent(root, description, replica)
        own = CheckpointPaths(root).algorithm if description else root
        return _load_rllib_agent(own, description)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(str(error)) from error


def _load_torch_agent(root: Path, description: Mapping[str, Any], replica: int) -> Agent:
    from sweeper.agents.torch_policy import TorchPolicy

    observation_space = space_from_json(description["observation_space"])
    action_space = space_from_json(description["action_space"])
    return Agent(TorchPolicy(root, replica), observation_space, action_space, description)


def _load_rllib_agent(root: Path, description: Mapping[str, Any]) -> Agent:
    if not CheckpointPaths(root).is_rllib:
        replicas = [path.name for path in CheckpointPaths(root).replicas]
        checkpoints = sorted(path.name for path in root.glob("checkpoint_*"))
        hint = ""
        if replicas:
            hint = f"; it is a trial's checkpoint, take one of {', '.join(replicas)}"
        elif checkpoints:
            hint = f"; it is a trial's folder, take one of {', '.join(checkpoints)} in it"
        raise UserError(f"no agent in {root}{hint}")
    from sweeper.agents.rllib_policy import RLlibPolicy

    policy = RLlibPolicy(root)
    return Agent(policy, policy.observation_space, policy.action_space, description)


def _batch_of_one(space: gym.Space[Any], observation: Any) -> Any:
    if isinstance(space, gym.spaces.Dict) and isinstance(observation, Mapping):
        return {key: _batch_of_one(part, observation[key]) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple) and isinstance(observation, tuple):
        return tuple(
            _batch_of_one(part, item) for part, item in zip(space.spaces, observation, strict=True)
        )
    return np.asarray(observation)[None]
