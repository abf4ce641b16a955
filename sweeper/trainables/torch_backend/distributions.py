"""Action distributions of all replicas at once, and the conversion of actions for environments.

The network's outputs are a distribution's inputs, ``float[replicas, rows, input_size]``. The
densities are torch, for autograd. Sampling is numpy, from noise that each replica draws from its
own generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from sweeper.errors import ConfigurationRefusedError

__all__ = ["ActionDistribution", "Categorical", "DiagGaussian", "build_distribution"]

Array = NDArray[Any]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Categorical:
    """Choices of Discrete and MultiDiscrete action spaces, one per column.

    Attributes:
        is_gaussian: the second half of the inputs are log deviations.
        choices: number of choices in each column.
        start: number of the first choice in each column.
        is_vector: the environment takes a vector (MultiDiscrete), not a number.
        dtype: dtype of the space.
    """

    is_gaussian: ClassVar[bool] = False
    choices: tuple[int, ...]
    start: tuple[int, ...]
    is_vector: bool
    dtype: np.dtype[Any]

    @property
    def input_size(self) -> int:
        """Outputs of the policy network: one logit per choice."""
        return sum(self.choices)

    @property
    def columns(self) -> int:
        """Numbers per action in a batch."""
        return len(self.choices)

    def normalise(self, inputs: Tensor) -> Tensor:
        """Prepare inputs for the three densities below: log probabilities."""
        if len(self.choices) == 1:
            return torch.log_softmax(inputs, dim=-1)
        parts = torch.split(inputs, list(self.choices), dim=-1)
        return torch.cat([torch.log_softmax(part, dim=-1) for part in parts], dim=-1)

    def log_prob(self, normalised: Tensor, actions: Tensor) -> Tensor:
        """``float[replicas, rows]`` for actions ``float[replicas, rows, columns]``."""
        offsets = np.cumsum((0, *self.choices[:-1]))
        index = actions.long()
        if len(self.choices) == 1:
            return normalised.gather(-1, index).squeeze(-1)
        index = index + torch.as_tensor(offsets, device=index.device)
        return normalised.gather(-1, index).sum(-1)

    def entropy(self, normalised: Tensor) -> Tensor:
        """``float[replicas, rows]``, summed over the columns."""
        return -(normalised.exp() * normalised).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """KL(old ‖ new), ``float[replicas, rows]``; both are normalised."""
        return (old.exp() * (old - new)).sum(-1)

    def draw_noise(self, generator: np.random.Generator, out: NDArray[np.float32]) -> None:
        """Fill ``float32[envs, columns]`` with noise for `sample`: uniform numbers in [0, 1)."""
        generator.random(dtype=np.float32, out=out)

    def sample(self, inputs: Array, noise: Array) -> NDArray[np.float32]:
        """Actions ``float32[..., columns]`` from inputs ``[..., input_size]`` and noise.

        Inverts the cumulative distribution at one uniform number per column.
        """
        actions = np.empty(noise.shape, dtype=np.float32)
        first = 0
        for column, size in enumerate(self.choices):
            logits = inputs[..., first : first + size]
            first += size
            cumulative = np.exp(logits - logits.max(axis=-1, keepdims=True)).cumsum(axis=-1)
            point = noise[..., column, None] * cumulative[..., -1:]
            # Without the last one: by rounding the point may lie beyond it.
            actions[..., column] = (cumulative[..., :-1] <= point).sum(axis=-1)
        return actions

    def mode(self, inputs: Array) -> NDArray[np.float32]:
        """The largest logit of each column."""
        parts = np.split(inputs, np.cumsum(self.choices[:-1]), axis=-1)
        largest: list[Array] = [part.argmax(axis=-1) for part in parts]
        actions: NDArray[np.float32] = np.stack(largest, axis=-1).astype(np.float32)
        return actions

    def to_env(self, actions: Array) -> Array:
        """Actions for a vector environment's ``step``, from ``[..., envs, columns]``."""
        numbers: Array = actions.astype(self.dtype) + np.asarray(self.start, dtype=self.dtype)
        return numbers if self.is_vector else numbers[..., 0]


@dataclass(frozen=True)
class DiagGaussian:
    """Independent normals of float Box action spaces. Inputs are means, then log deviations.

    The methods are those of `Categorical`. A number becomes an action as ``offset + (number +
    shift) * scale``, clipped to the bounds: each dimension by itself, and in the precision of the
    space, so that every action lies in it. The arrays are ``float[columns]``.

    Attributes:
        shape: shape of the space, of rank 0 or 1.
        dtype: dtype of the space.
        low: lower bounds; the dtype's smallest number where there is none.
        high: upper bounds; the dtype's largest number where there is none.
        offset: 0 in a dimension that is not unsquashed.
        shift: 0 in a dimension that is not unsquashed.
        scale: 1 in a dimension that is not unsquashed.
    """

    is_gaussian: ClassVar[bool] = True
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: Array
    high: Array
    offset: Array
    shift: Array
    scale: Array

    @classmethod
    def build(cls, space: spaces.Box, *, normalize_actions: bool) -> DiagGaussian:
        """The distribution of a float Box.

        With ``normalize_actions`` the dimensions with two bounds are unsquashed, as RLlib does if
        all of them have two: -1 becomes the lower bound, 1 the upper one.
        """
        dtype = np.dtype(space.dtype)
        precision = np.result_type(dtype, np.float32)
        low, high = (bounds.reshape(-1).astype(precision) for bounds in (space.low, space.high))
        with np.errstate(all="ignore"):
            # From the middle if the distance of the bounds is no number of this precision.
            is_huge = ~np.isfinite(high - low)
            origin = np.where(is_huge, low / 2 + high / 2, low)
            half = high / 2 - low / 2
        is_unsquashed = np.isfinite(half) & (half > 0) & normalize_actions
        limits = np.finfo(dtype)
        return cls(
            space.shape,
            dtype,
            low=np.maximum(low, limits.min.astype(precision)),
            high=np.minimum(high, limits.max.astype(precision)),
            offset=np.where(is_unsquashed, origin, 0).astype(precision),
            shift=np.where(is_unsquashed & ~is_huge, 1, 0).astype(precision),
            scale=np.where(is_unsquashed, half, 1).astype(precision),
        )

    @property
    def input_size(self) -> int:
        """A mean and a log deviation per column."""
        return 2 * self.columns

    @property
    def columns(self) -> int:
        """The dimensions of the space."""
        return int(np.prod(self.shape))

    def normalise(self, inputs: Tensor) -> Tensor:
        """The inputs themselves."""
        return inputs

    def log_prob(self, normalised: Tensor, actions: Tensor) -> Tensor:
        """Summed over the dimensions."""
        mean, log_std = normalised.chunk(2, dim=-1)
        z = (actions - mean) * torch.exp(-log_std)
        return -(0.5 * z * z + log_std + _HALF_LOG_2PI).sum(-1)

    def entropy(self, normalised: Tensor) -> Tensor:
        """Summed over the dimensions."""
        log_std = normalised.chunk(2, dim=-1)[1]
        return (log_std + (0.5 + _HALF_LOG_2PI)).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """Summed over the dimensions."""
        old_mean, old_log_std = old.chunk(2, dim=-1)
        mean, log_std = new.chunk(2, dim=-1)
        variance_ratio = torch.exp(2 * (old_log_std - log_std))
        shift = (old_mean - mean) * torch.exp(-log_std)
        return (0.5 * (variance_ratio + shift * shift - 1) + log_std - old_log_std).sum(-1)

    def draw_noise(self, generator: np.random.Generator, out: NDArray[np.float32]) -> None:
        """Standard normal numbers."""
        generator.standard_normal(dtype=np.float32, out=out)

    def sample(self, inputs: Array, noise: Array) -> NDArray[np.float32]:
        """The mean plus scaled noise."""
        mean, log_std = np.split(inputs, 2, axis=-1)
        sampled: NDArray[np.float32] = mean + np.exp(log_std) * noise
        return sampled

    def mode(self, inputs: Array) -> NDArray[np.float32]:
        """The mean."""
        return np.array(inputs[..., : self.columns], dtype=np.float32)

    def to_env(self, actions: Array) -> Array:
        """Unsquashed where asked for and clipped, in the shape and dtype of the space."""
        with np.errstate(over="ignore", invalid="ignore"):
            unsquashed = self.offset + (actions + self.shift) * self.scale
            clipped: Array = np.clip(unsquashed, self.low, self.high)
        return clipped.astype(self.dtype, copy=False).reshape(*actions.shape[:-1], *self.shape)


ActionDistribution = Categorical | DiagGaussian


def build_distribution(
    space: spaces.Space[Any], *, normalize_actions: bool = True
) -> ActionDistribution:
    """The distribution of an action space. Its `to_env` never leaves the space.

    Raises:
        ConfigurationRefusedError: PPO on this backend does not support the space.
    """
    match space:
        case spaces.Discrete():
            return Categorical(
                (int(space.n),), (int(space.start),), is_vector=False, dtype=np.dtype(space.dtype)
            )
        case spaces.MultiDiscrete() if len(space.shape) == 1:
            return Categorical(
                tuple(space.nvec.tolist()),
                tuple(space.start.tolist()),
                is_vector=True,
                dtype=np.dtype(space.dtype),
            )
        case spaces.Box() if len(space.shape) <= 1 and np.issubdtype(space.dtype, np.floating):
            return DiagGaussian.build(space, normalize_actions=normalize_actions)
    raise ConfigurationRefusedError(
        f"action space {space}: PPO on backend torch takes Discrete, MultiDiscrete and float Box "
        "of rank 1; try backend: rllib"
    )
