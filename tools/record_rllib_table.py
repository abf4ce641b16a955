"""Record the installed RLlib's keys and defaults in ``sweeper/spec/keys/rllib.json``.

Run it after raising Ray's version and read the diff: a new key needs a domain in
``sweeper/spec/keys/domains.py`` unless its type is enough.

    python tools/record_rllib_table.py
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import ray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.registry import ALGORITHMS
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

TABLE = Path(__file__).parents[1] / "sweeper" / "spec" / "keys" / "rllib.json"

# Those that learn from an environment on the new API stack; sweeper/spec/keys/names.py says why
# the others are left out.
RECORDED = ("PPO", "DQN", "SAC", "IMPALA", "APPO")

# Hyperparameters of AlgorithmConfig, which every algorithm has.
COMMON = (
    "batch_mode",
    "clip_actions",
    "explore",
    "gamma",
    "grad_clip",
    "grad_clip_by",
    "log_gradients",
    "lr",
    "min_sample_timesteps_per_iteration",
    "min_time_s_per_iteration",
    "min_train_timesteps_per_iteration",
    "minibatch_size",
    "normalize_actions",
    "num_env_runners",
    "num_envs_per_env_runner",
    "num_epochs",
    "num_learners",
    "rollout_fragment_length",
    "shuffle_batch_per_epoch",
    "torch_skip_nan_gradients",
    "train_batch_size_per_learner",
)

DEPRECATED = -1  # ray/rllib/utils/deprecation.py's DEPRECATED_VALUE


def record() -> dict[str, Any]:
    """The table for the installed version."""
    return {
        "ray": ray.__version__,
        "algorithms": {name: _record_algorithm(name) for name in RECORDED},
        "model_config": {
            field.name: getattr(DefaultModelConfig(), field.name)
            for field in dataclasses.fields(DefaultModelConfig)
        },
    }


def _record_algorithm(name: str) -> dict[str, Any]:
    config = ALGORITHMS[name]()[1]
    base = vars(AlgorithmConfig())
    own = {
        key: value
        for key, value in vars(config).items()
        if key not in base and not key.startswith("_") and value is not DEPRECATED
    }
    defaults = {key: getattr(config, key) for key in COMMON} | own
    kept = {key: _plain(value) for key, value in defaults.items() if _is_plain(value)}
    others = {key for key in config.to_dict() if not key.startswith("_")} - kept.keys()
    # RLlib computes the network's defaults from the algorithm: vf_share_layers differs.
    module = {key: _plain(value) for key, value in config.model_config.items() if _is_plain(value)}
    names = {field.name for field in dataclasses.fields(DefaultModelConfig)}
    return {
        "defaults": dict(sorted(kept.items())),
        "model_config": {key: module[key] for key in sorted(module) if key in names},
        "others": sorted(others),
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(item) for item in value.values())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(json.dumps(record(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"wrote {TABLE}")  # noqa: T201 - a script
