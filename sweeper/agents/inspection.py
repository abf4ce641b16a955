"""What an agent is made of, and what it makes of an observation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.agents.agent import Agent
from sweeper.errors import UserError
from sweeper.paths import CheckpointPaths
from sweeper.run_files import read_json

__all__ = ["Answer", "Inspection", "WeightSummary"]


@dataclass(frozen=True)
class WeightSummary:
    """One array of an agent's weights.

    Attributes:
        norm: Euclidean.
        greatest: the greatest absolute value.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    norm: float
    greatest: float

    @classmethod
    def of(cls, name: str, array: np.ndarray[Any, Any]) -> WeightSummary:
        """Summarise an array."""
        flat = np.asarray(array, np.float64).ravel()
        greatest = float(np.abs(flat).max()) if flat.size else 0.0
        norm = float(np.linalg.norm(flat))
        return cls(name, tuple(array.shape), str(array.dtype), norm, greatest)


@dataclass(frozen=True)
class Answer:
    """What an agent makes of one observation, or of a batch.

    Attributes:
        action: the greedy one.
        distribution: of actions, or why there is none.
        value: of the state, or why there is none.
        q_values: of each action, or why there are none.
    """

    observation: Any
    action: Any
    distribution: Mapping[str, Any] | str
    value: Any
    q_values: Mapping[str, Any] | str

    @classmethod
    def of(cls, agent: Agent, observation: Any) -> Answer:
        """Ask an agent.

        Raises:
            ObservationError: the observation has another shape or type.
        """
        action = agent.act(observation)

        def ask(question: Any) -> Any:
            try:
                return question()
            except UserError as error:
                return str(error)

        return cls(
            observation,
            np.asarray(action).tolist(),
            ask(lambda: agent.action_distribution(observation).to_json()),
            ask(lambda: np.asarray(agent.value(observation)).tolist()),
            ask(lambda: agent.q_values(observation).to_json()),
        )

    def to_json(self) -> dict[str, Any]:
        """For ``sweeper inspect --json``; what there is none of is null."""
        return {
            name: None if isinstance(value, str) and name != "observation" else value
            for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class Inspection:
    """What an agent is made of.

    Attributes:
        replicas: the seeds of all replicas in its checkpoint that can act.
        answer: to an observation, if one was given.
        diverged: the seeds of those that can't, because they diverged.
    """

    agent: Agent
    replicas: tuple[int | None, ...]
    answer: Answer | None = None
    diverged: tuple[int, ...] = ()

    @cached_property
    def weights(self) -> tuple[WeightSummary, ...]:
        """Of the network, in the order in which they are stored."""
        return tuple(WeightSummary.of(name, one) for name, one in self.agent.weights.items())

    @cached_property
    def normalisation(self) -> tuple[WeightSummary, ...]:
        """The moments that observations and rewards are normalised by."""
        arrays = self.agent.normalisation.items()
        return tuple(WeightSummary.of(name, array) for name, array in arrays)

    @cached_property
    def versions(self) -> dict[str, str]:
        """Of the checkpoint's format, and of what wrote it, as far as it says."""
        agent = self.agent
        if "version" in agent.description:
            own = {"format": str(agent.description["version"])}
            return own | {k: str(v) for k, v in agent.description.get("versions", {}).items()}
        return {k: str(v) for k, v in agent.description.get("versions", {}).items()} | (
            _read_rllib_version(self.folder)
        )

    @property
    def folder(self) -> Path:
        """Of the checkpoint, or of the champion."""
        if self.agent.where is None:
            raise UserError("the agent was read from a bare folder")
        return self.agent.where.folder

    @property
    def backend(self) -> str:
        """What trained it."""
        described = self.agent.description
        return str(described.get("converted_from") or described.get("backend", "rllib"))

    @property
    def environment(self) -> str | None:
        """The id of its environment, if that is known."""
        try:
            return None if self.agent.where is None else self.agent.where.environment()[0].id
        except UserError:
            return None

    def to_json(self) -> dict[str, Any]:
        """The object that ``sweeper inspect --json`` prints."""
        agent = self.agent
        return {
            "checkpoint": str(self.folder),
            "backend": self.backend,
            "algorithm": agent.algorithm,
            "versions": self.versions,
            "environment": self.environment,
            "observation_space": str(agent.observation_space),
            "action_space": str(agent.action_space),
            "seed": agent.seed,
            "replicas": list(self.replicas),
            "diverged": list(self.diverged),
            "network": agent.network.to_json(),
            "weights": [_summary_to_json(one) for one in self.weights],
            "normalisation": [_summary_to_json(one) for one in self.normalisation],
            "answer": None if self.answer is None else self.answer.to_json(),
        }


def _summary_to_json(summary: WeightSummary) -> dict[str, Any]:
    return {**vars(summary), "shape": list(summary.shape)}


def _read_rllib_version(folder: Path) -> dict[str, str]:
    """What RLlib's ``rllib_checkpoint.json`` says of versions."""
    paths = CheckpointPaths(folder)
    for root in (paths.root, paths.algorithm, *paths.replicas):
        if CheckpointPaths(root).is_rllib:
            try:
                document = read_json(CheckpointPaths(root).rllib_metadata)
            except (OSError, ValueError):
                return {}
            names = {"checkpoint_version": "format", "ray_version": "ray"}
            found = document if isinstance(document, dict) else {}
            return {short: str(found[name]) for name, short in names.items() if name in found}
    return {}
