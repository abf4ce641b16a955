"""Agents: a checkpoint loaded for acting, and the champion's folder that stands on its own.

``champion/`` holds ``agent.json``, which says what the agent is, and ``checkpoint/``, a plain
checkpoint of RLlib: ``Algorithm.from_checkpoint`` loads it where sweeper is not installed.
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
from sweeper.rllib_policy import RLlibPolicy, load_spaces
from sweeper.spec import ExperimentSpec
from sweeper.trainables.spaces import space_to_json

__all__ = ["AGENT_FILE", "Agent", "Champion", "export_champion", "load_agent"]

AGENT_FILE = "agent.json"
_CHECKPOINT = "checkpoint"
_ALGORITHM_FILE = "rllib_checkpoint.json"
_PACKAGES = ("sweeper", "ray", "torch", "gymnasium", "numpy")


class Champion(Protocol):
    """What `export_champion` wants to know about the winner (`sweeper.selection.Selection`)."""

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
    def replica_checkpoint(self) -> Path | None:
        """That replica's folder in the trial's checkpoint."""


@dataclass(frozen=True)
class Agent:
    """A policy that acts greedily.

    Attributes:
        description: the contents of ``agent.json``; empty for a bare checkpoint.
        policy: RLlib's policy behind it.
    """

    policy: RLlibPolicy
    description: Mapping[str, Any] = field(default_factory=dict)

    @property
    def observation_space(self) -> gym.Space[Any]:
        """The environment's."""
        return self.policy.observation_space

    @property
    def action_space(self) -> gym.Space[Any]:
        """The environment's."""
        return self.policy.action_space

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
        """The actions for a batch of observations; see `RLlibPolicy.act`."""
        return self.policy.act(observations)


def load_agent(folder: str | Path) -> Agent:
    """Load an agent: a champion's folder, or a bare checkpoint of RLlib.

    Raises:
        UserError: there is neither in the folder, or the policy can't act on its own.
    """
    root = Path(folder).absolute()
    described = root / AGENT_FILE
    description: Mapping[str, Any] = {}
    if described.is_file():
        try:
            description = json.loads(described.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{described} is damaged: {error}") from error
        root = root / _CHECKPOINT
    if not (root / _ALGORITHM_FILE).is_file():
        replicas = sorted(path.name for path in root.glob("replica_*"))
        hint = (
            f"; it is a trial's checkpoint, take one of {', '.join(replicas)}" if replicas else ""
        )
        raise UserError(f"no agent in {root}{hint}")
    try:
        policy = RLlibPolicy(root)
    except (FileNotFoundError, ValueError) as error:
        raise UserError(str(error)) from error
    return Agent(policy=policy, description=description)


def export_champion(champion: Champion, spec: ExperimentSpec, destination: Path) -> Path:
    """Write the winner's best replica as an agent's folder, in place of an older one.

    Args:
        champion: the selection.
        spec: of the run.
        destination: the folder to write; whole or not at all.

    Raises:
        SweeperError: the replica's checkpoint is not there.
    """
    checkpoint = champion.replica_checkpoint
    if checkpoint is None or not (checkpoint / _ALGORITHM_FILE).is_file():
        raise SweeperError(
            f"the champion's checkpoint {checkpoint or ''} is not there: no agent was written"
        )
    description = _describe(champion, spec, *load_spaces(checkpoint))
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(
        tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent.absolute())
    )
    try:
        made = temporary / "new"
        shutil.copytree(checkpoint, made / _CHECKPOINT)
        text = json.dumps(description, indent=2, allow_nan=False)
        (made / AGENT_FILE).write_text(text + "\n", encoding="utf-8")
        if destination.exists():
            destination.rename(temporary / "old")
        made.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return destination


def _describe(
    champion: Champion,
    spec: ExperimentSpec,
    observation_space: gym.Space[Any],
    action_space: gym.Space[Any],
) -> dict[str, Any]:
    return {
        "backend": spec.backend,
        "algorithm": spec.algorithm,
        "environment": spec.environment.settings().to_json(),
        "observation_space": _space_to_json(observation_space),
        "action_space": _space_to_json(action_space),
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
