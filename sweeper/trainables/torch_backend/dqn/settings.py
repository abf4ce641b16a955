"""Read DQN's hyperparameters; names, defaults and meaning are RLlib's.

Stable-Baselines3 makes ``gradient_steps`` updates every ``train_freq`` steps of each of ``n_envs``
environments. Here that is ``rollout_fragment_length: train_freq`` with ``training_intensity:
gradient_steps * batch size / (train_freq * n_envs)``, the steps replayed per step taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.errors import ConfigurationRefusedError
from sweeper.spec.keys.foreign import dead_network_reason
from sweeper.spec.keys.names import defaults
from sweeper.trainables.torch_backend.architecture import MODEL_CONFIG_DEFAULTS
from sweeper.trainables.torch_backend.hyperparameters import (
    Configuration,
    complete,
    is_number,
    is_whole,
)
from sweeper.trainables.torch_backend.replay.settings import (
    PRIORITISED,
    REPLAY_DEFAULTS,
    UNIFORM,
    ReplaySettings,
)
from sweeper.trainables.torch_backend.schedules import Schedule

__all__ = ["DQN_DEFAULTS", "SCHEDULED_KEYS", "DQNSettings", "read_settings"]

DQN_DEFAULTS: Mapping[str, Any] = {
    **defaults("DQN", "torch"),
    "metrics_num_episodes_for_smoothing": 100,
    "model_config": {
        key: value
        for key, value in MODEL_CONFIG_DEFAULTS.items()
        if dead_network_reason("DQN", key) is None
    },
}

SCHEDULED_KEYS = ("lr", "epsilon")

_TD_LOSSES = ("huber", "mse")


@dataclass(frozen=True)
class DQNSettings:
    """A checked configuration; the names are RLlib's where the meaning is the same.

    A round collects some fragments with every sub-environment, then makes some updates.

    Attributes:
        grad_clip: None for no clipping, as RLlib reads null and 0.
        envs: sub-environments of each replica.
        batch: rows of one update.
        fragment_steps: steps of each sub-environment in one fragment.
        fragments: fragments of one round.
        updates: updates of one round.
        learning_starts: env steps to be collected before the first update.
        iteration_steps: an iteration ends with the first round that reaches this many env steps.
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
        """Env steps of one replica in one round."""
        return self.fragments * self.fragment_steps * self.envs


def read_settings(configuration: Mapping[str, Any]) -> DQNSettings:
    """Check a configuration and fill in the defaults.

    Raises:
        ConfigurationRefusedError: a key or a value is not supported, or values contradict each
            other.
    """
    given = complete("DQN", configuration, DQN_DEFAULTS)
    n_step = _read_n_step(given["n_step"])
    envs = given.whole("num_envs_per_env_runner")
    batch = given.whole("train_batch_size_per_learner")
    fragment_steps = _read_fragment(given.whole_or_auto("rollout_fragment_length"), n_step)
    fragments, updates = _divide_rounds(given["training_intensity"], batch, fragment_steps * envs)
    atoms = given.whole("num_atoms")
    v_min, v_max = (given.number(key, minimum=-math.inf) for key in ("v_min", "v_max"))
    if atoms > 1 and not v_min < v_max:
        raise ConfigurationRefusedError(f"v_min {v_min} is not below v_max {v_max}")
    return DQNSettings(
        lr=given.schedule("lr"),
        epsilon=given.schedule("epsilon", maximum=1.0),
        **given.grad_clip(),
        envs=envs,
        batch=batch,
        fragment_steps=fragment_steps,
        fragments=fragments,
        updates=updates,
        learning_starts=given.whole("num_steps_sampled_before_learning_starts", minimum=0),
        target_network_update_freq=given.number("target_network_update_freq"),
        tau=given.share("tau"),
        **given.switches("double_q", "dueling"),
        num_atoms=atoms,
        v_min=v_min,
        v_max=v_max,
        td_error_loss_fn=given.choice("td_error_loss_fn", _TD_LOSSES),
        replay=_read_replay(given["replay_buffer_config"], n_step, given.share("gamma")),
        iteration_steps=given.whole("min_sample_timesteps_per_iteration", minimum=0),
        model_config=given["model_config"],
    )


def _read_n_step(given: Any) -> tuple[int, int]:
    """Read a number, or a range with both ends included (RLlib excludes the upper one)."""
    ends = (given, given) if is_whole(given) else given
    if (
        not isinstance(ends, list | tuple)
        or len(ends) != 2
        or not all(map(is_whole, ends))
        or ends[0] > ends[1]
    ):
        raise ConfigurationRefusedError(
            f"n_step is a whole number from 1 on, or a range [min, max], not {given!r}"
        )
    return int(ends[0]), int(ends[1])


def _read_fragment(given: int | None, n_step: tuple[int, int]) -> int:
    if given is None:
        return n_step[1]
    if given < n_step[1]:
        raise ConfigurationRefusedError(
            f"rollout_fragment_length {given} is less than n_step {n_step[1]}; use auto"
        )
    return given


def _divide_rounds(intensity: Any, batch: int, fragment: int) -> tuple[int, int]:
    """Return fragments and updates of one round, as `calculate_rr_weights` in RLlib's dqn.py."""
    if intensity is None:
        return 1, 1
    if not is_number(intensity) or not intensity > 0:
        raise ConfigurationRefusedError(
            f"training_intensity is a number above 0, not {intensity!r}"
        )
    weight = intensity / (batch / fragment)
    return (round(1 / weight), 1) if weight < 1 else (1, round(weight))


def _read_replay(given: Any, n_step: tuple[int, int], gamma: float) -> ReplaySettings:
    key = "replay_buffer_config"
    if not isinstance(given, Mapping):
        raise ConfigurationRefusedError(f"{key} is a mapping, not {given!r}")
    kind = given.get("type", PRIORITISED)
    if kind not in REPLAY_DEFAULTS:
        raise ConfigurationRefusedError(
            f"{key}.type is {PRIORITISED} or {UNIFORM} on backend torch, not {kind!r}; "
            "backend: rllib has others"
        )
    defaults = REPLAY_DEFAULTS[kind]
    for name in given:
        if name not in defaults:
            raise ConfigurationRefusedError(
                f"{key}.{name} is not supported with {kind} on backend torch; it takes "
                f"{', '.join(defaults)}"
            )
    replay = Configuration({**defaults, **given}, prefix=f"{key}.")
    return ReplaySettings(
        capacity=replay.whole("capacity"),
        alpha=replay.number("alpha") if kind == PRIORITISED else None,
        beta=replay.number("beta") if kind == PRIORITISED else 0.0,
        n_step=n_step,
        gamma=gamma,
    )
