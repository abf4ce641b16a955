"""Load an agent from a checkpoint or a champion's folder, and act with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from sweeper.agents.locate import read_description
from sweeper.environments.modules import summarise
from sweeper.environments.spaces import space_from_json
from sweeper.errors import UserError
from sweeper.paths import CheckpointPaths
from sweeper.run_files import open_reading
from sweeper.trust import find_foreign_pickles, refuse_foreign

__all__ = ["Agent", "Policy", "load_agent"]

_logger = logging.getLogger(__name__)


class Policy(Protocol):
    """Acts on batches: `RLlibPolicy` or `TorchPolicy`.

    Attributes:
        observation_shape: of one observation as an array, flattened for a Dict or Tuple.
    """

    observation_shape: tuple[int, ...]

    def act(
        self, observations: Any, generator: np.random.Generator | None = None
    ) -> np.ndarray[Any, Any]:
        """Actions ``[batch, ...]`` for observations ``[batch, *observation]``.

        Greedy ones, or sampled with a generator.
        """


@dataclass(frozen=True)
class Agent:
    """A policy, with the spaces that it acts in.

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

    def act(self, observation: Any, generator: np.random.Generator | None = None) -> Any:
        """The action for one observation, as ``env.step`` takes it.

        Args:
            observation: an element of the observation space.
            generator: the action is sampled with it; None: it is the greedy one.

        Raises:
            ValueError: it has another shape, or the agent can't explore.
        """
        batch = _batch_of_one(self.observation_space, observation)
        return self.policy.act(batch, generator)[0]

    def act_batch(
        self, observations: Any, generator: np.random.Generator | None = None
    ) -> np.ndarray[Any, Any]:
        """The actions for a batch of observations; see `Policy`."""
        return self.policy.act(observations, generator)


def load_agent(folder: str | Path, replica: int = 0, *, trust: bool = False) -> Agent:
    """Load an agent.

    Args:
        folder: a champion's folder, a torch trial's checkpoint, or RLlib's own checkpoint.
        replica: index of the replica in a torch trial's checkpoint, which holds all of them.
        trust: load RLlib's checkpoint although this user did not make it on this machine: it is
            a pickle, which can run any code. A torch agent runs none.

    Raises:
        UserError: the folder holds no agent, one that can't act on its own, or one that is not
            trusted.
    """
    root = Path(folder).absolute()
    description = read_description(root)
    try:
        if description.get("backend") == "torch":
            return _load_torch_agent(root, description, replica)
        own = CheckpointPaths(root).algorithm if description else root
        return _load_rllib_agent(own, description, trust=trust)
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise UserError(f"no agent in {root}: {where}") from error
    except ValueError as error:
        raise UserError(str(error)) from error


def _load_torch_agent(root: Path, description: Mapping[str, Any], replica: int) -> Agent:
    from sweeper.agents.torch_policy import TorchPolicy

    observation_space = space_from_json(description["observation_space"])
    action_space = space_from_json(description["action_space"])
    open_reading(CheckpointPaths(root).weights).close()  # reading would wait for a named pipe
    try:
        policy = TorchPolicy(root, replica)
        # Whether the weights fit the network shows when it acts.
        policy.act(np.zeros((1, *policy.observation_shape), np.float32))
    except ValueError as error:
        raise UserError(str(error)) from error
    except Exception as error:  # whatever torch and safetensors say of files that don't fit
        raise UserError(
            f"{root} holds no agent that can act: weights.safetensors is damaged or does not fit "
            f"agent.json ({summarise(error)})"
        ) from error
    return Agent(policy, observation_space, action_space, description)


def _load_rllib_agent(root: Path, description: Mapping[str, Any], *, trust: bool) -> Agent:
    if not CheckpointPaths(root).is_rllib:
        replicas = [path.name for path in CheckpointPaths(root).replicas]
        checkpoints = sorted(path.name for path in root.glob("checkpoint_*"))
        hint = ""
        if replicas:
            hint = f"; it is a trial's checkpoint, take one of {', '.join(replicas)}"
        elif checkpoints:
            hint = f"; it is a trial's folder, take one of {', '.join(checkpoints)} in it"
        raise UserError(f"no agent in {root}{hint}")
    refuse_foreign(find_foreign_pickles([root]), name=str(root), trust=trust, say=_logger.info)
    from sweeper.agents.rllib_policy import RLlibPolicy

    try:
        policy = RLlibPolicy(root)
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:  # whatever pickle and RLlib say of files that don't fit
        raise UserError(
            f"{root} is damaged, or was made by another version of RLlib ({summarise(error)})"
        ) from error
    return Agent(policy, policy.observation_space, policy.action_space, description)


def _batch_of_one(space: gym.Space[Any], observation: Any) -> Any:
    """The observation with a batch axis: as `outcomes.find_leaves` has it, or flattened."""
    if isinstance(space, gym.spaces.Dict) and isinstance(observation, Mapping):
        return {key: _batch_of_one(part, observation[key]) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple) and isinstance(observation, tuple | list):
        parts = list(zip(space.spaces, observation, strict=False))
        if len(parts) == len(observation) == len(space.spaces):
            return tuple(_batch_of_one(part, item) for part, item in parts)
    return np.asarray(observation)[None]
