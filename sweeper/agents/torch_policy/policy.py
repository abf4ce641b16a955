"""A torch agent's network, evaluated: observations in, actions and values out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from .spaces import BoxActions, encode_parts, plain_shape

__all__ = ["TorchPolicy"]

Array: TypeAlias = np.ndarray[Any, Any]
Layer: TypeAlias = Callable[[Tensor], Tensor]

_VERSION = 1
_LAYERNORM_EPSILON = 1e-3
_NORMALISER_EPSILON = 1e-8
_NORMALISER_CLIP = 10.0
_ACTIVATIONS: Mapping[str, Layer] = {
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
        tensors: the replica's own, by name: the network's weights, and the running moments that
            observations and rewards are normalised by.
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
        self.tensors = {name: tensor[replica].clone() for name, tensor in tensors.items()}
        self._network: Mapping[str, Any] = self.description["network"]
        self._space: Mapping[str, Any] = self.description["observation_space"]
        self._actions: Mapping[str, Any] = self.description["action_space"]
        self.observation_shape = plain_shape(self._space)
        # The network takes the channels last. Agents of older versions were trained on images as
        # the environment gave them.
        seen = tuple(self._network["observation_shape"])
        self._has_channels_first = len(seen) == 3 and seen != self.observation_shape
        self._is_dqn = self.description["algorithm"] == "DQN"
        names = ("shared", "shared") if self._network["is_shared"] else ("policy", "value")
        encoders = {name: self._read_encoder(name) for name in dict.fromkeys(names)}
        self._encoders = [encoders[name] for name in names]
        self._heads = [self._read_head(name) for name in ("policy", "value")]
        self._box = None
        if self._actions["type"] == "Box":
            self._box = BoxActions(
                self._actions,
                int(np.prod(self._actions["shape"])),
                normalize_actions=self.description["normalize_actions"],
                clip_actions=self.description["clip_actions"],
                by_dimension=self.description.get("bounds_by_dimension", False),
            )

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
        if self._is_dqn:
            values = self._combine(*self._q_heads(observations))[0]
            return self._count(self._choose_epsilon_greedily(values, generator))
        return self._choose_actions(self.distribution_inputs(observations), generator)

    def distribution_inputs(self, observations: Any) -> Array:
        """What PPO's distribution of actions is made of, ``float32[batch, inputs]``.

        Logits, those of a MultiDiscrete space's parts side by side; of a Box means, then the
        logarithms of the deviations.
        """
        outputs = self._run(0, self._encode(observations))
        if self._box is None:
            return outputs
        if "log_std" in self.tensors:
            free = self.tensors["log_std"].numpy()
            outputs = np.concatenate([outputs, np.tile(free, (len(outputs), 1))], axis=1)
        size, limit = self._box.size, self._network.get("log_std_clip", np.inf)
        outputs[:, size:] = outputs[:, size:].clip(-limit, limit)
        return outputs

    def _choose_actions(self, inputs: Array, generator: np.random.Generator | None) -> Array:
        """Actions from PPO's `distribution_inputs`: as `act` returns them."""
        if self._box is None:
            parts = self._split(inputs)
            if generator is None and len(parts) == 1:
                chosen = inputs.argmax(axis=-1)[:, None]
            else:
                chosen = _choose(parts, generator)
            return self._count(chosen[:, 0] if self._actions["type"] == "Discrete" else chosen)
        numbers = inputs[:, : self._box.size]
        if generator is not None:
            noise = generator.standard_normal(numbers.shape, dtype=np.float32)
            numbers = numbers + np.exp(inputs[:, self._box.size :]) * noise
        return self._box.fit(numbers)

    def _split(self, logits: Array) -> list[Array]:
        """The logits of each part of a Discrete (one) or MultiDiscrete space."""
        if self._actions["type"] == "Discrete":
            return [logits]
        return np.split(logits, np.cumsum(self._actions["nvec"][:-1]), axis=-1)

    def distribution(self, observations: Any) -> dict[str, Any]:
        """What actions are sampled from, as numbers.

        Returns:
            Of choices ``logits``, or DQN's ``probabilities``: arrays ``[batch, choices]`` of each
            part, with ``start``, the first choice's number of each part, and ``is_multiple``. Of
            numbers ``mean`` and ``deviation``, ``[batch, *action]``, before they are fitted to the
            action space, with ``to_policy``, which makes such numbers ``[batch, size]`` of
            actions; ``is_squashed`` is False.

        Raises:
            ValueError: the agent can't explore.
        """
        start = np.atleast_1d(self._actions.get("start", 0)).tolist()
        choices = {"start": tuple(start), "is_multiple": self._actions["type"] == "MultiDiscrete"}
        if self._is_dqn:
            values = self.q_values(observations)["values"]
            epsilon = self._find_epsilon()
            explored = np.full(values.shape, epsilon / values.shape[-1])
            explored[np.arange(len(values)), values.argmax(axis=-1)] += 1 - epsilon
            return {"probabilities": [explored], **choices}
        inputs = self.distribution_inputs(observations)
        if self._box is None:
            return {"logits": self._split(inputs), **choices}
        shape = (len(inputs), *self._actions["shape"])
        size, fitted = self._box.size, {"to_policy": self._box.unfit, "is_squashed": False}
        mean, deviation = inputs[:, :size].reshape(shape), np.exp(inputs[:, size:]).reshape(shape)
        return {"mean": mean, "deviation": deviation, **fitted}

    def values(self, observations: Any) -> Array:
        """The value of each state, ``float32[batch]``: the discounted return that is expected.

        Of PPO the critic's, in the environment's rewards even if the critic learned from
        normalised ones; of DQN the greatest Q-value.
        """
        if self._is_dqn:
            greatest: Array = self.q_values(observations)["values"].max(axis=-1)
            return greatest
        values: Array = self._run(1, self._encode(observations))[:, 0]
        variance = self.tensors.get("normalisation.rewards.variance")
        if variance is None:
            return values
        return values * np.float32(np.sqrt(float(variance) + _NORMALISER_EPSILON))

    def q_values(self, observations: Any) -> dict[str, Any]:
        """DQN's Q-values and what they are made of; see `sweeper.agents.distributions.QValues`.

        Raises:
            ValueError: the agent is none of DQN.
        """
        if not self._is_dqn:
            raise ValueError(f"{self.description['algorithm']} has no Q-values; DQN has")
        advantages, state_values = self._q_heads(observations)
        values, probabilities = self._combine(advantages, state_values)
        found: dict[str, Any] = {"values": values, "probabilities": probabilities}
        if probabilities is not None:
            found["atoms"] = self._support()
            advantages = advantages.reshape(probabilities.shape)
        if state_values is not None:
            found |= {"advantages": advantages, "state_value": state_values[:, 0]}
        return found

    def weights(self) -> dict[str, Array]:
        """The network's weights, by name."""
        return {
            name: tensor.numpy()
            for name, tensor in self.tensors.items()
            if not name.startswith("normalisation.") and not self._is_unused(name)
        }

    def normalisation(self) -> dict[str, Array]:
        """The running moments that observations and rewards were normalised by, by name."""
        prefix = "normalisation."
        return {
            name.removeprefix(prefix): tensor.numpy()
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def _is_unused(self, name: str) -> bool:
        """Whether it is of the value's head of a DQN that has none."""
        is_plain = self._is_dqn and not self.description["dueling"]
        return is_plain and name.startswith("head.value.")

    def _q_heads(self, observations: Any) -> tuple[Array, Array | None]:
        """DQN's heads: ``float32[batch, actions * atoms]`` and, if dueling, ``float32[batch, 1]``.

        The first are advantages if the second, the states' values, are there.
        """
        encoded = self._encoders[0](self._encode(observations))
        advantages = self._heads[0](encoded).numpy()
        return advantages, self._heads[1](encoded).numpy() if self.description["dueling"] else None

    def _combine(self, advantages: Array, values: Array | None) -> tuple[Array, Array | None]:
        """The Q-values ``[batch, actions]``, and the returns' distribution if that was learned.

        Args:
            advantages: see `_q_heads`.
            values: the same.

        Returns:
            The second are probabilities ``[batch, actions, atoms]``, or None.
        """
        atoms = self.description["num_atoms"]
        if atoms == 1:
            if values is None:
                return advantages, None
            return advantages + values - advantages.mean(axis=-1, keepdims=True), None
        logits = advantages.reshape(len(advantages), -1, atoms)
        if values is not None:
            # The mean is over the atoms, as in RLlib (default_dqn_torch_rl_module.py).
            logits = logits - logits.mean(axis=-1, keepdims=True) + values[..., None]
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities = weights / weights.sum(axis=-1, keepdims=True)
        return (probabilities * self._support()).sum(axis=-1), probabilities

    def _support(self) -> Array:
        """The returns that a distribution's atoms stand for, ``float32[atoms]``."""
        head = self.description
        return np.linspace(head["v_min"], head["v_max"], head["num_atoms"], dtype=np.float32)

    # -- observations -------------------------------------------------------------------------

    def _encode(self, observations: Any) -> Tensor:
        if isinstance(observations, Mapping | tuple):
            array = np.concatenate(encode_parts(self._space, observations), axis=1)
        else:
            array = np.asarray(observations)
            if array.shape[1:] != self.observation_shape or array.ndim == 0:
                raise ValueError(
                    f"observations of shape {array.shape}; expected a batch of "
                    f"{self.observation_shape}, that is (batch, *{self.observation_shape})"
                )
            if self._space["type"] in ("Discrete", "MultiDiscrete"):
                array = np.concatenate(encode_parts(self._space, array), axis=1)
            elif self._has_channels_first:
                array = array.transpose(0, 2, 3, 1)
        if "normalisation.observations.mean" in self.tensors:
            mean = self.tensors["normalisation.observations.mean"].numpy()
            variance = self.tensors["normalisation.observations.variance"].numpy()
            standardised = (array - mean) / np.sqrt(variance + _NORMALISER_EPSILON)
            array = np.clip(standardised, -_NORMALISER_CLIP, _NORMALISER_CLIP)
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    # -- the network --------------------------------------------------------------------------

    def _run(self, which: int, batch: Tensor) -> Array:
        """The outputs of the policy's (0) or the value's head (1)."""
        outputs: Array = self._heads[which](self._encoders[which](batch)).numpy()
        return outputs

    def _read_encoder(self, name: str) -> Layer:
        activate = _ACTIVATIONS[self._network["activation"]]
        if not self._network["convolutions"]:
            layers = [f"encoder.{name}.{index}" for index in range(len(self._network["hiddens"]))]
            return _chain([self._read_dense(layer, activate) for layer in layers])
        convolve = _chain(
            [
                self._read_convolution(f"encoder.{name}.{index}", layer, activate)
                for index, layer in enumerate(self._network["convolutions"])
            ]
        )
        return lambda batch: convolve(batch.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).flatten(1)

    def _read_head(self, head: str) -> Layer:
        activate = _ACTIVATIONS[self._network["head_activation"]]
        names = [f"head.{head}.{index}" for index in range(len(self._network["head_hiddens"]))]
        hidden = [self._read_dense(name, activate) for name in names]
        return _chain([*hidden, self._read_dense(f"head.{head}.out", None)])

    def _read_convolution(self, name: str, layer: Mapping[str, Any], activate: Layer) -> Layer:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        padding, stride = tuple(layer["padding"]), tuple(layer["stride"])

        def convolve(batch: Tensor) -> Tensor:
            padded = functional.pad(batch, padding)
            return activate(functional.conv2d(padded, weight, bias, stride))

        return convolve

    def _read_dense(self, name: str, activate: Layer | None) -> Layer:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        scale = self.tensors.get(f"{name}.norm.weight")
        shift = self.tensors.get(f"{name}.norm.bias")

        def run(batch: Tensor) -> Tensor:
            output = functional.linear(batch, weight, bias)
            if scale is not None:
                output = functional.layer_norm(
                    output, scale.shape, scale, shift, _LAYERNORM_EPSILON
                )
            return output if activate is None else activate(output)

        return run

    # -- actions ------------------------------------------------------------------------------

    def _choose_epsilon_greedily(
        self, values: Array, generator: np.random.Generator | None
    ) -> Array:
        greedy: Array = values.argmax(axis=-1)
        if generator is None:
            return greedy
        epsilon = self._find_epsilon()
        # One number says whether to explore and, from where it lies below epsilon, with what.
        points = generator.random(len(values), dtype=np.float32)
        scale = np.float64(values.shape[-1] / (epsilon if epsilon > 0 else 1.0))
        explored = (points * scale).astype(np.int64)
        return np.where(points < epsilon, np.minimum(explored, values.shape[-1] - 1), greedy)

    def _find_epsilon(self) -> float:
        epsilon = self.description.get("epsilon")
        if epsilon is None:
            raise ValueError(
                "agent.json does not say with which epsilon this agent explores; an earlier "
                "version wrote it: play it greedily"
            )
        return float(epsilon)

    def _count(self, numbers: Array) -> Array:
        """Choices counted from 0 as the space counts them."""
        dtype = np.dtype(self._actions.get("dtype", "int64"))
        counted: Array = numbers.astype(dtype) + np.asarray(self._actions["start"], dtype=dtype)
        return counted


def _chain(layers: Sequence[Layer]) -> Layer:
    def run(batch: Tensor) -> Tensor:
        for layer in layers:
            batch = layer(batch)
        return batch

    return run


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
