"""The weights of each env runner of an RLlib algorithm, which is built again for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE

from sweeper.environments.modules import summarise
from sweeper.errors import UserError

__all__ = ["runner_weights"]


def runner_weights(checkpoint: Path) -> dict[int, dict[str, np.ndarray[Any, Any]]]:
    """Restore an algorithm with all its env runners, and read the weights of each.

    Starts Ray if it is not running, and then stops it again.

    Args:
        checkpoint: the folder that ``Algorithm.save_to_path`` made; it is unpickled.

    Returns:
        By the env runner's index: 0 is the one in the algorithm's own process, if it has one;
        those in processes of their own count from 1.

    Raises:
        UserError: RLlib can't restore it.
    """
    was_running = ray.is_initialized()
    try:
        algorithm: Any = Algorithm.from_checkpoint(str(checkpoint))
    except Exception as error:  # whatever pickle, RLlib and the environment say
        if not was_running:
            ray.shutdown()
        raise UserError(f"RLlib can't restore {checkpoint}: {summarise(error)}") from error
    try:
        # RLlib restores those of its own process, and hands the others theirs when it trains: by
        # a request that it does not wait for, and leaves out while others are on their way.
        state = algorithm.learner_group.get_state(
            components=[f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}"], inference_only=True
        )
        weights = {COMPONENT_RL_MODULE: state[COMPONENT_LEARNER][COMPONENT_RL_MODULE]}
        pairs = algorithm.env_runner_group.foreach_env_runner(partial(_exchange_weights, weights))
    except Exception as error:  # whatever Ray says of a process that died
        raise UserError(
            f"the env runners of {checkpoint} don't give their weights: {summarise(error)}"
        ) from error
    finally:
        algorithm.stop()
        if not was_running:
            ray.shutdown()
    return dict(sorted(pairs, key=lambda pair: pair[0]))


def _exchange_weights(
    weights: dict[str, Any], runner: Any
) -> tuple[int, dict[str, np.ndarray[Any, Any]]]:
    runner.set_state(weights)
    state = runner.module.get_state()
    if "default_policy" in state:  # of a module for several agents
        state = state["default_policy"]
    return int(runner.worker_index), {name: np.asarray(one) for name, one in state.items()}
