"""A torch agent as one graph of tensors: observations in; actions, probabilities, values out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.agents.torch_policy.convolutions import ACTIVATIONS, read_traced_convolutions
from sweeper.agents.torch_policy.dense import LAYERNORM_EPSILON
from sweeper.agents.torch_policy.network import Network, read_network
from sweeper.agents.torch_policy.policy import NORMALISER_CLIP, NORMALISER_EPSILON, TorchPolicy
from sweeper.agents.torch_policy.spaces import BoxActions

__all__ = ["PolicyGraph"]


class PolicyGraph(nn.Module):
    """What `TorchPolicy` computes greedily, in torch alone, so that it can be traced.

    Takes observations as the environment gives them, in a batch; those of a Dict or Tuple as
    ``gymnasium.spaces.flatten`` has them, ``float32[batch, size]``.

    Attributes:
        outputs: names of what `forward` returns, in order.

    Args:
        policy: loaded.
    """

    def __init__(self, policy: TorchPolicy) -> None:
        super().__init__()
        description = policy.description
        self._policy = policy
        self._actions: Mapping[str, Any] = description["action_space"]
        self._names = {name: name.replace(".", "__") for name in policy.tensors}
        for name, tensor in policy.tensors.items():
            self.register_buffer(self._names[name], torch.from_numpy(tensor))
        self.outputs = ("actions", *self._list_outputs())

    def _list_outputs(self) -> list[str]:
        policy = self._policy
        if policy.has_q_values:
            atoms = ["return_probabilities"] if policy.description["num_atoms"] > 1 else []
            return ["q_values", *atoms, "value"]
        own = ["logits", "probabilities"] if policy.box is None else ["mean", "deviation"]
        return [*own, *(["value"] if policy.has_value else [])]

    def example(self, batch: int) -> Tensor:
        """Observations of zeros, of the dtype and shape that the graph takes."""
        space = self._policy.description["observation_space"]
        kind: np.dtype[Any] = np.dtype(np.float32)
        if space["type"] in ("Discrete", "MultiDiscrete"):
            kind = np.dtype(np.int64)
        elif space["type"] == "Box":
            kind = np.dtype(space["dtype"])
        shape = (batch, *self._policy.observation_shape)
        array = np.zeros(shape, kind)
        if kind.kind == "i":  # of choices the first, which may not be 0
            array += np.asarray(space.get("start", 0), kind)
        return torch.from_numpy(array)

    def forward(self, observations: Tensor) -> tuple[Tensor, ...]:
        """The outputs that `outputs` names, each with the batch as its first axis."""
        network = read_network(
            self._policy.description["network"],
            {name: getattr(self, own) for name, own in self._names.items()},
            has_value=self._policy.has_value,
            dense=_read_dense,
            convolutions=read_traced_convolutions,
        )
        encoded = self._encode(observations)
        if self._policy.has_q_values:
            return self._answer_q_values(network, encoded)
        outputs = network.policy_head(network.policy_encoder(encoded))
        values = [] if network.value_head is None else [self._value(network, encoded)]
        box = self._policy.box
        if box is None:
            parts = torch.split(outputs, self._sizes(), dim=1)
            probabilities = torch.cat([torch.softmax(part, dim=1) for part in parts], dim=1)
            return (self._count(parts), outputs, probabilities, *values)
        mean, deviation = self._split_gaussian(outputs, box)
        return (_fit(box, mean), mean, deviation, *values)

    def _encode(self, observations: Tensor) -> Tensor:
        policy = self._policy
        space = policy.description["observation_space"]
        if space["type"] == "Discrete":
            encoded = _one_hot(observations - space["start"], space["n"])
        elif space["type"] == "MultiDiscrete":
            columns = observations - torch.tensor(space["start"])
            encoded = torch.cat(
                [_one_hot(columns[:, index], n) for index, n in enumerate(space["nvec"])], dim=1
            )
        else:
            encoded = observations
            if policy.has_channels_first:
                encoded = encoded.permute(0, 2, 3, 1)
        if "normalisation.observations.mean" in policy.tensors:
            mean = getattr(self, self._names["normalisation.observations.mean"])
            variance = getattr(self, self._names["normalisation.observations.variance"])
            scaled = (encoded - mean) / torch.sqrt(variance + NORMALISER_EPSILON)
            encoded = torch.clamp(scaled, -NORMALISER_CLIP, NORMALISER_CLIP)
        return encoded.to(torch.float32)

    def _value(self, network: Network, encoded: Tensor) -> Tensor:
        """In the environment's rewards, even if the critic learned from normalised ones."""
        assert network.value_head is not None  # noqa: S101
        values: Tensor = network.value_head(network.value_encoder(encoded))[:, 0]
        name = "normalisation.rewards.variance"
        if name not in self._names:
            return values
        variance = getattr(self, self._names[name])
        return values * torch.sqrt(variance + NORMALISER_EPSILON).to(torch.float32)

    def _split_gaussian(self, outputs: Tensor, box: BoxActions) -> tuple[Tensor, Tensor]:
        size, (low, high) = box.size, self._policy.log_std_range
        if "log_std" in self._names:
            free = getattr(self, self._names["log_std"])
            logs = free.unsqueeze(0).expand(outputs.shape[0], size)
        else:
            logs = outputs[:, size:]
        return outputs[:, :size], torch.exp(torch.clamp(logs, low, high))

    def _answer_q_values(self, network: Network, encoded: Tensor) -> tuple[Tensor, ...]:
        described = self._policy.description
        hidden = network.policy_encoder(encoded)
        outputs, atoms = network.policy_head(hidden), described["num_atoms"]
        state = None if network.value_head is None else network.value_head(hidden)
        if atoms == 1:
            q_values = outputs
            if state is not None:
                q_values = outputs + state - outputs.mean(dim=1, keepdim=True)
            return self._count((q_values,)), q_values, q_values.amax(dim=1)
        logits = outputs.reshape(-1, self._actions["n"], atoms)
        if state is not None:
            logits = logits - logits.mean(dim=2, keepdim=True) + state.unsqueeze(2)
        probabilities = torch.softmax(logits, dim=2)
        support = torch.linspace(described["v_min"], described["v_max"], atoms)
        q_values = (probabilities * support).sum(dim=2)
        return self._count((q_values,)), q_values, probabilities, q_values.amax(dim=1)

    def _sizes(self) -> list[int]:
        return [self._actions["n"]] if "n" in self._actions else list(self._actions["nvec"])

    def _count(self, parts: tuple[Tensor, ...]) -> Tensor:
        """The greatest of each part, counted as the action space counts."""
        kind = getattr(torch, self._actions.get("dtype", "int64"))
        chosen = torch.stack([part.argmax(dim=1) for part in parts], dim=1)
        counted = chosen.to(kind) + torch.tensor(np.atleast_1d(self._actions["start"]), dtype=kind)
        return counted[:, 0] if self._actions["type"] == "Discrete" else counted


def _read_dense(
    tensors: Mapping[str, Tensor], name: str, activation: str | None
) -> Callable[[Tensor], Tensor]:
    """`sweeper.agents.torch_policy.dense.read_dense` in torch."""
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    scale, shift = tensors.get(f"{name}.norm.weight"), tensors.get(f"{name}.norm.bias")
    activate = ACTIVATIONS[activation or "linear"]

    def run(batch: Tensor) -> Tensor:
        output = functional.linear(batch, weight, bias)
        if scale is not None:
            output = functional.layer_norm(output, scale.shape, scale, shift, LAYERNORM_EPSILON)
        return activate(output)

    return run


def _one_hot(numbers: Tensor, size: int) -> Tensor:
    return (numbers.unsqueeze(1) == torch.arange(size)).to(torch.float32)


def _fit(box: BoxActions, numbers: Tensor) -> Tensor:
    """`BoxActions.fit` in torch."""
    unsquashed = box.is_unsquashed

    def constant(array: np.ndarray[Any, Any], otherwise: float) -> Tensor:
        return torch.from_numpy(np.where(unsquashed, array, otherwise).astype(array.dtype))

    # 0 + (number + 0) * 1 where numbers stay as they are.
    origin, offset = constant(box.origin, 0.0), constant(box.offset, 0.0)
    actions = origin + (numbers + offset) * constant(box.half, 1.0)
    if box.is_clipped:
        low, high = torch.from_numpy(box.low), torch.from_numpy(box.high)
        actions = torch.minimum(torch.maximum(actions, low), high)
    kind = getattr(torch, str(box.dtype))
    return actions.reshape(-1, *box.shape).to(kind)
