"""Export an agent: a folder that acts with numpy and gymnasium, on images also with torch."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from sweeper.agents.agent import Agent
from sweeper.errors import SweeperError, UserError
from sweeper.exporting import standalone
from sweeper.exporting.onnx_model import OnnxModel, check_onnx_installed
from sweeper.exporting.reported import describe_evaluation
from sweeper.exporting.texts import PLAY, list_needs, write_readme, write_requirements
from sweeper.hints import show
from sweeper.json_values import to_json
from sweeper.paths import CheckpointPaths
from sweeper.run_files import delete_tree
from sweeper.spec import load_record

__all__ = ["ExportedAgent", "check_folder", "export_agent"]

_logger = logging.getLogger(__name__)

_PLAY, _EVALUATION, _MODEL = "play.py", "evaluation.json", "agent.onnx"
# What an export may hold, and what running it leaves.
_WRITTEN = {
    "README.md",
    "__pycache__",
    "agent.json",
    "episodes.py",
    "requirements.txt",
    "torch_policy",
    "weights.safetensors",
    _PLAY,
    _EVALUATION,
    _MODEL,
}
_HERE = "."  # of modules; a folder that is carried away names none of this machine


@dataclass(frozen=True)
class ExportedAgent:
    """An agent's folder.

    Attributes:
        folder: absolute.
        files: in it, by their paths.
        description: the contents of its ``agent.json``.
        evaluation: the contents of its ``evaluation.json``; None without an environment.
        needs: what playing needs beside the folder and its requirements, a sentence each.
        model: the ONNX model, if one was asked for.
    """

    folder: Path
    files: tuple[str, ...]
    description: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None
    needs: tuple[str, ...]
    model: OnnxModel | None

    def to_json(self) -> dict[str, Any]:
        """The object that ``sweeper export --json`` prints."""
        known = self.description
        return {
            "folder": str(self.folder),
            "files": list(self.files),
            "algorithm": known["algorithm"],
            "trained_by": known.get("converted_from", "torch"),
            "trial_id": known.get("retrained_as") or known.get("trial_id"),
            "seed": known["seeds"][0],
            "environment": None if self.evaluation is None else self.evaluation["environment"],
            "reported": None if self.evaluation is None else self.evaluation["reported"],
            "needs": list(self.needs),
            "onnx": None if self.model is None else self.model.to_json(),
        }


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that an agent can be written, before it is loaded.

    Raises:
        UserError: something is there that would be lost, or no folder to make it in.
    """
    place = folder.absolute()
    if not place.parent.is_dir():
        raise UserError(f"{folder} can't be made: there is no folder {place.parent}")
    if not os.path.lexists(place):
        return
    if not place.is_dir() or place.is_symlink():
        raise UserError(f"{folder} is there already and is no folder; give another --output")
    found = {entry.name for entry in place.iterdir()}
    if not found:
        return
    others = sorted(found - _WRITTEN)
    if others or "agent.json" not in found:
        what = f"it holds {show(others[0])}" if others else "it holds no agent"
        raise UserError(
            f"{folder} is there already, and is not replaced, since {what}; give another --output"
        )
    if not overwrite:
        raise UserError(f"{folder} is there already; give another --output, or --overwrite")


def export_agent(
    agent: Agent,
    folder: str | Path,
    *,
    onnx: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = _logger.info,
) -> ExportedAgent:
    """Write an agent's folder, completely or not at all; builds no environment.

    It holds the agent in the torch backend's format, the code that acts, ``play.py``, which plays
    the reported evaluation again, and a README.

    Args:
        agent: as `load_agent` returned it; one of RLlib's is converted, and held against itself.
        folder: where to; it may be an empty one.
        onnx: write ``agent.onnx``, too.
        overwrite: replace an agent that was exported there.
        say: receives, in words, what playing will run that this user did not make.

    Raises:
        UserError: the folder can't be written, the agent can't act without Ray, or a package
            that ``onnx`` needs is missing.
        SweeperError: the ONNX model acts otherwise than the agent.
    """
    destination = Path(folder).absolute()
    check_folder(Path(folder), overwrite=overwrite)
    if onnx:
        check_onnx_installed()
    temporary = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    try:
        made = temporary / "new"
        made.mkdir()
        exported = _fill(agent, made, onnx=onnx)
        if os.path.lexists(destination):
            destination.rename(temporary / "old")
        made.rename(destination)
    except OSError as error:
        raise UserError(f"{folder} can't be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            delete_tree(temporary)
    _name_foreign(agent, destination, say)
    files = sorted(
        path.relative_to(destination).as_posix()
        for path in destination.rglob("*")
        if path.is_file()
    )
    return replace(exported, folder=destination, files=tuple(files))


def _fill(agent: Agent, folder: Path, *, onnx: bool) -> ExportedAgent:
    from sweeper.agents.torch_policy import TorchPolicy

    environment, evaluation = None, None
    if agent.where is not None:
        with contextlib.suppress(UserError):  # its environment is not known
            environment = agent.where.environment()[0]
            evaluation = describe_evaluation(agent.where, agent.seed)
    described, tensors = _describe(agent)
    description = {
        **described,
        **_complete(agent),
        "seeds": [agent.seed],
        "diverged": [],
    }
    if environment is not None:
        description["environment"] = replace(environment, search_paths=(_HERE,)).to_json()
    if evaluation is not None and evaluation["max_episode_steps"] is not None:
        description["max_episode_steps"] = evaluation["max_episode_steps"]
    _write_json(CheckpointPaths(folder).agent, description)
    save_file(tensors, CheckpointPaths(folder).weights)
    policy = TorchPolicy(folder)
    if agent.policy.__class__ is not TorchPolicy:
        from sweeper.exporting.conversion import InconvertibleError, check_conversion

        try:
            check_conversion(agent.policy, policy, agent.observation_space)
        except InconvertibleError as error:
            raise _explain(agent, error) from error
    model = None
    if onnx:
        from sweeper.exporting.onnx_file import write_onnx

        model = write_onnx(policy, agent.observation_space, folder / _MODEL)
    needs = tuple(list_needs(environment))
    _copy_code(folder)
    if evaluation is not None:
        _write_json(folder / _EVALUATION, evaluation)
        (folder / _PLAY).write_text(PLAY, encoding="utf-8")
        code = Path(str(standalone.__file__)).with_name("episodes.py")
        shutil.copyfile(code, folder / code.name)
    requirements = write_requirements(description, environment)
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    readme = write_readme(
        description,
        evaluation,
        observation_shape=policy.observation_shape,
        needs=needs,
        model=model,
    )
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return ExportedAgent(folder, (), description, evaluation, needs, model)


def _describe(agent: Agent) -> tuple[Mapping[str, Any], dict[str, NDArray[Any]]]:
    """What ``agent.json`` says of the agent itself, and its tensors with an axis of one replica."""
    from sweeper.agents.torch_policy import TorchPolicy

    policy = agent.policy
    if isinstance(policy, TorchPolicy):
        tensors = {name: np.array(one)[None] for name, one in policy.tensors.items()}
        return agent.description, tensors
    from sweeper.exporting.conversion import InconvertibleError, convert

    try:
        converted = convert(policy)
    except InconvertibleError as error:
        raise _explain(agent, error) from error
    known = {key: one for key, one in agent.description.items() if key not in converted.description}
    return {**converted.description, **known}, dict(converted.tensors)


def _explain(agent: Agent, error: SweeperError) -> UserError:
    where = agent.where
    place = ""
    if where is not None:
        own = CheckpointPaths(where.folder).algorithm
        place = f", {own if own.is_dir() else where.folder},"
    return UserError(
        f"this agent can't act without Ray: {error}; its RLlib checkpoint{place} loads in plain "
        "RLlib, with Algorithm.from_checkpoint"
    )


def _complete(agent: Agent) -> dict[str, Any]:
    """What the run knows of the agent and its checkpoint does not say."""
    where = agent.where
    if where is None:
        return {}
    known: dict[str, Any] = {}
    if "algorithm" in agent.description:
        known["algorithm"] = agent.description["algorithm"]
    elif where.run is not None:
        known["algorithm"] = load_record(where.run.spec).algorithm
    if where.run is not None and "trial_id" not in agent.description:
        parts = where.folder.relative_to(where.run.root).parts
        if len(parts) > 1 and parts[0] == where.run.trials.name:
            known["trial_id"] = parts[1]
    return known


def _copy_code(folder: Path) -> None:
    from sweeper.agents import torch_policy

    source, target = Path(str(torch_policy.__file__)).parent, folder / "torch_policy"
    target.mkdir()
    for file in sorted(source.glob("*.py")):
        shutil.copyfile(file, target / file.name)


def _write_json(file: Path, document: Mapping[str, Any]) -> None:
    """A line for each key; an evaluation has hundreds of seeds."""
    entries = to_json(document).items()
    lines = [f"  {json.dumps(key)}: {json.dumps(one, allow_nan=False)}" for key, one in entries]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _name_foreign(agent: Agent, folder: Path, say: Callable[[str], None]) -> None:
    """Name what playing will do that this user did not choose."""
    foreign: list[str] = []
    if agent.where is not None:
        with contextlib.suppress(SweeperError):
            foreign = agent.where.foreign_environment()
    if foreign:
        steps = "\n".join(f"  {step}" for step in foreign)
        say(
            f"{agent.where.folder if agent.where else folder} was not made by this user on this "
            f"machine; {folder / _PLAY} will do what whoever made it has chosen:\n{steps}"
        )
