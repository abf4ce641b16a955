"""The weights of RLlib's modules: what they must be like, and training that begins with them."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import (
    COMPONENT_LEARNER,
    COMPONENT_LEARNER_GROUP,
    COMPONENT_RL_MODULE,
    DEFAULT_MODULE_ID,
)
from ray.rllib.core.rl_module.apis.target_network_api import TargetNetworkAPI
from ray.rllib.env import INPUT_ENV_SINGLE_SPACES, INPUT_ENV_SPACES
from ray.rllib.utils.torch_utils import update_target_network
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sweeper.environments.modules import summarise
from sweeper.errors import SweeperError, UserError
from sweeper.json_values import to_json
from sweeper.paths import CheckpointPaths
from sweeper.run_files import open_reading
from sweeper.trainables.contract import NetworkDescription
from sweeper.trainables.rllib_backend.evaluation import module_state

__all__ = ["begin_with", "build_module", "describe_module", "read_algorithm", "read_weights"]

# Keys of a module's configuration that change nothing of what it makes of its weights.
_FREE = ("*_initializer*", "epsilon", "double_q", "std_init", "max_seq_len")
_OF_ATOMS = ("v_min", "v_max")


def build_module(
    config: AlgorithmConfig,
    observation_space: gymnasium.Space[Any],
    action_space: gymnasium.Space[Any],
) -> Any:
    """The RLModule that a config has trained in an environment of these spaces."""
    pair = (observation_space, action_space)
    # As an env runner does it (rllib/env/single_agent_env_runner.py), without an environment.
    spaces: dict[str, Any] = {INPUT_ENV_SINGLE_SPACES: pair, INPUT_ENV_SPACES: pair}
    connector = config.build_env_to_module_connector(env=None, spaces=spaces)
    spaces[DEFAULT_MODULE_ID] = (connector.observation_space, action_space)
    spec = config.get_multi_rl_module_spec(env=None, spaces=spaces, inference_only=False)
    return spec.build()[DEFAULT_MODULE_ID]


def describe_module(module: Any) -> NetworkDescription:
    """What weights of a module are like."""
    given = module.model_config or {}  # a mapping, or RLlib's dataclass
    known = dict(given if isinstance(given, Mapping) else dataclasses.asdict(given))
    free = (*_FREE, *(_OF_ATOMS if known.get("num_atoms", 1) == 1 else ()))
    meaning = {
        name: value
        for name, value in known.items()
        if not any(fnmatchcase(name, pattern) for pattern in free)
    }
    shapes = {name: np.shape(array) for name, array in module.get_state().items()}
    return NetworkDescription(shapes, to_json(meaning))


def read_algorithm(checkpoint: Path) -> str:
    """The algorithm of a checkpoint that an Algorithm has made; unpickles a part of it.

    Raises:
        UserError: it is damaged, or of another version of RLlib.
    """
    path = checkpoint / "class_and_ctor_args.pkl"
    try:
        return str(pickle.loads(path.read_bytes())["class"].__name__)  # noqa: S301 - as all of RLlib's
    except Exception as error:  # whatever pickle says of what is none
        raise UserError(f"{path} can't be read: {summarise(error)}") from error


def read_weights(folder: Path) -> dict[str, NDArray[Any]]:
    """The weights in a folder as `ReplicaTrainer.begin` takes them, ``[replicas, ...]`` each.

    Raises:
        SweeperError: they are damaged.
    """
    path = CheckpointPaths(folder).weights
    try:
        open_reading(path).close()  # `load_file` would wait for a named pipe
        arrays: dict[str, NDArray[Any]] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise SweeperError(f"{path} can't be read: {error}") from error
    return arrays


def begin_with(algorithm: Algorithm, weights: Mapping[str, NDArray[Any]]) -> None:
    """Give an Algorithm that was just built other weights; target networks become copies of them.

    Args:
        algorithm: its learners, and through them its env runners.
        weights: as `describe_module` has them.

    Raises:
        SweeperError: they are another network's.
    """
    own = module_state(algorithm, inference_only=False)[DEFAULT_MODULE_ID]
    for name, array in weights.items():
        due = np.shape(own[name]) if name in own else None
        if array.shape != due:
            found = f"{name} is {array.shape}, and must be {due}" if due else f"it has no {name}"
            raise SweeperError(f"the weights don't fit this network: {found}")
    module = {DEFAULT_MODULE_ID: dict(weights)}
    learner = {COMPONENT_LEARNER: {COMPONENT_RL_MODULE: module}}
    algorithm.set_state({COMPONENT_LEARNER_GROUP: learner})
    algorithm.learner_group.foreach_learner(_copy_to_targets)


def _copy_to_targets(learner: Any) -> None:
    module = learner.module[DEFAULT_MODULE_ID].unwrapped()
    if isinstance(module, TargetNetworkAPI):
        for main, target in module.get_target_network_pairs():
            update_target_network(main_net=main, target_net=target, tau=1.0)
