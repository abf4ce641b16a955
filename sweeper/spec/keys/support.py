"""Which of RLlib's algorithms and keys each backend carries out, and how.

The keys and their defaults are RLlib's on every backend (``data/rllib.json``); a backend's table
says what it leaves out or adds. Tests hold torch's against the trainer that reads the keys, which
can't be imported here: it brings torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BACKEND_NAMES", "KeyTable", "key_table", "supports"]


@dataclass(frozen=True)
class KeyTable:
    """What a backend makes of one algorithm's keys.

    Attributes:
        keys: the keys that it carries out; None: all of RLlib's.
        network: the same below ``model_config``.
        fixed: keys that have one value only, and it.
        scheduled: keys that take a schedule here and not on RLlib.
        words: the allowed texts of a key, by its dotted name, where they differ from RLlib's.
    """

    keys: frozenset[str] | None = None
    network: frozenset[str] | None = None
    fixed: Mapping[str, Any] = field(default_factory=dict)
    scheduled: frozenset[str] = frozenset()
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


_TORCH_ACTIVATIONS = ("relu", "tanh", "elu", "silu", "swish", "linear")
_TORCH_PPO_NETWORK = frozenset(
    {
        "fcnet_hiddens", "fcnet_activation", "fcnet_kernel_initializer",
        "fcnet_kernel_initializer_kwargs", "fcnet_bias_initializer",
        "fcnet_bias_initializer_kwargs", "fcnet_use_layernorm", "conv_filters",
        "conv_activation", "conv_kernel_initializer", "conv_kernel_initializer_kwargs",
        "conv_bias_initializer", "conv_bias_initializer_kwargs", "head_fcnet_hiddens",
        "head_fcnet_activation", "head_fcnet_use_layernorm", "free_log_std",
        "log_std_clip_param", "vf_share_layers",
    }
)  # fmt: skip
_TORCH_PPO = KeyTable(
    keys=frozenset(
        {
            "lr", "gamma", "lambda_", "clip_param", "vf_clip_param", "use_critic", "use_kl_loss",
            "kl_coeff", "kl_target", "vf_loss_coeff", "entropy_coeff", "grad_clip",
            "grad_clip_by", "num_epochs", "minibatch_size", "shuffle_batch_per_epoch",
            "train_batch_size_per_learner", "num_envs_per_env_runner",
            "rollout_fragment_length", "normalize_actions", "clip_actions", "model_config",
            "use_gae", "batch_mode", "num_env_runners", "num_learners", "explore",
            "torch_skip_nan_gradients",
        }
    ),
    network=_TORCH_PPO_NETWORK,
    fixed={
        "use_gae": True,
        "batch_mode": "truncate_episodes",
        "num_env_runners": 0,
        "num_learners": 0,
        "explore": True,
        "torch_skip_nan_gradients": False,
    },
    scheduled=frozenset({"clip_param", "vf_clip_param", "vf_loss_coeff"}),
    words={
        f"model_config.{part}_activation": _TORCH_ACTIVATIONS
        for part in ("fcnet", "conv", "head_fcnet")
    },
)  # fmt: skip

_TORCH_DQN = KeyTable(
    keys=frozenset(
        {
            "lr", "gamma", "epsilon", "grad_clip", "grad_clip_by",
            "train_batch_size_per_learner", "num_envs_per_env_runner",
            "rollout_fragment_length", "training_intensity",
            "num_steps_sampled_before_learning_starts", "target_network_update_freq", "tau",
            "double_q", "dueling", "n_step", "num_atoms", "v_min", "v_max", "td_error_loss_fn",
            "replay_buffer_config", "min_sample_timesteps_per_iteration", "model_config",
            "batch_mode", "burn_in_len", "clip_actions", "explore", "minibatch_size",
            "normalize_actions", "num_env_runners", "num_epochs", "num_learners",
            "shuffle_batch_per_epoch", "torch_skip_nan_gradients",
        }
    ),
    network=_TORCH_PPO_NETWORK
    - {"free_log_std", "log_std_clip_param", "vf_share_layers", "head_fcnet_use_layernorm"},
    fixed={
        "batch_mode": "truncate_episodes",
        "burn_in_len": 0,
        "clip_actions": False,
        "explore": True,
        "minibatch_size": None,
        "normalize_actions": True,
        "num_env_runners": 0,
        "num_epochs": 1,
        "num_learners": 0,
        "shuffle_batch_per_epoch": False,
        "torch_skip_nan_gradients": False,
    },
    words={
        f"model_config.{part}_activation": _TORCH_ACTIVATIONS
        for part in ("fcnet", "conv", "head_fcnet")
    },
)  # fmt: skip

_ALL = KeyTable()
_TABLES: Mapping[str, Mapping[str, KeyTable]] = {
    "torch": {"PPO": _TORCH_PPO, "DQN": _TORCH_DQN},
    "rllib": {},
}
BACKEND_NAMES: tuple[str, ...] = tuple(_TABLES)


def supports(backend: str, algorithm: str) -> bool:
    """Whether a backend has an algorithm; RLlib has all that a spec can name."""
    return backend == "rllib" or algorithm in _TABLES[backend]


def key_table(backend: str, algorithm: str) -> KeyTable:
    """What a backend makes of an algorithm's keys."""
    return _TABLES[backend].get(algorithm, _ALL)
