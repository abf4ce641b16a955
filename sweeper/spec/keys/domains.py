"""The domain of each hyperparameter: checking a value and describing the allowed ones."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweeper.hints import did_you_mean, number_hint, show, switch_hint
from sweeper.spec.keys.network import BIAS_INITIALISERS, INITIALISERS, check_filters

__all__ = ["Domain", "check_value", "describe_domain", "domain_of"]

_MIN_NUMBER = -1e300  # the lower bound of a number that has none


@dataclass(frozen=True)
class Domain:
    """The values that a key takes."""

    lower: float = -math.inf
    upper: float = math.inf
    is_open: bool = False  # excludes the lower bound
    is_integer: bool = False
    is_bool: bool = False
    is_nullable: bool = False
    is_sizes: bool = False  # a list of layer sizes
    is_mapping: bool = False  # of an initialiser's arguments
    is_filters: bool = False  # of a convolutional network
    is_free: bool = False  # checked by RLlib only
    is_infinite: bool = False  # .inf switches the bound off
    has_schedule: bool = False
    has_range: bool = False  # [low, high]
    words: tuple[str, ...] | None = None  # allowed texts; () any

    @property
    def is_bounded(self) -> bool:
        """Whether it excludes some numbers."""
        return self.lower > _MIN_NUMBER or self.upper < math.inf

    @property
    def is_number(self) -> bool:
        """Whether it contains numbers."""
        return not (
            self.is_bool or self.is_sizes or self.is_free or self.is_mapping or self.is_filters
        ) and (self.words is None or self.is_integer or self.lower > -math.inf)


_POSITIVE = Domain(lower=0, is_open=True)
_NOT_NEGATIVE = Domain(lower=0)
_SHARE = Domain(lower=0, upper=1)
# Far more than training ever needs, and still safe for every library below.
_MAX_COUNT = 10**9
_COUNT = Domain(lower=1, upper=_MAX_COUNT, is_integer=True)
_LAYER = Domain(lower=1, upper=100_000, is_integer=True)
_COUNT_FROM_0 = Domain(lower=0, upper=_MAX_COUNT, is_integer=True)
_SIZES = Domain(is_sizes=True)
_LAYERS = Domain(is_sizes=True, lower=1)  # RLlib takes the last one for the output
_ACTIVATION = Domain(
    words=(
        "relu", "tanh", "elu", "silu", "swish", "linear", "ReLU", "Tanh", "ELU", "SiLU", "GELU",
        "LeakyReLU", "Mish",
    )
)  # fmt: skip
_LIMIT = replace(_POSITIVE, is_infinite=True)
_GAIN = Domain(lower=0, upper=1000, is_open=True, is_nullable=True)
_RATE = replace(_POSITIVE, has_schedule=True)

_DOMAINS: Mapping[str, Domain] = {
    **dict.fromkeys(("actor_lr", "alpha_lr", "critic_lr", "lr"), _RATE),
    **dict.fromkeys(
        (
            "num_epochs", "train_batch_size_per_learner", "num_envs_per_env_runner", "num_atoms",
            "broadcast_interval", "learner_queue_size", "num_gpu_loader_threads",
            "circular_buffer_num_batches", "circular_buffer_iterations_per_batch",
            "simple_queue_size", "model_config.lstm_cell_size", "model_config.max_seq_len",
            "replay_buffer_config.capacity",
        ),
        _COUNT,
    ),
    **dict.fromkeys(
        (
            "target_network_update_freq", "num_env_runners", "num_learners", "burn_in_len",
            "min_sample_timesteps_per_iteration", "min_train_timesteps_per_iteration",
            "num_steps_sampled_before_learning_starts",
        ),
        _COUNT_FROM_0,
    ),
    **{
        f"model_config.{part}_activation": _ACTIVATION
        for part in ("fcnet", "head_fcnet", "fusionnet", "conv")
    },
    "gamma": _SHARE,
    "lambda_": _SHARE,
    "clip_param": _POSITIVE,
    "vf_clip_param": _LIMIT,
    "kl_coeff": _NOT_NEGATIVE,
    "kl_target": _POSITIVE,
    "vf_loss_coeff": _NOT_NEGATIVE,
    "entropy_coeff": replace(_NOT_NEGATIVE, has_schedule=True),
    "epsilon": replace(_SHARE, has_schedule=True),
    "grad_clip": replace(_LIMIT, is_nullable=True),
    "grad_clip_by": Domain(words=("global_norm", "norm", "value")),
    "batch_mode": Domain(words=("truncate_episodes", "complete_episodes")),
    "td_error_loss_fn": Domain(words=("huber", "mse")),
    "tau": Domain(lower=0, upper=1, is_open=True),
    "minibatch_size": replace(_COUNT, is_nullable=True),
    "rollout_fragment_length": replace(_COUNT, words=("auto",)),
    "min_time_s_per_iteration": replace(_NOT_NEGATIVE, is_nullable=True),
    "training_intensity": replace(_POSITIVE, is_nullable=True),
    "n_step": replace(_COUNT, has_range=True),
    "initial_alpha": _POSITIVE,
    "target_entropy": Domain(lower=_MIN_NUMBER, words=("auto",), is_nullable=True),
    "vtrace_clip_rho_threshold": _LIMIT,
    "vtrace_clip_pg_rho_threshold": _LIMIT,
    "model_config.fcnet_hiddens": _LAYERS,
    "model_config.head_fcnet_hiddens": _SIZES,
    "model_config.fusionnet_hiddens": _LAYERS,
    "model_config.conv_filters": Domain(is_filters=True),
    "model_config.log_std_clip_param": _LIMIT,
    "model_config.policy_head_gain": _GAIN,
    "model_config.value_head_gain": _GAIN,
    "model_config.log_std_init": Domain(lower=-20, upper=20),  # log_std_clip_param's default
    "replay_buffer_config.alpha": _NOT_NEGATIVE,
    "replay_buffer_config.beta": _NOT_NEGATIVE,
    "replay_buffer_config.type": Domain(
        words=("PrioritizedEpisodeReplayBuffer", "EpisodeReplayBuffer")
    ),
}  # fmt: skip


def domain_of(name: str, fallback: Any) -> Domain:
    """The domain of a key by its dotted name, or else by its default's type."""
    if name in _DOMAINS:
        return _DOMAINS[name]
    if name.endswith("_initializer_kwargs"):
        return Domain(is_mapping=True, is_nullable=True)
    if name.endswith("_initializer"):
        words = BIAS_INITIALISERS if "_bias_" in name else INITIALISERS
        return Domain(words=words, is_nullable=True)
    if isinstance(fallback, bool):
        return Domain(is_bool=True)
    if isinstance(fallback, int):
        return _COUNT_FROM_0
    if isinstance(fallback, float):
        return Domain()
    if isinstance(fallback, str):
        return Domain(words=())
    return Domain(is_free=True)


def check_value(domain: Domain, value: Any) -> str | None:
    """Why a value is not in a domain; None if it is."""
    if domain.is_free or (value is None and domain.is_nullable):
        return None
    if domain.is_filters:
        return check_filters(value)
    if domain.has_schedule and isinstance(value, list):
        return _check_schedule(domain, value)
    if domain.has_range and isinstance(value, list):
        return _check_int_range(domain, value)
    if _is_in_domain(domain, value):
        return None
    hint = ""
    if domain.is_bool:
        hint = switch_hint(value)
    elif domain.is_number:
        hint = _number_hint(domain, value)
    if isinstance(value, str) and domain.words and not hint:
        hint = did_you_mean(value, domain.words)
    if domain.is_integer and isinstance(value, int) and value > domain.upper == _MAX_COUNT:
        hint = f", more than {_MAX_COUNT:,}"
    return f"must be {describe_domain(domain)}; found {show(value)}{hint}"


def _number_hint(domain: Domain, value: Any) -> str:
    """The number, or the schedule, that was meant; an empty string if that is unknown."""
    if isinstance(value, float) and value.is_integer() and _is_in_domain(domain, int(value)):
        return f"; write {int(value)}"
    start = re.fullmatch(r"lin_([0-9.]+(?:e-?[0-9]+)?)", value) if isinstance(value, str) else None
    if start is not None and domain.has_schedule:  # RL Zoo's notation
        return f"; a linear schedule is [[0, {start[1]}], [<last step>, 0]]"
    return number_hint(value)


def _is_in_domain(domain: Domain, value: Any) -> bool:
    if domain.is_bool:
        return isinstance(value, bool)
    if domain.is_mapping:
        return isinstance(value, Mapping)
    if domain.is_sizes:
        return (
            isinstance(value, list)
            and len(value) >= domain.lower
            and all(_is_in_domain(_LAYER, size) for size in value)
        )
    if isinstance(value, str):
        return domain.words is not None and (not domain.words or value in domain.words)
    if not domain.is_number or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if math.isnan(value) or (math.isinf(value) and not domain.is_infinite):
        return False
    if domain.is_integer and not isinstance(value, int):
        return False
    above = value > domain.lower if domain.is_open else value >= domain.lower
    return above and value <= domain.upper


def _check_schedule(domain: Domain, points: list[Any]) -> str | None:
    form = "a schedule is [[0, value], [step, value], …]"
    if len(points) < 2 or not all(isinstance(p, list) and len(p) == 2 for p in points):
        return f"{form} with at least two points; found {show(points)}"
    steps = [point[0] for point in points]
    if not all(_is_in_domain(_NOT_NEGATIVE, step) and step == int(step) for step in steps):
        return f"{form}, its steps whole numbers; found {show(steps)}"
    if steps[0] != 0:
        return f"{form}: the first step is 0; found {show(steps[0])}"
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        return f"{form}, its steps ascending; found {show(steps)}"
    # A schedule may end at its bound: a rate that anneals to 0.
    closed = replace(domain, is_open=False, has_schedule=False)
    wrong = [point[1] for point in points if not _is_in_domain(closed, point[1])]
    if not wrong:
        return None
    return f"must be {describe_domain(closed)}; found {show(wrong[0])} in the schedule"


def _check_int_range(domain: Domain, ends: list[Any]) -> str | None:
    if len(ends) == 2 and all(_is_in_domain(domain, end) for end in ends) and ends[0] < ends[1]:
        return None
    return f"a range is [low, high] of whole numbers from 1 on; found {show(ends)}"


def describe_domain(domain: Domain) -> str:
    """The domain in words, to follow "must be"."""
    if domain.is_bool:
        return "true or false"
    if domain.is_filters:
        return "a list of filters [channels, kernel, stride]"
    if domain.is_sizes:
        least = "at least one layer size" if domain.lower > 0 else "layer sizes"
        return f"a list of {least}, whole numbers from 1 on"
    parts = ["a mapping of the initialiser's arguments"] if domain.is_mapping else []
    if domain.is_number:
        kind = "a whole number" if domain.is_integer else "a number"
        if domain.upper < _MAX_COUNT:
            opening = "above" if domain.is_open else "from"
            kind += f" {opening} {domain.lower:g} to {domain.upper:g}"
        elif domain.lower > _MIN_NUMBER:
            kind += f" above {domain.lower:g}" if domain.is_open else f" from {domain.lower:g} on"
        parts.append(kind)
    if domain.words is not None:
        several = not parts and len(domain.words) > 2
        words = [f"one of {', '.join(domain.words)}"] if several else domain.words
        parts.extend(words or ("a text",))
    if domain.has_range:
        parts.append("a range [low, high]")
    if domain.has_schedule:
        parts.append("a schedule [[0, value], [step, value], …]")
    if domain.is_nullable:
        parts.append("null")
    return " or ".join(parts)
