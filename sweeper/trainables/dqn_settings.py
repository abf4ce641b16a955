"""DQN's hyperparameters on the torch backend: RLlib's names, defaults and meaning.

Stable-Baselines3's rhythm, ``gradient_steps`` updates every ``train_freq`` steps, is here
``rollout_fragment_length: train_freq`` with ``training_intensity: gradient_steps * batch size /
train_freq``: the steps replayed for each step taken. (With several environments ``train_freq``
counts the steps of each, in both libraries.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.trainables.architectures import MODEL_CONFIG_DEFAULTS
from sweeper.trainables.replay import ReplaySettings
from sweeper.trainables.replicas import ConfigurationRefusedError
from sweeper.trainables.schedules import Schedule, parse_schedule

__all__ = ["DQN_DEFAULTS", "SCHEDULED_KEYS", "SUPPORTED_KEYS", "DQNSettings", "read_settings"]

_IGNORED_BY_Q_NETWORKS: Mapping[str, str] = {
    "free_log_std": "there is no log deviation",
    "head_fcnet_use_layernorm": "its heads are built without it",
    "log_std_clip_param": "there is no log deviation",
    "vf_share_layers": "both heads are always on one encoder",
}
_HEAD_INITIALISERS = frozenset(
    f"head_fcnet_{what}_initializer{kwargs}"
    for what in ("kernel", "bias")
    for kwargs in ("", "_kwargs")
)

_PRIORITISED, _UNIFORM = "PrioritizedEpisodeReplayBuffer", "EpisodeReplayBuffer"
# RLlib's: the algorithm's for its own type, the class's own for the other one.
_REPLAY_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    _PRIORITISED: {"type": _PRIORITISED, "capacity": 50_000, "alpha": 0.6, "beta": 0.4},
    _UNIFORM: {"type": _UNIFORM, "capacity": 10_000},
}

# A test holds these against DQNConfig() of the installed RLlib.
DQN_DEFAULTS: Mapping[str, Any] = {
    "lr": 5e-4,
    "gamma": 0.99,
    "epsilon": [(0, 1.0), (10000, 0.05)],
    "grad_clip": 40.0,
    "grad_clip_by": "global_norm",
    "train_batch_size_per_learner": 32,
    "num_envs_per_env_runner": 1,
    "rollout_fragment_length": "auto",
    "training_intensity": None,
    "num_steps_sampled_before_learning_starts": 1000,
    "target_network_update_freq": 500,
    "tau": 1.0,
    "double_q": True,
    "dueling": True,
    "n_step": 1,
    "num_atoms": 1,
    "v_min": -10.0,
    "v_max": 10.0,
    "td_error_loss_fn": "huber",
    "replay_buffer_config": _REPLAY_DEFAULTS[_PRIORITISED],
    "min_sample_timesteps_per_iteration": 1000,
    "metrics_num_episodes_for_smoothing": 100,
    "model_config": {
        key: value
        for key, value in MODEL_CONFIG_DEFAULTS.items()
        if key not in _IGNORED_BY_Q_NETWORKS
    },
    # Only with these values: a spec may spell them out.
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
}

SUPPORTED_KEYS = frozenset(DQN_DEFAULTS)

SCHEDULED_KEYS = ("lr", "epsilon")

_FIXED_KEYS = (
    "batch_mode",
    "burn_in_len",
    "clip_actions",
    "explore",
    "minibatch_size",
    "normalize_actions",
    "num_env_runners",
    "num_epochs",
    "num_learners",
    "shuffle_batch_per_epoch",
    "torch_skip_nan_gradients",
)

# Accepted by RLlib and without effect on its new API stack, each with what has the effect.
_DEAD_KEYS: Mapping[str, str] = {
    "adam_epsilon": "Adam's epsilon is 1e-8",
    "before_learn_on_batch": "batches are learned from as they are drawn",
    "categorical_distribution_temperature": "the greedy action is taken",
    "exploration_config": "epsilon says how to explore",
    "hiddens": "model_config.head_fcnet_hiddens has the heads' layers",
    "model": "model_config has the network",
    "noisy": "there are no noisy layers; epsilon says how to explore",
    "observation_filter": "observations are taken as they are",
    "optimizer": "lr has the step size",
    "sample_collector": "replay_buffer_config has the buffer",
    "sigma0": "there are no noisy layers",
    "store_buffer_in_checkpoints": "RLlib never stores the buffer",
}
_ALIASES: Mapping[str, str] = {"train_batch_size": "train_batch_size_per_learner"}
_GRAD_CLIPS = ("global_norm", "norm", "value")
_TD_LOSSES = ("huber", "mse")


@dataclass(frozen=True)
class DQNSettings:
    """One configuration, checked; the names are RLlib's where they are the same thing.

    Attributes:
        grad_clip: None where RLlib does not clip: nothing given, or 0.
        envs: sub-environments of each replica.
        batch: rows of an update.
        fragment_steps: of each sub-environment before it is asked whether to learn.
        fragments: collected before each round of updates.
        updates: of each round.
        learning_starts: env steps in replay before there are any updates.
        iteration_steps: an iteration ends at the first round that reaches so many env steps.
    """

    lr: Schedule
    epsilon: Schedule
    grad_clip: float | None
    grad_clip_by: str
    envs: int
    batch: int
    fragment_steps: int
    fragments: int
    updates: int
    learning_starts: int
    target_network_update_freq: float
    tau: float
    double_q: bool
    dueling: bool
    num_atoms: int
    v_min: float
    v_max: float
    td_error_loss_fn: str
    replay: ReplaySettings
    iteration_steps: int
    model_config: Mapping[str, Any]

    @property
    def round_steps(self) -> int:
        """Env steps of one replica between two rounds of updates."""
        return self.fragments * self.fragment_steps * self.envs


def read_settings(configuration: Mapping[str, Any]) -> DQNSettings:
    """Check a configuration and fill in the defaults.

    Raises:
        ConfigurationRefusedError: a key or a value that this backend does not carry out, or
            values that don't go together.
    """
    given = _with_defaults(configuration)
    for key in _FIXED_KEYS:
        if given[key] != DQN_DEFAULTS[key]:
            raise ConfigurationRefusedError(
                f"{key}: {given[key]!r} is not carried out on backend torch; backend: rllib has it"
            )
    n_step = _read_n_step(given["n_step"])
    envs = _whole(given, "num_envs_per_env_runner")
    batch = _whole(given, "train_batch_size_per_learner")
    fragment_steps = _read_fragment(given["rollout_fragment_length"], n_step)
    fragments, updates = _divide_rounds(given["training_intensity"], batch, fragment_steps * envs)
    grad_clip = given["grad_clip"]
    atoms = _whole(given, "num_atoms")
    v_min, v_max = _number(given, "v_min", -float("inf")), _number(given, "v_max", -float("inf"))
    if atoms > 1 and not v_min < v_max:
        raise ConfigurationRefusedError(f"v_min {v_min} is not below v_max {v_max}")
    return DQNSettings(
        lr=_within("lr", parse_schedule("lr", given["lr"]), float("inf")),
        epsilon=_within("epsilon", parse_schedule("epsilon", given["epsilon"]), 1.0),
        grad_clip=_number(given, "grad_clip") if grad_clip else None,
        grad_clip_by=_choice(given, "grad_clip_by", _GRAD_CLIPS),
        envs=envs,
        batch=batch,
        fragment_steps=fragment_steps,
        fragments=fragments,
        updates=updates,
        learning_starts=_whole(given, "num_steps_sampled_before_learning_starts", least=0),
        target_network_update_freq=_number(given, "target_network_update_freq"),
        tau=_share(given, "tau"),
        double_q=_switch(given, "double_q"),
        dueling=_switch(given, "dueling"),
        num_atoms=atoms,
        v_min=v_min,
        v_max=v_max,
        td_error_loss_fn=_choice(given, "td_error_loss_fn", _TD_LOSSES),
        replay=_read_replay(given["replay_buffer_config"], n_step, _share(given, "gamma")),
        iteration_steps=_whole(given, "min_sample_timesteps_per_iteration", least=0),
        model_config=_read_model_config(given["model_config"] or {}),
    )


def _with_defaults(configuration: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {**DQN_DEFAULTS, "model_config": {}}
    for name, value in configuration.items():
        key = _ALIASES.get(name, name)
        if key in _DEAD_KEYS:
            raise ConfigurationRefusedError(
                f"{key}: RLlib's DQN takes it and ignores it ({_DEAD_KEYS[key]}); leave it out"
            )
        if key not in SUPPORTED_KEYS:
            raise ConfigurationRefusedError(
                f"{name} is not carried out by DQN on backend torch; backend: rllib has it"
            )
        if key != name and key in configuration:
            raise ConfigurationRefusedError(f"{name} and {key} are the same; give one of them")
        given[key] = value
    return given


def _read_n_step(given: Any) -> tuple[int, int]:
    """A number, or a range with both ends included (RLlib leaves out the upper one)."""
    ends = (given, given) if _is_whole(given) else given
    if (
        not isinstance(ends, list | tuple)
        or len(ends) != 2
        or not all(map(_is_whole, ends))
        or ends[0] > ends[1]
    ):
        raise ConfigurationRefusedError(
            f"n_step is a whole number from 1 on, or a range [least, most], not {given!r}"
        )
    return int(ends[0]), int(ends[1])


def _read_fragment(given: Any, n_step: tuple[int, int]) -> int:
    if given == "auto":
        return n_step[1]
    if not _is_whole(given):
        raise ConfigurationRefusedError(
            f"rollout_fragment_length is a whole number or auto, not {given!r}"
        )
    if given < n_step[1]:
        raise ConfigurationRefusedError(
            f"rollout_fragment_length {given} is less than n_step {n_step[1]}; use auto"
        )
    return int(given)


def _divide_rounds(intensity: Any, batch: int, fragment: int) -> tuple[int, int]:
    """Fragments before a round of updates, and updates of the round (RLlib's dqn.py)."""
    if intensity is None:
        return 1, 1
    if not _is_number(intensity) or not intensity > 0:
        raise ConfigurationRefusedError(
            f"training_intensity is a number above 0, not {intensity!r}"
        )
    weight = intensity / (batch / fragment)
    return (round(1 / weight), 1) if weight < 1 else (1, round(weight))


def _read_replay(given: Any, n_step: tuple[int, int], gamma: float) -> ReplaySettings:
    key = "replay_buffer_config"
    if not isinstance(given, Mapping):
        raise ConfigurationRefusedError(f"{key} is a mapping, not {given!r}")
    kind = given.get("type", _PRIORITISED)
    if kind not in _REPLAY_DEFAULTS:
        raise ConfigurationRefusedError(
            f"{key}.type is {_PRIORITISED} or {_UNIFORM} on backend torch, not {kind!r}; "
            "backend: rllib has others"
        )
    defaults = _REPLAY_DEFAULTS[kind]
    for name in given:
        if name not in defaults:
            raise ConfigurationRefusedError(
                f"{key}.{name} is not carried out with {kind} on backend torch; it takes "
                f"{', '.join(defaults)}"
            )
    replay = {**defaults, **given}
    return ReplaySettings(
        capacity=_whole(replay, "capacity", where=f"{key}."),
        alpha=_number(replay, "alpha", where=f"{key}.") if kind == _PRIORITISED else None,
        beta=_number(replay, "beta", where=f"{key}.") if kind == _PRIORITISED else 0.0,
        n_step=n_step,
        gamma=gamma,
    )


def _read_model_config(given: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in given:
        if key in _IGNORED_BY_Q_NETWORKS:
            raise ConfigurationRefusedError(
                f"model_config.{key}: RLlib's DQN takes it and ignores it "
                f"({_IGNORED_BY_Q_NETWORKS[key]}); leave it out"
            )
        if key in _HEAD_INITIALISERS:
            raise ConfigurationRefusedError(
                f"model_config.{key} is not carried out on backend torch; backend: rllib has it"
            )
    return given


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _is_whole(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _whole(given: Mapping[str, Any], key: str, *, least: int = 1, where: str = "") -> int:
    value = given[key]
    if not _is_whole(value, least):
        raise ConfigurationRefusedError(
            f"{where}{key} is a whole number from {least} on, not {value!r}"
        )
    return int(value)


def _number(given: Mapping[str, Any], key: str, least: float = 0, *, where: str = "") -> float:
    value = given[key]
    if not _is_number(value) or value < least:
        raise ConfigurationRefusedError(f"{where}{key} is a number from {least} on, not {value!r}")
    return float(value)


def _share(given: Mapping[str, Any], key: str) -> float:
    value = _number(given, key)
    if value > 1:
        raise ConfigurationRefusedError(f"{key} is a number from 0 to 1, not {value!r}")
    return value


def _switch(given: Mapping[str, Any], key: str) -> bool:
    value = given[key]
    if not isinstance(value, bool):
        raise ConfigurationRefusedError(f"{key} is true or false, not {value!r}")
    return value


def _choice(given: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = given[key]
    if value not in allowed:
        raise ConfigurationRefusedError(f"{key} is one of {', '.join(allowed)}, not {value!r}")
    return str(value)


def _within(key: str, schedule: Schedule, most: float) -> Schedule:
    for value in schedule.values:
        if not 0 <= value <= most:
            raise ConfigurationRefusedError(f"{key} lies from 0 to {most:g}; found {value}")
    return schedule
