"""Log the champion to MLflow as a pyfunc model, loadable without sweeper."""

from __future__ import annotations

import hashlib
import logging
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from sweeper.agents.locate import read_description
from sweeper.environments.spaces import space_from_json
from sweeper.errors import SweeperError
from sweeper.evidence.selection import Selection
from sweeper.paths import CheckpointPaths
from sweeper.run_files import check_tree, copy_file, copy_tree, is_regular, walk_files
from sweeper.tracking.description import SweepDescription
from sweeper.tracking.mirror import NOTE_TAG
from sweeper.tracking.model_card import (
    EVIDENCE_TAG,
    describe_evidence,
    describe_model,
    model_card,
)
from sweeper.tracking.model_signature import describe_signature, example_of
from sweeper.tracking.naming import clip_tag, describe_parameters
from sweeper.tracking.registry import RUN_TAG, register
from sweeper.veil import veil

__all__ = ["describe_torch_agent", "log_champion"]

_NAME = "champion"
_DIGEST_TAG = "sweeper.digest"
_CURRENT_TAG = "sweeper.current"
_SUPERSEDED = "the sweep has chosen another champion since."
_MODEL_CODE = Path(__file__).with_name("champion_model.py")
# What an agent of each backend needs to act: the file with the policy, and distributions.
_TORCH = ("torch_policy", ["mlflow", "numpy"])
_RLLIB = ("rllib_policy.py", ["mlflow", "ray[rllib]", "torch", "numpy", "gymnasium"])
# The parts of an RLlib checkpoint that acting needs; others are the optimiser's and sampler's.
_FOR_ACTING = (
    "learner_group/learner/rl_module",
    "env_runner/env_to_module_connector",
    "env_runner/module_to_env_connector",
    "env_to_module_connector",
    "module_to_env_connector",
)


def log_champion(
    client: Any,
    *,
    experiment_id: str,
    run_id: str,
    selection: Selection,
    folder: Path,
    register_as: str | None,
    sweep: SweepDescription,
) -> tuple[str, list[str]]:
    """Log the champion's agent under the name ``champion``, unless MLflow has it already.

    MLflow's ``log_model`` writes to the process-wide tracking URI, which is the user's. So this
    saves the model to a temporary folder and uploads it with the client, in the steps of
    ``log_model`` (``mlflow/models/model.py``). The run is the parent run, ``folder`` holds the
    champion's agent, and ``register_as`` is the model's name in the registry, if any. Models of
    former champions of the run are marked as such.

    Returns:
        The model's id, and warnings, one sentence each.

    Raises:
        SweeperError: the folder holds no agent.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    try:
        check_tree(folder.parent, (folder.name,))
    except OSError as error:
        message = f"the champion is not uploaded: {error.filename}: {error.strerror}"
        raise SweeperError(message) from error
    checkpoint = _find_checkpoint(folder)
    digest = _digest(checkpoint)
    present = _find_model(client, experiment_id, run_id, digest)
    if present is None:
        present = client.create_logged_model(
            experiment_id,
            name=_NAME,
            source_run_id=run_id,
            tags={_DIGEST_TAG: digest, "sweeper.trial": selection.trial_id, **sweep.tags},
            params=describe_parameters(selection.configuration),
            model_type="agent",
        )
    if str(present.status) != "READY":
        described = describe_model(selection, sweep.tags)
        _upload(client, checkpoint, present, run_id, described)
    outputs = client.get_run(run_id).outputs
    linked = [one.model_id for one in outputs.model_outputs] if outputs else []
    if present.model_id not in linked:
        client.log_outputs(run_id, [LoggedModelOutput(present.model_id, step=0)])
    spaces_of = _read_spaces(checkpoint)
    words = "" if spaces_of is None else str(spaces_of[0])
    words = " ".join(words.split())[:500]
    card = clip_tag(model_card(selection, sweep, words, present.model_id))
    _mark(client, experiment_id, run_id, present, card)
    if register_as is None:
        return present.model_id, []
    tags = {
        RUN_TAG: sweep.run_name,
        "sweeper.trial": selection.trial_id,
        "sweeper.verdict": selection.word,
        EVIDENCE_TAG: describe_evidence(selection, sweep.environment),
    }
    try:
        register(client, register_as, present, run_id, tags=tags, card=card)
    except MlflowException as error:
        why = veil(str(error))
        return present.model_id, [
            f"MLflow: the champion is not registered as {register_as!r}: {why}"
        ]
    return present.model_id, []


def _upload(
    client: Any, checkpoint: Path, model: Any, run_id: str, described: dict[str, Any]
) -> None:
    try:
        with tempfile.TemporaryDirectory(prefix="sweeper-champion-") as temporary:
            slim = Path(temporary) / "checkpoint"
            _copy_for_acting(checkpoint, slim)
            saved = Path(temporary) / "model"
            with _unseen():
                _save(saved, slim, model, run_id, described)
            client.log_model_artifacts(model.model_id, str(saved))
    except BaseException:
        with suppress(Exception):  # what went wrong first is what is said
            client.finalize_logged_model(model.model_id, "FAILED")
        raise
    client.finalize_logged_model(model.model_id, "READY")


def _mark(client: Any, experiment_id: str, run_id: str, current: Any, card: str) -> None:
    """Say on every model of the run whether it is still its champion's."""
    found = client.search_logged_models(
        [experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    for model in found:
        if model.name != _NAME or str(model.status) != "READY":
            continue
        is_current = model.model_id == current.model_id
        note = card if is_current else f"**Superseded** by {current.model_id}: {_SUPERSEDED}"
        wanted = {_CURRENT_TAG: "true" if is_current else "false", NOTE_TAG: note}
        changed = {key: text for key, text in wanted.items() if model.tags.get(key) != text}
        if changed:
            client.set_logged_model_tags(model.model_id, changed)


def _read_spaces(checkpoint: Path) -> tuple[spaces.Space[Any], spaces.Space[Any]] | None:
    """The observation space and the action space of a torch agent; None of RLlib's."""
    if CheckpointPaths(checkpoint).is_rllib:
        return None
    description = read_description(checkpoint)
    return (
        space_from_json(description["observation_space"]),
        space_from_json(description["action_space"]),
    )


def _find_checkpoint(folder: Path) -> Path:
    paths = CheckpointPaths(folder)
    if CheckpointPaths(paths.algorithm).is_rllib:
        return paths.algorithm
    if is_regular(paths.agent) and is_regular(paths.weights):
        return folder
    raise SweeperError(f"no agent in {folder}")


def _copy_for_acting(checkpoint: Path, target: Path) -> None:
    paths = CheckpointPaths(checkpoint)
    target.mkdir()
    for part in _FOR_ACTING:
        if (checkpoint / part).is_dir():
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            copy_tree(checkpoint / part, target / part)
    for file in (paths.rllib_metadata,) if paths.is_rllib else (paths.agent, paths.weights):
        copy_file(file, target / file.name)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    seal = CheckpointPaths(folder).seal  # another user's is another one
    files = (path for path, status in walk_files(folder) if stat.S_ISREG(status.st_mode))
    for path in sorted(path for path in files if path != seal):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _find_model(client: Any, experiment_id: str, run_id: str, digest: str) -> Any | None:
    """The agent's model; one that an outage left without its files only if there is no other."""
    found = client.search_logged_models(
        [experiment_id],
        filter_string=f"source_run_id = '{run_id}' AND tags.`{_DIGEST_TAG}` = '{digest}'",
    )
    ready = [model for model in found if str(model.status) == "READY"]
    return next(iter([*ready, *found]), None)


def _save(
    target: Path, checkpoint: Path, model: Any, run_id: str, metadata_of: dict[str, Any]
) -> None:
    import mlflow.pyfunc
    from mlflow.models import Model

    is_rllib = CheckpointPaths(checkpoint).is_rllib
    code, requirements = _RLLIB if is_rllib else _TORCH
    if not is_rllib and read_description(checkpoint)["network"]["convolutions"]:
        requirements = [*requirements, "torch"]  # for its convolutions
    seen, acted = _read_spaces(checkpoint) or _try(checkpoint)
    mlflow.pyfunc.save_model(
        path=str(target),
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            model_uuid=model.model_id,
            run_id=run_id,
            model_id=model.model_id,
        ),
        python_model=str(_MODEL_CODE),
        code_paths=[str(Path(__file__).parents[1] / "agents" / code)],
        artifacts={"checkpoint": str(checkpoint)},
        signature=describe_signature(seen, acted),
        input_example=example_of(seen),
        metadata=metadata_of,
        # Without these MLflow starts a process that imports everything to infer them.
        pip_requirements=[
            f"{name}=={metadata.version(name.partition('[')[0]).partition('+')[0]}"
            for name in requirements
        ],
    )


def _try(checkpoint: Path) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """The spaces of an RLlib agent, which has acted once."""
    from sweeper.agents.reading import read_agent

    policy: Any = read_agent(checkpoint, trust=True).policy  # a copy; whoever calls has asked
    policy.act(example_of(policy.observation_space))
    return policy.observation_space, policy.action_space


def describe_torch_agent(
    checkpoint: Path,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A batch of one observation, and one of actions, of the shapes and dtypes that an agent takes.

    By its spaces alone, since the import of torch would take seconds at the end of every run.
    Whether it can act is not looked at: `sweeper log` does so before.
    """
    description = read_description(checkpoint)
    observations = space_from_json(description["observation_space"])
    actions = space_from_json(description["action_space"])
    shape = observations.shape
    if isinstance(observations, spaces.Dict | spaces.Tuple):
        shape = (spaces.flatdim(observations),)
    return np.zeros((1, *shape), np.float32), np.zeros((1, *actions.shape), actions.dtype)


@contextmanager
def _unseen() -> Iterator[None]:
    """Silence MLflow, and restore its globals afterwards."""
    from mlflow.models import model as models

    logger = logging.getLogger("mlflow.pyfunc")
    level, last_model = logger.level, models.__mlflow_model__
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
        models.__mlflow_model__ = last_model
