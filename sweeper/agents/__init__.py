"""Agents: a checkpoint loaded for acting, and the champion's folder that stands on its own.

``champion/`` holds ``agent.json``, which says what the agent is. Beside it a torch agent has
``weights.safetensors``; an RLlib one has ``checkpoint/``, which ``Algorithm.from_checkpoint``
loads where sweeper is not installed.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from sweeper.errors import SweeperError, UserError
from sweeper.spec import ExperimentSpec
from sweeper.trainables.spaces import space_from_json, space_to_json

__all__ = ["AGENT_FILE", "Agent", "Champion", "Policy", "export_champion", "load_agent"]

AGENT_FILE = "agent.json"
_WEIGHTS_FILE = "weights.safetensors"
_CHECKPOINT = "checkpoint"
_ALGORITHM_FILE = "rllib_checkpoint.json"
_PACKAGES = ("sweeper", "ray", "torch", "gymnasium", "numpy")


class Champion(Protocol):
    """What `export_champion` wants to know about the winner, an `evidence.selection.Selection`."""

    @property
    def trial_id(self) -> str:
        """The winning trial."""

    @property
    def configuration(self) -> Mapping[str, Any]:
        """Its point of the param space."""

    @property
    def metric(self) -> str:
        """What it won by."""

    @property
    def mode(self) -> str:
        """Maximum or minimum."""

    @property
    def score(self) -> float:
        """Its score."""

    @property
    def env_steps(self) -> int | None:
        """The env steps of the report that earned the score."""

    @property
    def seed(self) -> int | None:
        """The best replica's."""

    @property
    def replica(self) -> int:
        """The best replica's index."""

    @property
    def checkpoint(self) -> str | None:
        """The trial's checkpoint, absolute."""

    @property
    def replica_checkpoint(self) -> Path | None:
        """With the RLlib backend the replica's folder in it."""


class Policy(Protocol):
    """Acts greedily on batches: `RLlibPolicy` or `TorchPolicy`."""

    def act(self, observations: Any) -> np.ndarray[Any, Any]:
        """Actions ``[batch, ...]`` for observations ``[batch, *observation]``."""


@dataclass(frozen=True)
class Agent:
    """A policy that acts greedily.

    Attributes:
        policy: what acts on batches.
        observation_space: the environment's.
        action_space: the environment's.
        description: the contents of ``agent.json``; empty for a bare checkpoint of RLlib.
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
    """Load an agent: a champion's folder, a torch trial's checkpoint, or RLlib's of one replica.

    Args:
        folder: where it is.
        replica: of a torch trial's checkpoint, which holds all of them.

    Raises:
        UserError: there is none in the folder, or the policy can't act on its own.
    """
    root = Path(folder).absolute()
    description = _read_description(root)
    try:
        if description.get("backend") == "torch":
            return _load_torch_agent(root, description, replica)
        return _load_rllib_agent(root / _CHECKPOINT if description else root, description)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(str(error)) from error


def _read_description(root: Path) -> Mapping[str, Any]:
    path = root / AGENT_FILE
    if not path.is_file():
        return {}
    try:
        description: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return description


def _load_torch_agent(root: Path, description: Mapping[str, Any], replica: int) -> Agent:
    from sweeper.agents.torch_policy import TorchPolicy

    return Agent(
        policy=TorchPolicy(root, replica),
        observation_space=space_from_json(description["observation_space"]),
        action_space=space_from_json(description["action_space"]),
        description=description,
    )


def _load_rllib_agent(root: Path, description: Mapping[str, Any]) -> Agent:
    if not (root / _ALGORITHM_FILE).is_file():
        replicas = sorted(path.name for path in root.glob("replica_*"))
        checkpoints = sorted(path.name for path in root.glob("checkpoint_*"))
        hint = ""
        if replicas:
            hint = f"; it is a trial's checkpoint, take one of {', '.join(replicas)}"
        elif checkpoints:
            hint = f"; it is a trial's folder, take one of {', '.join(checkpoints)} in it"
        raise UserError(f"no agent in {root}{hint}")
    from sweeper.agents.rllib_policy import RLlibPolicy

    policy = RLlibPolicy(root)
    return Agent(
        policy=policy,
        observation_space=policy.observation_space,
        action_space=policy.action_space,
        description=description,
    )


def export_champion(champion: Champion, spec: ExperimentSpec, destination: Path) -> Path:
    """Write the winner's best replica as an agent's folder, in place of an older one.

    Args:
        champion: the selection.
        spec: of the run.
        destination: the folder to write; whole or not at all.

    Raises:
        SweeperError: the replica's checkpoint is not there.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(
        tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent.absolute())
    )
    try:
        made = temporary / "new"
        made.mkdir()
        fill = _fill_torch_agent if spec.backend == "torch" else _fill_rllib_agent
        description = {**fill(champion, spec, made), **_describe_selection(champion)}
        text = json.dumps(description, indent=2, allow_nan=False)
        (made / AGENT_FILE).write_text(text + "\n", encoding="utf-8")
        if destination.exists():
            destination.rename(temporary / "old")
        made.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return destination


def _fill_torch_agent(champion: Champion, spec: ExperimentSpec, folder: Path) -> dict[str, Any]:  # noqa: ARG001
    from sweeper.trainables.checkpoints import read_tensors, write_tensors

    checkpoint = Path(champion.checkpoint or "")
    description = dict(_read_description(checkpoint))
    if not description:
        raise SweeperError(f"the champion's checkpoint {checkpoint} is not there")
    tensors = read_tensors(checkpoint / _WEIGHTS_FILE)
    index = slice(champion.replica, champion.replica + 1)
    write_tensors(folder / _WEIGHTS_FILE, {name: item[index] for name, item in tensors.items()})
    return {**description, "seeds": [champion.seed]}


def _fill_rllib_agent(champion: Champion, spec: ExperimentSpec, folder: Path) -> dict[str, Any]:
    from sweeper.agents.rllib_policy import load_spaces

    checkpoint = champion.replica_checkpoint
    if checkpoint is None or not (checkpoint / _ALGORITHM_FILE).is_file():
        raise SweeperError(f"the champion's checkpoint {checkpoint or ''} is not there")
    observation_space, action_space = load_spaces(checkpoint)
    shutil.copytree(checkpoint, folder / _CHECKPOINT)
    return {
        "backend": spec.backend,
        "algorithm": spec.algorithm,
        "environment": spec.environment.settings().to_json(),
        "observation_space": _space_to_json(observation_space),
        "action_space": _space_to_json(action_space),
    }


def _describe_selection(champion: Champion) -> dict[str, Any]:
    return {
        "trial_id": champion.trial_id,
        "seed": champion.seed,
        "metric": champion.metric,
        "mode": champion.mode,
        "score": champion.score,
        "env_steps": champion.env_steps,
        "configuration": _strict(champion.configuration),
        "versions": {
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in _PACKAGES},
        },
    }


def _space_to_json(space: gym.Space[Any]) -> dict[str, Any]:
    try:
        return space_to_json(space)
    except SweeperError:  # a rarer kind; the checkpoint itself has it
        return {"type": type(space).__name__, "text": str(space)}


def _strict(value: Mapping[str, Any]) -> Any:
    """The same as strict JSON, which has no infinity: ``inf`` becomes a text."""
    words = {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}
    return json.loads(json.dumps(value, default=str), parse_constant=words.__getitem__)


def _batch_of_one(space: gym.Space[Any], observation: Any) -> Any:
    if isinstance(space, gym.spaces.Dict) and isinstance(observation, Mapping):
        return {key: _batch_of_one(part, observation[key]) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple) and isinstance(observation, tuple):
        return tuple(
            _batch_of_one(part, item) for part, item in zip(space.spaces, observation, strict=True)
        )
    return np.asarray(observation)[None]
