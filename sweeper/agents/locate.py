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
from sweeper.formatting import count_noun
from sweeper.hints import show
from sweeper.paths import CheckpointPaths
from sweeper.run_files import read_json

__all__ = ["AgentPlace", "find_agents", "find_diverged", "read_description"]


_OF_THE_WINNER = {
    "algorithm": str,
    "backend": str,
    "trial_id": str,
    "retrained_as": str,
    "seed": int,
    "env_steps": int,
}


@dataclass(frozen=True)
class AgentPlace:
    """Where an agent is.

    Attributes:
        index: of the replica in the folder.
        seed: that it was trained with, if that is known.
    """

    name: str
    folder: Path
    index: int = 0
    seed: int | None = None


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
    version, versions = document.get("version"), document.get("versions", {})
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise ValueError(f"version is {show(version)}, no number")
    if not isinstance(versions, Mapping) or not all(
        isinstance(one, str) for one in versions.values()
    ):
        raise ValueError("versions are no mapping of texts")
    if not isinstance(document.get("network", {}), Mapping):
        raise ValueError("network is no mapping")
    seeds, diverged = document.get("seeds"), document.get("diverged", [])
    for name, numbers in (("seeds", seeds), ("diverged", diverged)):
        if not _are_seeds(numbers):
            raise ValueError(f"{name} is no list of numbers")
    if not seeds:
        raise ValueError("seeds is empty")
    epsilon = document.get("epsilon", 0.0)
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 <= epsilon <= 1:
        raise ValueError("epsilon is no number from 0 to 1")
    for name in ("observation_space", "action_space"):
        try:
            space_from_json(document[name])
        except Exception as error:  # whatever numpy and gymnasium say of what is no space
            raise ValueError(f"{name} is no space of ours") from error


def find_diverged(folder: Path, description: Mapping[str, Any]) -> tuple[int, ...]:
    """The seeds of a checkpoint's replicas that diverged; empty where that is not recorded.

    Torch's ``agent.json`` names them. Those of RLlib have no folder in the trial's checkpoint,
    whose own state names them.
    """
    if description:
        return tuple(description.get("diverged", ()))
    try:
        state = read_json(CheckpointPaths(folder).state)
        flags = zip(state["seeds"], state["metrics"]["diverged"], strict=True)
        return tuple(int(seed) for seed, is_diverged in flags if is_diverged)
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def find_agents(
    folder: Path, description: Mapping[str, Any], replica: int | None
) -> Sequence[AgentPlace]:
    """Find a checkpoint's agents, but for those that diverged.

    Args:
        folder: the checkpoint.
        description: its ``agent.json``. A torch checkpoint lists its replicas' seeds there; one
            of RLlib has no description but a folder per replica.
        replica: only the replica that was trained with this seed.

    Raises:
        UserError: there is no such replica, or none that did not diverge.
    """
    diverged = find_diverged(folder, description)
    found = [
        AgentPlace(f"replica_{seed}", folder, index, seed)
        for index, seed in enumerate(description.get("seeds") or ())
    ]
    if not description:
        found = [
            AgentPlace(path.name, path, seed=_read_seed(path.name.removeprefix("replica_")))
            for path in CheckpointPaths(folder).replicas
        ]
    elif not found:
        found = [AgentPlace(folder.name, folder, seed=_read_seed(description.get("seed")))]
    able = [place for place in found if place.seed is None or place.seed not in diverged]
    if diverged and not able:
        number = count_noun(len(diverged), "replica")
        raise UserError(f"{folder} has no agent to play: {number} diverged, and no other is there")
    if replica is None:
        return able or [AgentPlace(folder.name, folder)]
    chosen = [place for place in able if place.name == f"replica_{replica}"]
    if not chosen:
        known = ", ".join(str(place.seed) for place in able if place.name != folder.name)
        what = f"replica {replica} in {folder} diverged and is frozen"
        if replica not in diverged:
            what = f"no replica {replica} in {folder}"
        raise UserError(
            f"{what}; " + (f"it has those of the seeds {known}" if known else "it is one agent")
        )
    return chosen


def _are_seeds(numbers: Any) -> bool:
    """Whether they are seeds; that of an agent outside of a run may be None."""
    is_list = isinstance(numbers, list)
    return is_list and all(one is None or isinstance(one, int) for one in numbers)


def _read_seed(value: Any) -> int | None:
    return int(value) if str(value).isdecimal() else None
