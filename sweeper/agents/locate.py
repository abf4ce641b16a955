"""Where agents lie: what a checkpoint's folder says of itself, and the replicas in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.errors import UserError
from sweeper.paths import CheckpointPaths

__all__ = ["AgentPlace", "find_agents", "read_description"]


@dataclass(frozen=True)
class AgentPlace:
    """Where an agent lies: a folder, and which of the replicas in it."""

    name: str
    folder: Path
    index: int = 0


def read_description(folder: Path) -> Mapping[str, Any]:
    """What ``agent.json`` says; empty if there is none."""
    path = CheckpointPaths(folder).agent
    if not path.is_file():
        return {}
    try:
        document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return document


def find_agents(
    folder: Path, description: Mapping[str, Any], replica: int | None
) -> Sequence[AgentPlace]:
    """A torch checkpoint has its replicas' seeds in its description, RLlib's a folder for each."""
    seeds = description.get("seeds") or ()
    found = [AgentPlace(f"replica_{seed}", folder, index) for index, seed in enumerate(seeds)]
    if not description:
        paths = [path for path in folder.glob("replica_*") if path.is_dir()]
        paths.sort(key=lambda path: (len(path.name), path.name))
        found = [AgentPlace(path.name, path) for path in paths]
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
