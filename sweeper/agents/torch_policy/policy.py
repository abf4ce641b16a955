"""A torch agent's network, evaluated: observations in, actions and values out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from .network import read_network
from .spaces import BoxActions, encode_parts, plain_shape
from .tensors import read_tensors

__all__ = ["NORMALISER_CLIP", "NORMALISER_EPSILON", "TorchPolicy"]

Array: TypeAlias = np.ndarray[Any, Any]

_VERSION = 2  # trainers write 1; agents that were trained elsewhere can need more
NORMALISER_EPSILON = 1e-8
NORMALISER_CLIP = 10.0


class TorchPolicy:
    """One replica of an agent.

    Args:
        folder: holds ``agent.json`` and ``weights.safetensors``, whose tensors' first axis is
            the replica.
        replica: its index.
        description: the contents of ``agent.json``, if they were read before.

    Attributes:
        description: the contents of ``agent.json``.
        tensors: the replica's own, by name: the network's weights, and the running moments that
            observations and rewards are normalised by.
        observation_shape: of one observation as an array; for a Dict or Tuple that of
            ``gymnasium.spaces.flatten``.
        box: how the policy's numbers become actions of a Box; None for other action spaces.
        is_squashed: sampled numbers are squashed by tanh, as SAC's are; greedy ones are not.
        has_channels_first: the environment's images, which the network takes channels last.
        has_q_values: it chooses by Q-values, not from a distribution.
        has_value: its network has a head for the value of a state.

    Raises:
        FileNotFoundError: the folder holds no agent.
        ValueError: the agent was written by a newer version, or has no such replica.
    """

    def __init__(
        self,
        folder: str | Path,
        replica: int = 0,
        description: Mapping[str, Any] | None = None,
    ) -> None:
        root = Path(folder)
        if description is None:
            description = json.loads((root / "agent.json").read_text("utf-8"))
        self.description: Mapping[str, Any] = description
        if self.description["version"] > _VERSION:
            raise ValueError(
                f"{root} was written in format {self.description['version']}; this version "
                f"reads up to {_VERSION}"
            )
        tensors = read_tensors(root / "weights.safetensors")
        replicas = len(self.description["seeds"])
        found = {len(tensor) if tensor.ndim else 0 for tensor in tensors.values()}
        if found - {replicas}:
            raise ValueError(f"{root} has tensors of {max(found)} replicas, not {replicas}")
        if not 0 <= replica < replicas:
            raise ValueError(f"{root} has replicas 0 to {replicas - 1}, not {replica}")
        self.tensors: dict[str, Array] = {
            name: np.array(tensor[replica]) for name, tensor in tensors.items()
        }
        self._network: Mapping[str, Any] = self.description["network"]
        self._space: Mapping[str, Any] = self.description["observation_space"]
        self._actions: Mapping[str, Any] = self.description["action_space"]
        self.observation_shape = plain_shape(self._space)
        # The network takes the channels last. Agents of older versions were trained on images as
        # the environment gave them.
        seen = tuple(self._network["observation_shape"])
        self.has_channels_first = len(seen) == 3 and seen != self.observation_shape
        self.is_squashed = bool(self.description.get("is_squashed", False))
        self.has_q_values = self.description["algorithm"] == "DQN"
        self.has_value: bool = self.description.get("has_value", True)
        if self.has_q_values:
            self.has_value = self.description["dueling"]
        self._layers = read_network(self._network, self.tensors, has_value=self.has_value)
        self._moments = self._read_moments()
        self.box = None
        if self._actions["type"] == "Box":
            self.box = BoxActions(
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
        if self.has_q_values:
            values = self._combine(*self._q_heads(observations))[0]
            return self._count(self._choose_epsilon_greedily(values, generator))
        if generator is None and self.box is not None:  # for which no deviation matters
            layers = self._layers
            outputs = layers.policy_head(layers.policy_encoder(self._encode(observations)))
            return self.box.fit(outputs[:, : self.box.size])
        return self._choose_actions(self.distribution_inputs(observations), generator)

    def distribution_inputs(self, observations: Any) -> Array:
        """What PPO's distribution of actions is made of, ``float32[batch, inputs]``.

        Logits, those of a MultiDiscrete space's parts side by side; of a Box means, then the
        logarithms of the deviations.
        """
        layers = self._layers
        encoded = layers.policy_encoder(self._encode(observations))
        outputs: Array = layers.policy_head(encoded)
        if self.box is None:
            return outputs
        if "log_std" in self.tensors:
            free = np.broadcast_to(self.tensors["log_std"], outputs.shape)
            outputs = np.concatenate([outputs, free], axis=1)
        size = self.box.size
        outputs[:, size:] = outputs[:, size:].clip(*self.log_std_range)
        return outputs

    @property
    def log_std_range(self) -> tuple[float, float]:
        """Between which numbers the logarithms of a Box's deviations are kept."""
        limit = self._network.get("log_std_clip", np.inf)
        low, high = self._network.get("log_std_range", (-limit, limit))
        return float(low), float(high)

    def _choose_actions(self, inputs: Array, generator: np.random.Generator | None) -> Array:
        """Actions from PPO's `distribution_inputs`: as `act` returns them."""
        if self.box is None:
            parts = self._split(inputs)
            if generator is None and len(parts) == 1:
                chosen = inputs.argmax(axis=-1)[:, None]
            else:
                chosen = _choose(parts, generator)
            return self._count(chosen[:, 0] if self._actions["type"] == "Discrete" else chosen)
        numbers = inputs[:, : self.box.size]
        if generator is not None:
            noise = generator.standard_normal(numbers.shape, dtype=np.float32)
            numbers = numbers + np.exp(inputs[:, self.box.size :]) * noise
            if self.is_squashed:
                numbers = np.tanh(numbers)
        return self.box.fit(numbers)

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
            numbers ``mean`` and ``deviation``, ``[batch, *action]``, before they are squashed and
            fitted to the action space, with ``to_policy``, which makes fitted numbers
            ``[batch, size]`` of actions, and ``is_squashed``.

        Raises:
            ValueError: the agent can't explore.
        """
        start = np.atleast_1d(self._actions.get("start", 0)).tolist()
        choices = {"start": tuple(start), "is_multiple": self._actions["type"] == "MultiDiscrete"}
        if self.has_q_values:
            values = self.q_values(observations)["values"]
            epsilon = self._find_epsilon()
            explored = np.full(values.shape, epsilon / values.shape[-1])
            explored[np.arange(len(values)), values.argmax(axis=-1)] += 1 - epsilon
            return {"probabilities": [explored], **choices}
        inputs = self.distribution_inputs(observations)
        if self.box is None:
            return {"logits": self._split(inputs), **choices}
        shape = (len(inputs), *self._actions["shape"])
        size, fitted = self.box.size, {"to_policy": self.box.unfit, "is_squashed": self.is_squashed}
        mean, deviation = inputs[:, :size].reshape(shape), np.exp(inputs[:, size:]).reshape(shape)
        return {"mean": mean, "deviation": deviation, **fitted}

    def values(self, observations: Any) -> Array:
        """The value of each state, ``float32[batch]``: the discounted return that is expected.

        Of PPO the critic's, in the environment's rewards even if the critic learned from
        normalised ones; of DQN the greatest Q-value.

        Raises:
            ValueError: the algorithm has none.
        """
        if self.has_q_values:
            greatest: Array = self.q_values(observations)["values"].max(axis=-1)
            return greatest
        layers = self._layers
        if layers.value_head is None:
            raise ValueError(f"{self.description['algorithm']} has no value of a state")
        encoded = layers.value_encoder(self._encode(observations))
        values: Array = layers.value_head(encoded)[:, 0]
        variance = self.tensors.get("normalisation.rewards.variance")
        if variance is None:
            return values
        return values * np.float32(np.sqrt(float(variance) + NORMALISER_EPSILON))

    def q_values(self, observations: Any) -> dict[str, Any]:
        """DQN's Q-values and what they are made of; see `sweeper.agents.distributions.QValues`.

        Raises:
            ValueError: the agent is none of DQN.
        """
        if not self.has_q_values:
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
            name: tensor
            for name, tensor in self.tensors.items()
            if not name.startswith("normalisation.") and not self._is_unused(name)
        }

    def normalisation(self) -> dict[str, Array]:
        """The running moments that observations and rewards were normalised by, by name."""
        prefix = "normalisation."
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def _is_unused(self, name: str) -> bool:
        """Whether it is of the value's head of a DQN that has none."""
        return not self.has_value and name.startswith("head.value.")

    def _q_heads(self, observations: Any) -> tuple[Array, Array | None]:
        """DQN's heads: ``float32[batch, actions * atoms]`` and, if dueling, ``float32[batch, 1]``.

        The first are advantages if the second, the states' values, are there.
        """
        layers = self._layers
        encoded = layers.policy_encoder(self._encode(observations))
        advantages = layers.policy_head(encoded)
        return advantages, None if layers.value_head is None else layers.value_head(encoded)

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

    def _encode(self, observations: Any) -> Array:
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
            elif self.has_channels_first:
                array = array.transpose(0, 2, 3, 1)
        if len(self.observation_shape) < 2:
            array = array.reshape(len(array), -1)  # of single numbers, too
        if self._moments is not None:
            mean, deviation = self._moments
            array = ((array - mean) / deviation).clip(-NORMALISER_CLIP, NORMALISER_CLIP)
        return np.ascontiguousarray(array, dtype=np.float32)

    def _read_moments(self) -> tuple[Array, Array] | None:
        """The mean and deviation that observations are standardised by, if they are."""
        if "normalisation.observations.mean" not in self.tensors:
            return None
        mean = self.tensors["normalisation.observations.mean"]
        variance = self.tensors["normalisation.observations.variance"]
        return mean, np.sqrt(variance + NORMALISER_EPSILON)

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
