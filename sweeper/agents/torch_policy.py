"""The policy of a torch agent: observations in, actions out.

This file is copied into the champion's MLflow model, so it imports neither sweeper nor ray nor
gymnasium. Loading an agent reads JSON and safetensors; it runs no code from the files.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

__all__ = ["TorchPolicy", "one_thread"]

Array: TypeAlias = np.ndarray[Any, Any]

_VERSION = 1
_LAYERNORM_EPSILON = 1e-3
_NORMALISER_EPSILON = 1e-8
_NORMALISER_CLIP = 10.0
_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "silu": functional.silu,
    "elu": functional.elu,
    "linear": lambda hidden: hidden,
}


class TorchPolicy:
    """One replica of an agent.

    Args:
        folder: holds ``agent.json`` and ``weights.safetensors``, whose tensors' first axis is
            the replica.
        replica: its index.

    Attributes:
        description: the contents of ``agent.json``.
        observation_shape: of one observation as an array; for a Dict or Tuple that of
            ``gymnasium.spaces.flatten``.

    Raises:
        FileNotFoundError: the folder holds no agent.
        ValueError: the agent was written by a newer version, or has no such replica.
    """

    def __init__(self, folder: str | Path, replica: int = 0) -> None:
        root = Path(folder)
        self.description: dict[str, Any] = json.loads((root / "agent.json").read_text("utf-8"))
        if self.description["version"] > _VERSION:
            raise ValueError(
                f"{root} was written in format {self.description['version']}; this version "
                f"reads up to {_VERSION}"
            )
        tensors: dict[str, Tensor] = load_file(root / "weights.safetensors")
        replicas = len(self.description["seeds"])
        if not 0 <= replica < replicas:
            raise ValueError(f"{root} has replicas 0 to {replicas - 1}, not {replica}")
        self._tensors = {name: tensor[replica] for name, tensor in tensors.items()}
        self._network: Mapping[str, Any] = self.description["network"]
        self._space: Mapping[str, Any] = self.description["observation_space"]
        self._actions: Mapping[str, Any] = self.description["action_space"]
        self.observation_shape = _plain_shape(self._space)
        # The network takes the channels last. Agents of older versions were trained on images as
        # the environment gave them.
        seen = tuple(self._network["observation_shape"])
        self._has_channels_first = len(seen) == 3 and seen != self.observation_shape

    def act(self, observations: Any, generator: np.random.Generator | None = None) -> Array:
        """The action for each observation of a batch.

        Args:
            observations: numbers[batch, *observation_shape]; for a Dict or Tuple space also
                the space's own structure with batched leaves.
            generator: actions are sampled with it as in evaluations that explore: from the
                policy's distribution, or with the epsilon that DQN had come to. None: greedily.

        Returns:
            Members of the action space, in its dtype: ``[batch]`` for Discrete,
            ``[batch, parts]`` for MultiDiscrete, ``[batch, *shape]`` for Box.

        Raises:
            ValueError: the batch has another shape, or the agent can't explore.
        """
        outputs = self._run_heads(observations)
        if self.description["algorithm"] == "DQN":
            return self._count(self._choose_epsilon_greedily(self._q_values(outputs), generator))
        return self._take(outputs["policy"], generator)

    def _run_heads(self, observations: Any) -> dict[str, Array]:
        """The heads' outputs: ``policy`` (or DQN's advantages) and ``value``."""
        batch = self._encode(observations)
        with torch.no_grad():
            encoders = ("shared", "shared") if self._network["is_shared"] else ("policy", "value")
            encoded = {name: self._run_encoder(name, batch) for name in dict.fromkeys(encoders)}
            heads = zip(("policy", "value"), encoders, strict=True)
            return {head: self._run_head(head, encoded[name]).numpy() for head, name in heads}

    # -- observations -------------------------------------------------------------------------

    def _encode(self, observations: Any) -> Tensor:
        if isinstance(observations, Mapping | tuple):
            array = np.concatenate(_encode_parts(self._space, observations), axis=1)
        else:
            array = np.asarray(observations)
            if array.shape[1:] != self.observation_shape or array.ndim == 0:
                raise ValueError(
                    f"observations of shape {array.shape}; expected a batch of "
                    f"{self.observation_shape}, that is (batch, *{self.observation_shape})"
                )
            if self._space["type"] in ("Discrete", "MultiDiscrete"):
                array = np.concatenate(_encode_parts(self._space, array), axis=1)
            elif self._has_channels_first:
                array = array.transpose(0, 2, 3, 1)
        if "normalisation.observations.mean" in self._tensors:
            mean = self._tensors["normalisation.observations.mean"].numpy()
            variance = self._tensors["normalisation.observations.variance"].numpy()
            standardised = (array - mean) / np.sqrt(variance + _NORMALISER_EPSILON)
            array = np.clip(standardised, -_NORMALISER_CLIP, _NORMALISER_CLIP)
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    # -- the network --------------------------------------------------------------------------

    def _run_encoder(self, encoder: str, batch: Tensor) -> Tensor:
        activate = _ACTIVATIONS[self._network["activation"]]
        hidden = batch
        if self._network["convolutions"]:
            hidden = hidden.permute(0, 3, 1, 2)
            for index, layer in enumerate(self._network["convolutions"]):
                weight = self._tensors[f"encoder.{encoder}.{index}.weight"]
                bias = self._tensors[f"encoder.{encoder}.{index}.bias"]
                hidden = functional.pad(hidden, tuple(layer["padding"]))
                hidden = functional.conv2d(hidden, weight, bias, tuple(layer["stride"]))
                hidden = activate(hidden)
            return hidden.permute(0, 2, 3, 1).flatten(1)
        for index in range(len(self._network["hiddens"])):
            hidden = activate(self._run_dense(f"encoder.{encoder}.{index}", hidden))
        return hidden

    def _run_head(self, head: str, encoded: Tensor) -> Tensor:
        activate = _ACTIVATIONS[self._network["head_activation"]]
        hidden = encoded
        for index in range(len(self._network["head_hiddens"])):
            hidden = activate(self._run_dense(f"head.{head}.{index}", hidden))
        return self._run_dense(f"head.{head}.out", hidden)

    def _run_dense(self, name: str, batch: Tensor) -> Tensor:
        weight, bias = self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]
        output = functional.linear(batch, weight, bias)
        if f"{name}.norm.weight" not in self._tensors:
            return output
        scale, shift = self._tensors[f"{name}.norm.weight"], self._tensors[f"{name}.norm.bias"]
        return functional.layer_norm(output, scale.shape, scale, shift, _LAYERNORM_EPSILON)

    # -- actions ------------------------------------------------------------------------------

    def _choose_epsilon_greedily(
        self, values: Array, generator: np.random.Generator | None
    ) -> Array:
        greedy: Array = values.argmax(axis=-1)
        if generator is None:
            return greedy
        epsilon = self.description.get("epsilon")
        if epsilon is None:
            raise ValueError(
                "agent.json does not say with which epsilon this agent explores; an earlier "
                "version wrote it: play it greedily"
            )
        # One number says whether to explore and, from where it lies below epsilon, with what.
        points = generator.random(len(values), dtype=np.float32)
        scale = np.float64(values.shape[-1] / (epsilon if epsilon > 0 else 1.0))
        explored = (points * scale).astype(np.int64)
        return np.where(points < epsilon, np.minimum(explored, values.shape[-1] - 1), greedy)

    def _count(self, numbers: Array) -> Array:
        """Choices counted from 0 as the space counts them."""
        dtype = np.dtype(self._actions.get("dtype", "int64"))
        counted: Array = numbers.astype(dtype) + np.asarray(self._actions["start"], dtype=dtype)
        return counted

    def _take(self, inputs: Array, generator: np.random.Generator | None) -> Array:
        kind = self._actions["type"]
        if kind == "Discrete":
            return self._count(_choose([inputs], generator)[:, 0])
        if kind == "MultiDiscrete":
            parts = np.split(inputs, np.cumsum(self._actions["nvec"][:-1]), axis=-1)
            return self._count(_choose(parts, generator))
        size = int(np.prod(self._actions["shape"]))
        numbers = inputs[:, :size]
        if generator is not None:
            noise = generator.standard_normal(numbers.shape, dtype=np.float32)
            numbers = numbers + np.exp(inputs[:, size:]) * noise
        return _fit_box(
            self._actions,
            numbers,
            normalize_actions=self.description["normalize_actions"],
            clip_actions=self.description["clip_actions"],
            by_dimension=self.description.get("bounds_by_dimension", False),
        )

    def _q_values(self, outputs: Mapping[str, Array]) -> Array:
        head, advantages = self.description, outputs["policy"]
        atoms = head["num_atoms"]
        if atoms == 1:
            if not head["dueling"]:
                return advantages
            plain: Array = advantages + outputs["value"] - advantages.mean(axis=-1, keepdims=True)
            return plain
        logits = advantages.reshape(len(advantages), -1, atoms)
        if head["dueling"]:
            # The mean is over the atoms, as in RLlib (default_dqn_torch_rl_module.py).
            logits = logits - logits.mean(axis=-1, keepdims=True) + outputs["value"][..., None]
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        support = np.linspace(head["v_min"], head["v_max"], atoms, dtype=np.float32)
        values: Array = (weights / weights.sum(axis=-1, keepdims=True) * support).sum(axis=-1)
        return values


def _choose(logits: Sequence[Array], generator: np.random.Generator | None) -> Array:
    """The numbers ``int64[batch, parts]`` of the choices that each part's logits stand for."""
    if generator is None:
        return np.stack([part.argmax(axis=-1) for part in logits], axis=-1)
    points = generator.random((len(logits[0]), len(logits)), dtype=np.float32)
    chosen = []
    for column, part in enumerate(logits):
        cumulative = np.exp(part - part.max(axis=-1, keepdims=True)).cumsum(axis=-1)
        point = points[:, column, None] * cumulative[:, -1:]
        # Without the last one: by rounding the point may lie beyond it.
        chosen.append((cumulative[:, :-1] <= point).sum(axis=-1))
    return np.stack(chosen, axis=-1)


def _plain_shape(space: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of one observation as an array; structures are flattened."""
    match space["type"]:
        case "Box":
            return tuple(space["shape"])
        case "Discrete":
            return ()
        case "MultiDiscrete":
            return (len(space["nvec"]),)
    return (_flat_size(space),)


def _flat_size(space: Mapping[str, Any]) -> int:
    match space["type"]:
        case "Box":
            return int(np.prod(space["shape"]))
        case "Discrete":
            return int(space["n"])
        case "MultiDiscrete":
            return int(sum(space["nvec"]))
    inner = space["spaces"]
    return sum(_flat_size(part) for part in (inner.values() if isinstance(inner, dict) else inner))


def _encode_parts(space: Mapping[str, Any], batch: Any) -> list[Array]:
    """Encode a batch in the space's own structure as flat columns, integers as one-hot."""
    match space["type"]:
        case "Discrete":
            return [_one_hot(np.asarray(batch) - space["start"], space["n"])]
        case "MultiDiscrete":
            columns = np.asarray(batch) - np.asarray(space["start"])
            return [_one_hot(columns[:, i], n) for i, n in enumerate(space["nvec"])]
        case "Dict":
            return [
                part
                for key, below in space["spaces"].items()
                for part in _encode_parts(below, batch[key])
            ]
        case "Tuple":
            return [
                part
                for below, values in zip(space["spaces"], batch, strict=True)
                for part in _encode_parts(below, values)
            ]
    array = np.asarray(batch, dtype=np.float32)
    return [array.reshape(len(array), -1)]


def _one_hot(values: Array, size: int) -> Array:
    rows: Array = np.eye(size, dtype=np.float32)[values.astype(np.int64)]
    return rows


def _fit_box(
    space: Mapping[str, Any],
    numbers: Array,
    *,
    normalize_actions: bool,
    clip_actions: bool,
    by_dimension: bool,
) -> Array:
    """Turn ``float32[batch, columns]`` into actions of a float Box, as the trainer does.

    Agents of older versions don't act ``by_dimension``: one infinite bound left all dimensions as
    the policy gave them, and actions were clipped only if asked for.
    """
    dtype = np.dtype(space["dtype"])
    precision = np.result_type(dtype, np.float32)
    size = numbers.shape[1]
    low, high = (_bounds(space[name], size).astype(precision) for name in ("low", "high"))
    is_bounded = np.isfinite(low) & np.isfinite(high)
    is_clipped = True
    if not by_dimension:
        is_bounded &= is_bounded.all()
        is_clipped = bool(is_bounded.all()) if normalize_actions else clip_actions
    with np.errstate(all="ignore"):
        # From the middle if the distance of the bounds is no number of this precision.
        is_huge = ~np.isfinite(high - low)
        origin = np.where(is_huge, low / 2 + high / 2, low)
        half = high / 2 - low / 2
        is_unsquashed = is_bounded & (half > 0) & normalize_actions
        distance = (numbers + np.where(is_huge, 0, 1).astype(precision)) * half
        actions = np.where(is_unsquashed, origin + distance, numbers)
        if is_clipped:
            limits = np.finfo(dtype)
            low = np.maximum(low, limits.min.astype(precision))
            high = np.minimum(high, limits.max.astype(precision))
            actions = np.clip(actions, low, high)
        shaped: Array = actions.reshape(len(actions), *space["shape"]).astype(dtype)
    return shaped


def _bounds(bounds: Any, size: int) -> Array:
    numbers = bounds if isinstance(bounds, list) else [bounds] * size
    return np.array([float(number) for number in numbers])


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Within the block torch computes in one thread, which is fastest for small batches."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
