"""Find the agents in a checkpoint's folder, and read its description."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import UserError
from sweeper.paths import CheckpointPaths
from sweeper.run_files import read_json

__all__ = ["AgentPlace", "find_agents", "read_description"]


@dataclass(frozen=True)
class AgentPlace:
    """Where an agent is: a folder, and the index of the replica in it."""

    name: str
    folder: Path
    index: int = 0


def read_description(folder: Path) -> Mapping[str, Any]:
    """The contents of ``agent.json``; empty if there is none."""
    path = CheckpointPaths(folder).agent
    if not os.path.lexists(path):
        return {}
    try:
        document: Mapping[str, Any] = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return document


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
