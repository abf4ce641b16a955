"""Turns a ``model_config`` into the layers of the networks and their initialisation.

Names, defaults and meaning are those of RLlib's ``DefaultModelConfig`` given as a dict, which
turns ``vf_share_layers`` off. RLlib has no key for what the heads and a free log deviation start
from: ``policy_head_gain``, ``value_head_gain`` and ``log_std_init`` are of this backend.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sweeper.errors import ConfigurationRefusedError
from sweeper.trainables.torch_backend.filters import Convolution, convolved, read_filters
from sweeper.trainables.torch_backend.schedules import is_number

__all__ = [
    "MODEL_CONFIG_DEFAULTS",
    "Architecture",
    "Convolution",
    "Initialiser",
    "ParameterShape",
    "build_architecture",
    "initialise",
    "list_parameters",
]

MODEL_CONFIG_DEFAULTS: Mapping[str, Any] = {
    "fcnet_hiddens": [256, 256],
    "fcnet_activation": "tanh",
    "fcnet_kernel_initializer": None,
    "fcnet_kernel_initializer_kwargs": None,
    "fcnet_bias_initializer": None,
    "fcnet_bias_initializer_kwargs": None,
    "fcnet_use_layernorm": False,
    "conv_filters": None,
    "conv_activation": "relu",
    "conv_kernel_initializer": None,
    "conv_kernel_initializer_kwargs": None,
    "conv_bias_initializer": None,
    "conv_bias_initializer_kwargs": None,
    "head_fcnet_hiddens": [],
    "head_fcnet_activation": "relu",
    "head_fcnet_use_layernorm": False,
    "free_log_std": False,
    "log_std_clip_param": 20.0,
    "vf_share_layers": False,
    "policy_head_gain": None,
    "value_head_gain": None,
    "log_std_init": 0.0,
}

_ACTIVATIONS = {
    "tanh": "tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "elu": "elu",
    "linear": "linear",
    None: "linear",
}


@dataclass(frozen=True)
class Initialiser:
    """An in-place function of ``torch.nn.init``; without a name torch.nn.Linear's default."""

    name: str | None = None
    kwargs: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Architecture:
    """Separate encoders for policy and value (or a shared one), and their heads.

    Attributes:
        observation_shape: ``(size,)``, or ``(height, width, channels)`` with ``convolutions``.
        convolutions: the layers of an image encoder; ``hiddens`` is empty then, as in RLlib.
        hiddens: sizes of a dense encoder's layers.
        head_hiddens: sizes of the heads' layers before their linear output.
        policy_outputs: outputs of the policy's head, without free log deviations.
        log_deviations: how many of the distribution's inputs are log deviations.
        free_log_std: log deviations are parameters, not outputs.
        log_std_clip: log deviations are clamped to ± this.
        policy_head_gain: the policy head's last layer starts orthogonal with this gain and
            without biases; None: as torch.nn.Linear.
        value_head_gain: the same of the value's head.
        log_std_init: free log deviations start here.
        input_scale: images are multiplied by it.
    """

    observation_shape: tuple[int, ...]
    convolutions: tuple[Convolution, ...]
    hiddens: tuple[int, ...]
    activation: str
    use_layernorm: bool
    head_hiddens: tuple[int, ...]
    head_activation: str
    head_use_layernorm: bool
    policy_outputs: int
    log_deviations: int
    free_log_std: bool
    log_std_clip: float
    is_shared: bool
    weight_initialiser: Initialiser
    bias_initialiser: Initialiser
    policy_head_gain: float | None
    value_head_gain: float | None
    log_std_init: float
    input_scale: float = 1.0

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of the encoders: the policy's first, the value's last."""
        return ("shared",) if self.is_shared else ("policy", "value")

    @property
    def encoded(self) -> int:
        """Size of an encoder's output."""
        if self.hiddens:
            return self.hiddens[-1]
        height, width, _ = self.observation_shape
        for layer in self.convolutions:
            height, width = convolved((height, width), layer)
        return height * width * self.convolutions[-1].channels


@dataclass(frozen=True)
class ParameterShape:
    """One parameter of one replica; ``fan_in`` counts the inputs of its layer."""

    name: str
    shape: tuple[int, ...]
    fan_in: int
    initialiser: Initialiser

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


def build_architecture(
    model_config: Mapping[str, Any],
    *,
    observation_shape: tuple[int, ...],
    distribution_inputs: int,
    is_gaussian: bool,
    image_scale: float = 1.0,
) -> Architecture:
    """Read a ``model_config``; images are multiplied by ``image_scale``.

    Raises:
        ConfigurationRefusedError: this backend does not support a key or a value.
    """
    for key in model_config:
        if key not in MODEL_CONFIG_DEFAULTS:
            raise ConfigurationRefusedError(
                f"model_config.{key} is not supported on backend torch; backend: rllib has it"
            )
    given = {**MODEL_CONFIG_DEFAULTS, **model_config}
    is_image = len(observation_shape) == 3
    free_log_std = bool(given["free_log_std"])
    if free_log_std and not is_gaussian:
        raise ConfigurationRefusedError("model_config.free_log_std needs a Box action space")
    prefix = "conv" if is_image else "fcnet"
    outputs = distribution_inputs // 2 if free_log_std else distribution_inputs
    hiddens = () if is_image else _sizes("fcnet_hiddens", given["fcnet_hiddens"])
    if not is_image and not hiddens:
        raise ConfigurationRefusedError("model_config.fcnet_hiddens needs at least one layer")
    clip = given["log_std_clip_param"]
    if not isinstance(clip, int | float) or not clip > 0:
        raise ConfigurationRefusedError(
            f"model_config.log_std_clip_param must be positive, not {clip!r}"
        )
    return Architecture(
        observation_shape=observation_shape,
        convolutions=read_filters(given["conv_filters"], observation_shape) if is_image else (),
        hiddens=hiddens,
        activation=_read_activation(f"{prefix}_activation", given),
        use_layernorm=bool(given["fcnet_use_layernorm"]) and not is_image,
        head_hiddens=_sizes("head_fcnet_hiddens", given["head_fcnet_hiddens"]),
        head_activation=_read_activation("head_fcnet_activation", given),
        head_use_layernorm=bool(given["head_fcnet_use_layernorm"]),
        policy_outputs=outputs,
        log_deviations=distribution_inputs // 2 if is_gaussian else 0,
        free_log_std=free_log_std,
        log_std_clip=float(clip),
        is_shared=bool(given["vf_share_layers"]),
        weight_initialiser=_read_initialiser(f"{prefix}_kernel_initializer", given),
        bias_initialiser=_read_initialiser(f"{prefix}_bias_initializer", given),
        policy_head_gain=_read_gain("policy_head_gain", given),
        value_head_gain=_read_gain("value_head_gain", given),
        log_std_init=_read_log_std(given, clip),
        input_scale=image_scale if is_image else 1.0,
    )


def list_parameters(architecture: Architecture) -> list[ParameterShape]:
    """Every parameter of one replica; equal layers of both encoders lie side by side."""
    of_encoders = architecture.weight_initialiser, architecture.bias_initialiser
    of_heads = Initialiser(), Initialiser()
    parameters: list[ParameterShape] = []

    def add(
        names: list[str],
        weight_shape: tuple[int, ...],
        initialisers: tuple[Initialiser, Initialiser],
        *,
        layernorm: bool = False,
    ) -> None:
        outputs, fan_in = weight_shape[0], math.prod(weight_shape[1:])
        kinds = {
            "weight": (weight_shape, initialisers[0]),
            "bias": ((outputs,), initialisers[1]),
        }
        if layernorm:
            kinds["norm.weight"] = (outputs,), Initialiser("ones_")
            kinds["norm.bias"] = (outputs,), Initialiser("zeros_")
        for kind, (shape, initialiser) in kinds.items():
            parameters.extend(
                ParameterShape(f"{name}.{kind}", shape, fan_in, initialiser) for name in names
            )

    size = architecture.observation_shape[-1]
    for i, layer in enumerate(architecture.convolutions):
        names = [f"encoder.{encoder}.{i}" for encoder in architecture.encoders]
        add(names, (layer.channels, size, *layer.kernel), of_encoders)
        size = layer.channels
    for i, hidden in enumerate(architecture.hiddens):
        names = [f"encoder.{encoder}.{i}" for encoder in architecture.encoders]
        add(names, (hidden, size), of_encoders, layernorm=architecture.use_layernorm)
        size = hidden
    for head, outputs, gain in (
        ("policy", architecture.policy_outputs, architecture.policy_head_gain),
        ("value", 1, architecture.value_head_gain),
    ):
        size = architecture.encoded
        for i, hidden in enumerate(architecture.head_hiddens):
            name, has_norm = f"head.{head}.{i}", architecture.head_use_layernorm
            add([name], (hidden, size), of_heads, layernorm=has_norm)
            size = hidden
        add([f"head.{head}.out"], (outputs, size), of_heads if gain is None else _orthogonal(gain))
    if architecture.free_log_std:
        first = Initialiser("constant_", {"val": architecture.log_std_init})
        parameters.append(ParameterShape("log_std", (architecture.log_deviations,), 1, first))
    return parameters


def _orthogonal(gain: float) -> tuple[Initialiser, Initialiser]:
    """Of weights and biases, as Stable-Baselines3's ``ortho_init`` has them."""
    return Initialiser("orthogonal_", {"gain": gain}), Initialiser("zeros_")


def initialise(parameter: ParameterShape, out: Tensor, generator: torch.Generator) -> None:
    """Fill one replica's parameter from its own generator.

    Raises:
        ConfigurationRefusedError: ``torch.nn.init`` refuses the arguments.
    """
    with torch.no_grad():
        name = parameter.initialiser.name
        if name is None:  # the default of torch.nn.Linear and Conv2d, for weights and biases
            bound = 1 / math.sqrt(parameter.fan_in)
            out.uniform_(-bound, bound, generator=generator)
            return
        function = _initialising_function(name)
        kwargs = dict(parameter.initialiser.kwargs or {})
        if "generator" in inspect.signature(function).parameters:
            kwargs["generator"] = generator
        try:
            function(out, **kwargs)
        except (TypeError, ValueError) as error:
            raise ConfigurationRefusedError(
                f"initialiser {name} can't fill {parameter.name} {parameter.shape}: {error}"
            ) from error


def _read_initialiser(key: str, given: Mapping[str, Any]) -> Initialiser:
    name, kwargs = given[key], given[f"{key}_kwargs"]
    if name is None:
        return Initialiser()
    try:
        _initialising_function(name)
    except (AttributeError, TypeError) as error:
        raise ConfigurationRefusedError(
            f"model_config.{key}: {name!r} is not an in-place function of torch.nn.init, "
            "such as orthogonal_"
        ) from error
    return Initialiser(name, dict(kwargs or {}))


def _read_gain(key: str, given: Mapping[str, Any]) -> float | None:
    gain = given[key]
    if gain is None:
        return None
    if not is_number(gain) or not 0 < gain < math.inf:
        raise ConfigurationRefusedError(f"model_config.{key} must be above 0, not {gain!r}")
    return float(gain)


def _read_log_std(given: Mapping[str, Any], clip: float) -> float:
    """The free log deviations' first value: beyond the clip its gradient would be 0 for ever."""
    first = given["log_std_init"]
    if not is_number(first) or not abs(first) <= clip:
        raise ConfigurationRefusedError(
            f"model_config.log_std_init must lie within ±log_std_clip_param ({clip}), not {first!r}"
        )
    if first and not given["free_log_std"]:
        raise ConfigurationRefusedError("model_config.log_std_init needs free_log_std: true")
    return float(first)


def _initialising_function(name: str) -> Callable[..., Any]:
    if not name.endswith("_") or name.startswith("_"):
        raise AttributeError(name)
    function: Callable[..., Any] = getattr(torch.nn.init, name.lower())
    return function


def _read_activation(key: str, given: Mapping[str, Any]) -> str:
    name = given[key]
    folded = name.lower() if isinstance(name, str) else name
    if folded not in _ACTIVATIONS:
        known = ", ".join(str(known) for known in _ACTIVATIONS if known)
        raise ConfigurationRefusedError(f"model_config.{key}: {name!r} is not one of {known}")
    return _ACTIVATIONS[folded]


def _sizes(key: str, given: Any) -> tuple[int, ...]:
    if not isinstance(given, list | tuple) or not all(
        isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in given
    ):
        raise ConfigurationRefusedError(f"model_config.{key} is a list of sizes, not {given!r}")
    return tuple(given)
