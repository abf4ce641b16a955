"""Export the winner's best replica as a standalone agent.

``champion/`` holds ``agent.json``, which describes the agent and how it won. A torch agent's
tensors are beside it in ``weights.safetensors``. An RLlib agent is in ``checkpoint/``, which
``Algorithm.from_checkpoint`` loads without sweeper.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium as gym
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file  # without torch, whose import takes seconds

from sweeper import installation
from sweeper.agents.locate import read_description
from sweeper.environments.spaces import space_to_json
from sweeper.errors import SweeperError
from sweeper.json_values import to_json
from sweeper.paths import CheckpointPaths
from sweeper.run_files import copy_tree, delete_tree, open_reading
from sweeper.seals import is_folder_sealed, seal_folder
from sweeper.spec import ExperimentSpec
from sweeper.storage.checkpoints import bring_folder

__all__ = ["Champion", "export_champion"]

_PACKAGES = ("ray", "torch", "gymnasium", "numpy")


@dataclass(frozen=True)
class Champion:
    """The winner and the agent's checkpoint; the others as in `evidence.record.Selection`.

    Attributes:
        checkpoint: of the trial that the agent is from.
        replica: its index there.
        retrained_as: the confirmation's trial that it is from; None if from the search's.
        value: what the agent itself came to after it was chosen; None if that is not known.
    """

    trial_id: str
    configuration: Mapping[str, Any]
    metric: str
    mode: str
    score: float
    env_steps: int | None
    checkpoint: Path
    replica: int
    seed: int | None
    retrained_as: str | None = None
    value: float | None = None


def export_champion(champion: Champion, spec: ExperimentSpec, destination: Path) -> Path:
    """Write the winner's best replica as an agent, completely or not at all.

    An older folder at the destination is replaced.

    Raises:
        SweeperError: the replica's checkpoint is missing.
    """
    bring_folder(champion.checkpoint)
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(
        tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent.absolute())
    )
    try:
        made = temporary / "new"
        made.mkdir()
        fill = _fill_torch_agent if spec.backend == "torch" else _fill_rllib_agent
        description = {**fill(champion, spec, made), **_describe_selection(champion)}
        if spec.evaluation is not None:
            description["max_episode_steps"] = spec.evaluation.max_episode_steps
        text = json.dumps(description, indent=2, allow_nan=False)
        CheckpointPaths(made).agent.write_text(text + "\n", encoding="utf-8")
        if is_folder_sealed(champion.checkpoint):  # else it came from elsewhere, and stays foreign
            seal_folder(made)
        if os.path.lexists(destination):
            destination.rename(temporary / "old")
        made.rename(destination)
    finally:
        with contextlib.suppress(OSError):
            delete_tree(temporary)
    return destination


def _fill_torch_agent(champion: Champion, spec: ExperimentSpec, folder: Path) -> dict[str, Any]:
    checkpoint = champion.checkpoint
    description = dict(read_description(checkpoint))
    if not description:
        raise SweeperError(f"the champion's checkpoint {checkpoint} is not there")
    weights = CheckpointPaths(checkpoint).weights
    index = slice(champion.replica, champion.replica + 1)
    try:
        open_reading(weights).close()  # `load_file` would wait for a named pipe
        arrays = {name: array[index] for name, array in load_file(weights).items()}
        save_file(arrays, CheckpointPaths(folder).weights)
    except (OSError, SafetensorError) as error:
        raise SweeperError(f"the champion's {weights} can't be copied: {error}") from error
    environment = description.get("environment")
    if not is_folder_sealed(checkpoint):  # somebody else's can name any
        environment = spec.environment.settings().to_json()
    is_frozen = champion.seed in description.get("diverged", ())  # only if all of them are
    return {
        **description,
        "environment": environment,
        "seeds": [champion.seed],
        "diverged": [champion.seed] if is_frozen else [],
    }


def _fill_rllib_agent(champion: Champion, spec: ExperimentSpec, folder: Path) -> dict[str, Any]:
    from sweeper.agents.rllib_policy import load_spaces

    checkpoint = champion.checkpoint
    if champion.seed is not None:
        checkpoint = CheckpointPaths(checkpoint).replica(champion.seed)
    if not CheckpointPaths(checkpoint).is_rllib:
        raise SweeperError(f"the champion's checkpoint {checkpoint} is not there")
    observation_space, action_space = load_spaces(checkpoint)
    copy_tree(checkpoint, CheckpointPaths(folder).algorithm)
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
        "retrained_as": champion.retrained_as,
        "agent_value": champion.value,
        "configuration": to_json(champion.configuration),
        "versions": {
            "python": platform.python_version(),
            "sweeper": installation.version(),
            **{package: metadata.version(package) for package in _PACKAGES},
        },
    }


def _space_to_json(space: gym.Space[Any]) -> dict[str, Any]:
    try:
        return space_to_json(space)
    except SweeperError:  # no JSON form for this kind; the checkpoint itself has the space
        return {"type": type(space).__name__, "text": str(space)}
