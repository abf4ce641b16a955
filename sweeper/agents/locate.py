"""Find the agents in a checkpoint's folder, and read its description."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.environments.settings import EnvironmentSettings
from sweeper.environments.spaces import space_from_json
from sweeper.errors import UserError
from sweeper.paths import CheckpointPaths
from sweeper.run_files import read_json

__all__ = ["AgentPlace", "find_agents", "read_description"]


_OF_THE_WINNER = {"trial_id": str, "retrained_as": str, "seed": int, "env_steps": int}


@dataclass(frozen=True)
class AgentPlace:
    """Where an agent is: a folder, and the index of the replica in it."""

    name: str
    folder: Path
    index: int = 0


def read_description(folder: Path) -> Mapping[str, Any]:
    """The contents of ``agent.json``; empty if there is none.

    Raises:
        UserError: it is damaged, or does not describe an agent.
    """
    path = CheckpointPaths(folder).agent
    if not os.path.lexists(path):
        return {}
    try:
        document = read_json(path)
        _check_description(document)
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, UserError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    described: Mapping[str, Any] = document
    return described


def _check_description(document: Any) -> None:
    """Check what is read of a description before the agent itself is loaded.

    Raises:
        ValueError: a part is missing or of another type.
    """
    if not isinstance(document, dict):
        raise ValueError("it is no mapping")
    cap = document.get("max_episode_steps")
    if cap is not None and (isinstance(cap, bool) or not isinstance(cap, int) or cap < 1):
        raise ValueError("max_episode_steps is no number of steps")
    for name, kind in _OF_THE_WINNER.items():
        value = document.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            raise ValueError(f"{name} is of another type")
    if "environment" in document:
        EnvironmentSettings.from_json(document["environment"])
    if document.get("backend") != "torch":
        return
    seeds = document.get("seeds")
    # An agent outside of a run may have none.
    if not isinstance(seeds, list) or not seeds:
        raise ValueError("seeds is no list of numbers")
    if not all(seed is None or isinstance(seed, int) for seed in seeds):
        raise ValueError("seeds is no list of numbers")
    for name in ("observation_space", "action_space"):
        try:
            space_from_json(document[name])
        except Exception as error:  # whatever numpy and gymnasium say of what is no space
            raise ValueError(f"{name} is no space of ours") from error


def find_agents(
    folder: Path, description: Mapping[str, Any], replica: int | None
) -> Sequence[AgentPlace]:
    """Find a checkpoint's agents.

    Args:
        folder: the checkpoint.
        description: its ``agent.json``. A torch checkpoint lists its replicas' seeds there; one
            of RLlib has no description but a folder per replica.
        replica: only the replica that was trained with this seed.

    Raises:
        UserError: there is no such replica.
    """
    seeds = description.get("seeds") or ()
    found = [AgentPlace(f"replica_{seed}", folder, index) for index, seed in enumerate(seeds)]
    if not description:
        found = [AgentPlace(path.name, path) for path in CheckpointPaths(folder).replicas]
    if replica is None:
        return found or [AgentPlace(folder.name, folder)]
    chosen = [place for place in found if place.name == f"replica_{replica}"]
    if not chosen:
        known = ", ".join(place.name.removeprefix("replica_") for place in found)
        raise UserError(
            f"no replica {replica} in {folder}; "
            + (f"it has those of the seeds {known}" if known else "it is one agent")
        )
    return chosen
