"""PPO's hyperparameters on the torch backend, with RLlib's names, defaults and meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.errors import ConfigurationRefusedError
from sweeper.spec.keys.names import defaults
from sweeper.trainables.torch_backend.architecture import MODEL_CONFIG_DEFAULTS
from sweeper.trainables.torch_backend.hyperparameters import complete
from sweeper.trainables.torch_backend.schedules import Schedule

__all__ = ["PPO_DEFAULTS", "SCHEDULED_KEYS", "PPOSettings", "read_settings"]

PPO_DEFAULTS: Mapping[str, Any] = {
    **defaults("PPO", "torch"),
    "metrics_num_episodes_for_smoothing": 100,
    "model_config": MODEL_CONFIG_DEFAULTS,
}

# RLlib accepts schedules for the first two only.
SCHEDULED_KEYS = ("lr", "entropy_coeff", "clip_param", "vf_clip_param", "vf_loss_coeff")
_BATCH_TOLERANCE = 0.1  # as in RLlib (validate_train_batch_size_vs_rollout_fragment_length)


@dataclass(frozen=True)
class PPOSettings:
    """One checked configuration; names that RLlib has as well mean the same.

    Attributes:
        grad_clip: None: gradients are not clipped.
        envs: sub-environments per replica.
        fragment_steps: steps of each sub-environment in one fragment.
        fragments: fragments per iteration, each with ``fragment_steps * envs`` rows.
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
        """Rows of a replica's train batch: its env steps per iteration."""
        return self.fragments * self.fragment_steps * self.envs


def read_settings(configuration: Mapping[str, Any]) -> PPOSettings:
    """Check a configuration and fill in the defaults.

    Raises:
        ConfigurationRefusedError: this backend does not support a key or a value, or values
            contradict each other.
    """
    given = complete("PPO", configuration, PPO_DEFAULTS)
    envs = given.whole("num_envs_per_env_runner")
    batch = given.whole("train_batch_size_per_learner")
    steps, fragments = _divide_batch(batch, envs, given.whole_or_auto("rollout_fragment_length"))
    # Without a minibatch size RLlib takes the whole batch at once.
    minibatch = steps * envs * fragments
    if given["minibatch_size"] is not None:
        minibatch = given.whole("minibatch_size")
        if minibatch > batch:
            raise ConfigurationRefusedError(
                f"minibatch_size {minibatch} is larger than train_batch_size_per_learner {batch}"
            )
    schedules: dict[str, Any] = {key: given.schedule(key) for key in SCHEDULED_KEYS}
    return PPOSettings(
        **schedules,
        gamma=given.share("gamma"),
        lambda_=given.share("lambda_"),
        **given.switches("use_critic", "use_kl_loss", "shuffle_batch_per_epoch"),
        **given.switches("normalize_actions", "clip_actions"),
        kl_coeff=given.number("kl_coeff"),
        kl_target=given.number("kl_target"),
        **given.grad_clip(),
        num_epochs=given.whole("num_epochs"),
        minibatch_size=minibatch,
        envs=envs,
        fragment_steps=steps,
        fragments=fragments,
        model_config=given["model_config"],
    )


def _divide_batch(batch: int, envs: int, fragment: int | None) -> tuple[int, int]:
    """Steps per fragment and fragments per iteration, as in RLlib's local runner.

    The runner samples fragments until they make at least a train batch
    (execution/rollout_ops.py). None, for ``auto``, is one fragment for the whole batch.
    """
    if fragment is None:
        return math.ceil(batch / envs), 1
    fragments = math.ceil(batch / (fragment * envs))
    if fragments * fragment * envs - batch > _BATCH_TOLERANCE * batch:
        raise ConfigurationRefusedError(
            f"train_batch_size_per_learner {batch} can't be reached within 10 % by fragments of "
            f"{fragment} steps x {envs} environments; use rollout_fragment_length: auto or "
            f"{max(1, batch // envs)}"
        )
    return fragment, fragments
