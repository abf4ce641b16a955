"""Read an agent from its folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from sweeper.agents.agent import Agent
from sweeper.agents.locate import read_description
from sweeper.agents.observations import Observations
from sweeper.agents.old_stack import refuse_old_stack
from sweeper.agents.torch_fit import check_tensors
from sweeper.environments.modules import summarise
from sweeper.environments.spaces import space_from_json
from sweeper.errors import UserError
from sweeper.hints import did_you_mean, join_words, show
from sweeper.paths import CheckpointPaths
from sweeper.run_files import open_reading
from sweeper.trust import TrustLike, find_foreign_pickles, refuse_foreign

__all__ = ["read_agent"]

_logger = logging.getLogger(__name__)

_BACKENDS = ("rllib", "torch")


def read_agent(folder: Path, index: int = 0, *, trust: TrustLike = False) -> Agent:
    """Read an agent from its folder, whatever lies around it.

    Args:
        folder: a champion's folder, a torch trial's checkpoint, or RLlib's own checkpoint.
        index: of the replica in a torch trial's checkpoint, which holds all of them.
        trust: load RLlib's checkpoint although this user did not make it on this machine: it is
            a pickle, which can run any code. A torch agent runs none.

    Raises:
        UserError: the folder holds no agent, one that can't act on its own, or one that is not
            trusted.
    """
    root = folder.absolute()
    description = read_description(root)
    try:
        if description.get("backend") == "torch":
            return _load_torch_agent(root, description, index)
        _refuse_backend(root, description)
        own = CheckpointPaths(root).algorithm if description else root
        return _load_rllib_agent(own, description, trust=trust)
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise UserError(f"no agent in {root}: {where}") from error
    except ValueError as error:
        raise UserError(str(error)) from error


def _refuse_backend(root: Path, description: Mapping[str, Any]) -> None:
    """Refuse an agent of a backend that there is not.

    Raises:
        UserError: the description names one.
    """
    backend = description.get("backend", "rllib")
    if backend not in _BACKENDS:
        hint = did_you_mean(backend, _BACKENDS)
        raise UserError(
            f"{CheckpointPaths(root).agent}: the backend is {show(backend)}; it must be "
            f"{join_words(_BACKENDS, 'or')}{hint}"
        )


def _load_torch_agent(root: Path, description: Mapping[str, Any], replica: int) -> Agent:
    from sweeper.agents.torch_policy import TorchPolicy

    observation_space = space_from_json(description["observation_space"])
    action_space = space_from_json(description["action_space"])
    open_reading(CheckpointPaths(root).weights).close()  # reading would wait for a named pipe
    try:
        policy = TorchPolicy(root, replica, description)
        check_tensors(description, policy.tensors, action_space)
        batch = Observations(observation_space).batch(_make_member(observation_space))[0]
        policy.act(batch)
    except Exception as error:  # whatever numpy and torch say of files that don't fit
        own = str(error) if type(error) is ValueError else summarise(error)
        if isinstance(error, KeyError) and str(error.args[0]).startswith(("encoder.", "head.")):
            own = f"{error.args[0]} is missing"
        raise UserError(
            f"{root} holds no agent that can act: weights.safetensors is damaged or does not fit "
            f"agent.json ({own})"
        ) from error
    return Agent(policy, observation_space, action_space, description)


def _make_member(space: spaces.Space[Any]) -> Any:
    """A member of a space, the same one each time."""
    match space:
        case spaces.Discrete() | spaces.MultiDiscrete():
            return np.asarray(space.start)
        case spaces.Dict():
            return {name: _make_member(part) for name, part in space.spaces.items()}
        case spaces.Tuple():
            return tuple(_make_member(part) for part in space.spaces)
    return np.clip(np.zeros(space.shape or ()), space.low, space.high)


def _load_rllib_agent(root: Path, description: Mapping[str, Any], *, trust: TrustLike) -> Agent:
    refuse_old_stack(root)
    if not CheckpointPaths(root).is_rllib:
        replicas = [path.name for path in CheckpointPaths(root).replicas]
        checkpoints = sorted(path.name for path in root.glob("checkpoint_*"))
        hint = ""
        if replicas:
            hint = f"; it is a trial's checkpoint, take one of {', '.join(replicas)}"
        elif checkpoints:
            hint = f"; it is a trial's folder, take one of {', '.join(checkpoints)} in it"
        raise UserError(f"no agent in {root}{hint}")
    foreign = find_foreign_pickles([root], trust)
    refuse_foreign(foreign, name=str(root), trust=trust, say=_logger.info)
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
