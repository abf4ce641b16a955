"""An RLlib policy as a torch agent: the same layers and connectors, in our own format.

RLlib's default networks are those of the torch backend, layer by layer, so an agent of RLlib's can
act without Ray. What has no counterpart is refused. `check_conversion` then asks both agents the
same questions.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array
from numpy.typing import NDArray
from torch import nn

from sweeper.agents.agent import Policy
from sweeper.environments.spaces import has_channels_first, space_to_json
from sweeper.errors import SweeperError

__all__ = ["Converted", "InconvertibleError", "check_conversion", "convert"]

Array = NDArray[Any]

_LAYERNORM_EPSILON = 1e-3
_ACTIVATIONS: Mapping[type[nn.Module], str] = {
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.SiLU: "silu",
    nn.ELU: "elu",
    nn.Identity: "linear",
}
# Connectors of RLlib's that only arrange data, and those that are converted.
_ARRANGING = {
    "AddObservationsFromEpisodesToBatch",
    "AddStatesFromEpisodesToBatch",
    "AddTimeDimToBatchAndZeroPad",
    "BatchIndividualItems",
    "GetActions",
    "ListifyDataForVectorEnv",
    "NumpyToTensor",
    "RemoveSingleTsTimeRankFromBatch",
    "TensorToNumpy",
    "UnBatchToIndividualItems",
}
_ENCODING, _FLATTENING, _FITTING = (
    "EncodedObservations",
    "FlattenObservations",
    "NormalizeAndClipActions",
)
_DISTRIBUTIONS = ("TorchCategorical", "TorchMultiCategorical", "TorchDiagGaussian")
_SQUASHED = "TorchSquashedGaussian"
# rllib/utils/numpy.py, MIN_LOG_NN_OUTPUT and MAX_LOG_NN_OUTPUT: only squashed Gaussians are cut so.
_SQUASHED_RANGE = (-5.0, 2.0)
_SAMPLES, _SAMPLES_OF_IMAGES = 256, 24
_TOLERANCE = 1e-4
_ACTION_TOLERANCES = (1e-3, 1e-3)  # relative, absolute


class InconvertibleError(SweeperError):
    """Something of the agent has no counterpart; the message is what, in words."""


@dataclass(frozen=True)
class Converted:
    """A torch agent.

    Attributes:
        description: for its ``agent.json``, without what RLlib's checkpoint does not know.
        tensors: for its ``weights.safetensors``, whose first axis is the replica.
    """

    description: Mapping[str, Any]
    tensors: Mapping[str, Array]


@dataclass(frozen=True)
class _Layer:
    """A layer of weights, and what follows it."""

    core: nn.Linear | nn.Conv2d
    padding: tuple[int, ...] = (0, 0, 0, 0)
    norm: nn.LayerNorm | None = None
    activation: str = "linear"


def convert(policy: Any) -> Converted:
    """Convert the policy of an RLlib checkpoint.

    Args:
        policy: an `RLlibPolicy`, which has loaded it.

    Raises:
        InconvertibleError: its module, a layer, a space or a connector has no counterpart.
    """
    module = policy.module
    if not type(module).__module__.startswith("ray.rllib.algorithms."):
        raise InconvertibleError(f"its RLModule, {type(module).__name__}, is none of RLlib's own")
    connectors = {type(one).__name__: one for one in policy.connectors}
    others = connectors.keys() - {*_ARRANGING, _ENCODING, _FLATTENING, _FITTING}
    if others:
        raise InconvertibleError(f"its observations or actions pass {', '.join(sorted(others))}")
    try:
        observation_space = space_to_json(policy.observation_space)
        action_space = space_to_json(policy.action_space)
    except SweeperError as error:
        raise InconvertibleError(str(error)) from error
    encoders, heads = _find_parts(module)
    shape = tuple(policy.observation_space.shape or ())
    if _ENCODING in connectors and has_channels_first(shape):
        shape = (*shape[1:], shape[0])
    columns = list(_order_columns(policy.observation_space))
    network, tensors = _convert_network(encoders, heads, shape, columns)
    description = {
        "version": 1,
        "backend": "torch",
        "converted_from": "rllib",
        "observation_space": observation_space,
        "action_space": action_space,
        "network": network,
        "normalisation": [],
        **_describe_fitting(connectors.get(_FITTING)),
    }
    if hasattr(module, "epsilon_schedule"):
        description |= _describe_q_values(policy)
    else:
        description |= _describe_distribution(module, network, tensors)
    return Converted(description, {name: array[None] for name, array in tensors.items()})


def _find_parts(module: Any) -> tuple[dict[str, list[_Layer]], dict[str, list[_Layer]]]:
    """The layers of the encoders, ``policy`` and ``value`` or ``shared``, and of the heads."""
    if hasattr(module, "epsilon_schedule"):
        heads, encoders = {"policy": module.af}, {"shared": module.encoder}
        heads |= {"value": module.vf} if module.uses_dueling else {}
    elif hasattr(module, "pi_encoder"):
        heads, encoders = {"policy": module.pi}, {"policy": module.pi_encoder}
    elif hasattr(module, "pi") and hasattr(module, "vf"):
        heads, both = {"policy": module.pi, "value": module.vf}, module.encoder
        encoders = {"shared": getattr(both, "encoder", None)}
        if hasattr(both, "actor_encoder"):
            encoders = {"policy": both.actor_encoder, "value": both.critic_encoder}
    else:
        raise InconvertibleError(f"its RLModule, {type(module).__name__}, has other parts")
    return _read_stacks(encoders), _read_stacks(heads)


def _read_stacks(parts: Mapping[str, Any]) -> dict[str, list[_Layer]]:
    found = {}
    for name, part in parts.items():
        net = getattr(part, "net", None)
        if not isinstance(net, nn.Module):
            raise InconvertibleError(f"its {name} network is no stack of layers")
        found[name] = _read_layers(net)
    return found


def _read_layers(net: nn.Module) -> list[_Layer]:
    layers: list[_Layer] = []
    padding: tuple[int, ...] = (0, 0, 0, 0)
    for part in net.modules():
        if next(part.children(), None) is not None or isinstance(part, nn.Flatten):
            continue
        if isinstance(part, nn.ZeroPad2d):
            padding = tuple(int(one) for one in part.padding)
        elif isinstance(part, nn.Linear | nn.Conv2d):
            layers.append(_Layer(part, padding))
            padding = (0, 0, 0, 0)
        elif isinstance(part, nn.LayerNorm) and part.eps == _LAYERNORM_EPSILON and layers:
            layers[-1] = replace(layers[-1], norm=part)
        elif type(part) in _ACTIVATIONS and getattr(part, "alpha", 1.0) == 1.0 and layers:
            layers[-1] = replace(layers[-1], activation=_ACTIVATIONS[type(part)])
        else:
            raise InconvertibleError(f"its network has a layer {part}")
    if not layers:
        raise InconvertibleError("its network has no layers")
    return layers


def _convert_network(
    encoders: Mapping[str, Sequence[_Layer]],
    heads: Mapping[str, Sequence[_Layer]],
    image_shape: tuple[int, ...],
    columns: Sequence[int],
) -> tuple[dict[str, Any], dict[str, Array]]:
    """The network as ``agent.json`` has it, and its tensors without an axis of replicas."""
    tensors: dict[str, Array] = {}
    for name, layers in encoders.items():
        for index, layer in enumerate(layers):
            tensors |= _name_tensors(f"encoder.{name}.{index}", layer)
        first = f"encoder.{name}.0.weight"
        if columns and tensors[first].ndim == 2:
            ordered = np.empty_like(tensors[first])
            ordered[:, columns] = tensors[first]
            tensors[first] = ordered
    for name, (*hidden, last) in heads.items():
        if last.norm is not None or last.activation != "linear":
            raise InconvertibleError(f"the last layer of its {name} network is not linear")
        for index, layer in enumerate(hidden):
            tensors |= _name_tensors(f"head.{name}.{index}", layer)
        tensors |= _name_tensors(f"head.{name}.out", last)
    stack = next(iter(encoders.values()))
    convolutions = [_describe_convolution(one) for one in stack if isinstance(one.core, nn.Conv2d)]
    if convolutions and len(convolutions) < len(stack):
        raise InconvertibleError("its network has both convolutions and dense layers")
    sizes = [] if convolutions else [one.core.out_features for one in stack]
    *hidden, last = heads["policy"]
    in_encoders = [one for layers in encoders.values() for one in layers]
    in_heads = [one for layers in heads.values() for one in layers[:-1]]
    # As `trainables.torch_backend.architecture.Architecture` has it.
    return {
        "observation_shape": list(image_shape if convolutions else (stack[0].core.in_features,)),
        "convolutions": convolutions,
        "hiddens": sizes,
        "activation": _find_activation(in_encoders),
        "use_layernorm": _have_norms(in_encoders),
        "head_hiddens": [one.core.out_features for one in hidden],
        "head_activation": _find_activation(in_heads),
        "head_use_layernorm": _have_norms(in_heads),
        "policy_outputs": last.core.out_features,
        "free_log_std": False,
        "is_shared": "shared" in encoders,
    }, tensors


def _name_tensors(name: str, layer: _Layer) -> dict[str, Array]:
    weight, bias = layer.core.weight.detach(), layer.core.bias
    flat = torch.zeros(len(weight)) if bias is None else bias.detach()
    found = {f"{name}.weight": weight, f"{name}.bias": flat}
    if layer.norm is not None:
        if isinstance(layer.core, nn.Conv2d) or layer.norm.weight is None:
            raise InconvertibleError(f"its network has a layer {layer.norm}")
        found[f"{name}.norm.weight"] = layer.norm.weight.detach()
        found[f"{name}.norm.bias"] = layer.norm.bias.detach()
    return {key: np.array(tensor.cpu().numpy(), np.float32) for key, tensor in found.items()}


def _describe_convolution(layer: _Layer) -> dict[str, Any]:
    core = layer.core
    if not isinstance(core, nn.Conv2d) or core.padding != (0, 0) or core.dilation != (1, 1):
        raise InconvertibleError(f"its network has a layer {core}")
    return {
        "channels": core.out_channels,
        "kernel": list(core.kernel_size),
        "stride": list(core.stride),
        "padding": list(layer.padding),
    }


def _find_activation(layers: Sequence[_Layer]) -> str:
    found = {layer.activation for layer in layers}
    if len(found) > 1:
        raise InconvertibleError(f"its layers have several activations: {', '.join(sorted(found))}")
    return next(iter(found), "linear")


def _have_norms(layers: Sequence[_Layer]) -> bool:
    found = {layer.norm is not None for layer in layers}
    if len(found) > 1:
        raise InconvertibleError("only some layers of its network have a LayerNorm")
    return found == {True}


def _order_columns(space: gymnasium.Space[Any], first: int = 0) -> Iterator[int]:
    """Where each number that the network sees stands in an observation flattened by gymnasium.

    RLlib sorts the keys of a Dict. Nothing for spaces that are no structure.
    """
    if isinstance(space, spaces.Dict):
        parts = dict(space.spaces)
    elif isinstance(space, spaces.Tuple):
        parts = dict(enumerate(space.spaces))
    else:
        return
    starts, start = {}, first
    for key, part in parts.items():
        starts[key] = start
        start += spaces.flatdim(part)
    for key in sorted(parts):
        part = parts[key]
        inner = list(_order_columns(part, starts[key]))
        yield from inner or range(starts[key], starts[key] + spaces.flatdim(part))


def _describe_fitting(piece: Any) -> dict[str, Any]:
    """How numbers become actions; our own connector takes each dimension by its own bounds."""
    if piece is None:
        raise InconvertibleError(f"its actions pass no {_FITTING}")
    return {
        "normalize_actions": bool(piece.normalize_actions),
        "clip_actions": bool(piece.clip_actions),
        "bounds_by_dimension": not type(piece).__module__.startswith("ray."),
    }


def _describe_q_values(policy: Any) -> dict[str, Any]:
    module = policy.module
    described = {
        "algorithm": "DQN",
        "dueling": bool(module.uses_dueling),
        "num_atoms": int(module.num_atoms),
        "v_min": float(getattr(module, "v_min", 0.0)),  # of a distribution of returns alone
        "v_max": float(getattr(module, "v_max", 0.0)),
    }
    try:
        return {**described, "epsilon": policy.find_epsilon()}
    except ValueError:  # it plays greedily then
        return described


def _describe_distribution(
    module: Any, network: dict[str, Any], tensors: dict[str, Array]
) -> dict[str, Any]:
    """Of an agent that draws from a distribution; adds what its policy's head has of its own."""
    head, outputs = module.pi, torch.zeros(1, len(tensors["head.policy.out.bias"]))
    if hasattr(head, "log_std"):
        tensors["log_std"] = np.array(head.log_std.detach().cpu().numpy(), np.float32)
        network["free_log_std"] = True
        outputs = torch.cat([outputs, outputs], dim=1)
    made = type(module.get_exploration_action_dist_cls().from_logits(outputs))
    kinds = {kind.__name__ for kind in made.__mro__}
    is_squashed = _SQUASHED in kinds
    if not kinds & {*_DISTRIBUTIONS, _SQUASHED}:
        raise InconvertibleError(f"its actions are drawn from a {made.__name__}")
    limit = float(head.log_std_clip_param) if head.clip_log_std else np.inf
    if is_squashed:
        low, high = _SQUASHED_RANGE
        network["log_std_range"] = [max(-limit, low), min(limit, high)]
    elif np.isfinite(limit):
        network["log_std_clip"] = limit
    has_value = hasattr(module, "vf")
    return {
        "algorithm": type(module).__name__.removeprefix("Default").removesuffix("TorchRLModule"),
        **({} if has_value and not is_squashed else {"version": 2}),
        "is_squashed": is_squashed,
        "has_value": has_value,
    }


def check_conversion(original: Policy, converted: Policy, space: gymnasium.Space[Any]) -> None:
    """Hold a converted agent against the original, on samples of the observation space.

    Raises:
        InconvertibleError: they act, or judge states, otherwise.
    """
    number = _SAMPLES if len(original.observation_shape) < 3 else _SAMPLES_OF_IMAGES
    source = copy.deepcopy(space)
    source.seed(0)
    items = [source.sample() for _ in range(number)]
    batch = concatenate(space, items, create_empty_array(space, number))
    for ask in ("distribution", "values", "q_values"):
        first, second = (_answer(policy, ask, batch) for policy in (original, converted))
        if len(first) != len(second) or not all(map(_is_close, first, second)):
            raise InconvertibleError(f"the converted agent's {ask} differ from RLlib's")
    expected, acted = original.act(batch), converted.act(batch)
    is_same_form = (expected.dtype, expected.shape) == (acted.dtype, acted.shape)
    # Where two choices are equally good, the last bits decide.
    if not is_same_form or np.mean(~np.isclose(expected, acted, *_ACTION_TOLERANCES)) > 0.01:
        raise InconvertibleError("the converted agent acts otherwise than RLlib's")


def _answer(policy: Policy, question: str, batch: Any) -> list[Array]:
    """What a policy answers, as arrays in a fixed order; empty if it has no answer."""
    try:
        found = getattr(policy, question)(batch)
    except ValueError:
        return []
    if not isinstance(found, Mapping):
        return [found]
    names = ("probabilities", "mean", "deviation", "values", "advantages", "state_value")
    parts = [found[name] for name in names if found.get(name) is not None]
    # Only the differences of logits matter.
    centred = [one - one.mean(axis=-1, keepdims=True) for one in found.get("logits", ())]
    return [*centred, *(one for part in parts for one in _as_list(part))]


def _as_list(part: Any) -> list[Array]:
    return part if isinstance(part, list) else [part]


def _is_close(first: Array, second: Array) -> bool:
    is_same_shape = first.shape == second.shape
    return is_same_shape and np.allclose(first, second, rtol=_TOLERANCE, atol=_TOLERANCE)
