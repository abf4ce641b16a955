"""PPO's hyperparameters on the torch backend: RLlib's names, defaults and meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.trainables.architectures import MODEL_CONFIG_DEFAULTS
from sweeper.trainables.replicas import ConfigurationRefusedError
from sweeper.trainables.schedules import Schedule, parse_schedule

__all__ = ["PPO_DEFAULTS", "SCHEDULED_KEYS", "SUPPORTED_KEYS", "PPOSettings", "read_settings"]

# A test holds these against PPOConfig() of the installed RLlib; num_env_runners departs.
PPO_DEFAULTS: Mapping[str, Any] = {
    "lr": 5e-5,
    "gamma": 0.99,
    "lambda_": 1.0,
    "clip_param": 0.3,
    "vf_clip_param": 10.0,
    "use_critic": True,
    "use_kl_loss": True,
    "kl_coeff": 0.2,
    "kl_target": 0.01,
    "vf_loss_coeff": 1.0,
    "entropy_coeff": 0.0,
    "grad_clip": None,
    "grad_clip_by": "global_norm",
    "num_epochs": 30,
    "minibatch_size": 128,
    "shuffle_batch_per_epoch": True,
    "train_batch_size_per_learner": 4000,
    "num_envs_per_env_runner": 1,
    "rollout_fragment_length": "auto",
    "normalize_actions": True,
    "clip_actions": False,
    "metrics_num_episodes_for_smoothing": 100,
    "model_config": MODEL_CONFIG_DEFAULTS,
    # Only with these values: a spec may spell them out.
    "use_gae": True,
    "batch_mode": "truncate_episodes",
    "num_env_runners": 0,
    "num_learners": 0,
    "explore": True,
    "torch_skip_nan_gradients": False,
}

SUPPORTED_KEYS = frozenset(PPO_DEFAULTS)

# RLlib schedules the first two; the others are constants there.
SCHEDULED_KEYS = ("lr", "entropy_coeff", "clip_param", "vf_clip_param", "vf_loss_coeff")

_FIXED_KEYS = (
    "use_gae",
    "batch_mode",
    "num_env_runners",
    "num_learners",
    "explore",
    "torch_skip_nan_gradients",
)
_ALIASES: Mapping[str, str] = {
    "lambda": "lambda_",
    "train_batch_size": "train_batch_size_per_learner",
}
_GRAD_CLIPS = ("global_norm", "norm", "value")
_BATCH_TOLERANCE = 0.1  # RLlib's (validate_train_batch_size_vs_rollout_fragment_length)


@dataclass(frozen=True)
class PPOSettings:
    """One configuration, checked; the names are RLlib's where they are the same thing.

    Attributes:
        grad_clip: None where RLlib does not clip: nothing given, or 0.
        envs: sub-environments of each replica.
        fragment_steps: of each sub-environment before episodes are cut.
        fragments: of an iteration; each has ``fragment_steps * envs`` rows.
    """

    lr: Schedule
    entropy_coeff: Schedule
    clip_param: Schedule
    vf_clip_param: Schedule
    vf_loss_coeff: Schedule
    gamma: float
    lambda_: float
    use_critic: bool
    use_kl_loss: bool
    kl_coeff: float
    kl_target: float
    grad_clip: float | None
    grad_clip_by: str
    num_epochs: int
    minibatch_size: int
    shuffle_batch_per_epoch: bool
    envs: int
    fragment_steps: int
    fragments: int
    normalize_actions: bool
    clip_actions: bool
    model_config: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """Env steps of one replica in one iteration: the rows of its train batch."""
        return self.fragments * self.fragment_steps * self.envs


def read_settings(configuration: Mapping[str, Any]) -> PPOSettings:
    """Check a configuration and fill in the defaults.

    Raises:
        ConfigurationRefusedError: a key or a value that this backend does not carry out, or
            values that don't go together.
    """
    given = _with_defaults(configuration)
    for key in _FIXED_KEYS:
        if given[key] != PPO_DEFAULTS[key]:
            raise ConfigurationRefusedError(
                f"{key}: {given[key]!r} is not carried out on backend torch; backend: rllib has it"
            )
    envs = _whole(given, "num_envs_per_env_runner")
    batch = _whole(given, "train_batch_size_per_learner")
    steps, fragments = _divide_batch(batch, envs, given["rollout_fragment_length"])
    minibatch = given["minibatch_size"]
    # RLlib takes the whole batch at once if no minibatch size is set.
    minibatch = steps * envs * fragments if minibatch is None else _whole(given, "minibatch_size")
    if given["minibatch_size"] is not None and minibatch > batch:
        raise ConfigurationRefusedError(
            f"minibatch_size {minibatch} is larger than train_batch_size_per_learner {batch}"
        )
    clip_by = given["grad_clip_by"]
    if clip_by not in _GRAD_CLIPS:
        raise ConfigurationRefusedError(
            f"grad_clip_by is one of {', '.join(_GRAD_CLIPS)}, not {clip_by!r}"
        )
    grad_clip = given["grad_clip"]
    schedules = {key: _not_negative(key, parse_schedule(key, given[key])) for key in SCHEDULED_KEYS}
    return PPOSettings(
        **schedules,
        gamma=_share(given, "gamma"),
        lambda_=_share(given, "lambda_"),
        use_critic=_switch(given, "use_critic"),
        use_kl_loss=_switch(given, "use_kl_loss"),
        kl_coeff=_number(given, "kl_coeff"),
        kl_target=_number(given, "kl_target"),
        grad_clip=_number(given, "grad_clip") if grad_clip else None,
        grad_clip_by=clip_by,
        num_epochs=_whole(given, "num_epochs"),
        minibatch_size=minibatch,
        shuffle_batch_per_epoch=_switch(given, "shuffle_batch_per_epoch"),
        envs=envs,
        fragment_steps=steps,
        fragments=fragments,
        normalize_actions=_switch(given, "normalize_actions"),
        clip_actions=_switch(given, "clip_actions"),
        model_config=given["model_config"] or {},
    )


def _with_defaults(configuration: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {**PPO_DEFAULTS, "model_config": {}}
    for name, value in configuration.items():
        key = _ALIASES.get(name, name)
        if key not in SUPPORTED_KEYS:
            raise ConfigurationRefusedError(
                f"{name} is not carried out by PPO on backend torch; backend: rllib has it"
            )
        if key != name and key in configuration:
            raise ConfigurationRefusedError(f"{name} and {key} are the same; give one of them")
        given[key] = value
    return given


def _divide_batch(batch: int, envs: int, given: Any) -> tuple[int, int]:
    """Steps of a fragment, and fragments of an iteration, as RLlib's local runner takes them.

    The runner samples fragments until it has at least the train batch (execution/rollout_ops.py);
    ``auto`` is the whole batch in one, rounded up.
    """
    if given == "auto":
        return math.ceil(batch / envs), 1
    if not _is_whole(given):
        raise ConfigurationRefusedError(
            f"rollout_fragment_length is a whole number or auto, not {given!r}"
        )
    fragments = math.ceil(batch / (given * envs))
    if fragments * given * envs - batch > _BATCH_TOLERANCE * batch:
        raise ConfigurationRefusedError(
            f"train_batch_size_per_learner {batch} can't be reached within 10 % by fragments of "
            f"{given} steps x {envs} environments; use rollout_fragment_length: auto or "
            f"{max(1, batch // envs)}"
        )
    return given, fragments


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _whole(given: Mapping[str, Any], key: str) -> int:
    value = given[key]
    if not _is_whole(value):
        raise ConfigurationRefusedError(f"{key} is a whole number from 1 on, not {value!r}")
    return int(value)


def _number(given: Mapping[str, Any], key: str) -> float:
    value = given[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0:
        raise ConfigurationRefusedError(f"{key} is a number from 0 on, not {value!r}")
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


def _not_negative(key: str, schedule: Schedule) -> Schedule:
    if min(schedule.values) < 0:
        raise ConfigurationRefusedError(f"{key} is never negative; found {min(schedule.values)}")
    return schedule
