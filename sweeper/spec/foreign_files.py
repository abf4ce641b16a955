"""Files of other programs that are given for a spec, and how they are told apart."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

__all__ = ["explain_foreign_file"]

_MAX_NAME = 80
_TUNE = (
    "env is environment, run is algorithm, config is param_space and num_samples is "
    "search.num_samples here, all at the top level"
)
_ZOO = (
    "a spec names environment and algorithm; hyperparameters stand under param_space, with RLlib's "
    "names, and n_timesteps is stop.num_env_steps_sampled_lifetime"
)
_WANDB = (
    "a spec names environment and algorithm; parameters is param_space, {values: […]} is "
    "{choice: […]}, metric is selection.metric, early_terminate is scheduler"
)


def explain_foreign_file(data: Mapping[str, Any]) -> tuple[str, str] | None:
    """The key by which another program's file is known, and how a spec says the same.

    Returns:
        None for a spec, however wrong.
    """
    if "environment" in data or "algorithm" in data:
        return None
    if "parameters" in data and data.keys() & {"method", "program"}:
        return "parameters", _explain("this is a sweep of Weights & Biases", _WANDB)
    for key, value in data.items():
        if not isinstance(value, Mapping):
            continue
        if "run" in value and value.keys() & {"env", "config", "stop"}:
            return key, _explain("this is an experiment of Ray Tune", _TUNE, value.get("env"))
        if value.keys() & {"n_timesteps", "policy"}:
            return key, _explain("these are RL Zoo's hyperparameters", _ZOO, key)
    return None


def _explain(what: str, how: str, env: object = None) -> str:
    is_name = isinstance(env, str) and env.isprintable() and len(env) <= _MAX_NAME
    name = shlex.quote(str(env)) if is_name else "ENVIRONMENT"
    return f"{what}: {how}; `sweeper init {name}` writes a spec to start from"
