"""What a policy's actions are drawn from, and what DQN thinks of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from sweeper.errors import UserError
from sweeper.hints import show

__all__ = [
    "ActionDistribution",
    "ActionError",
    "Categorical",
    "Gaussian",
    "QValues",
    "SquashedGaussian",
    "build_distribution",
]

Array: TypeAlias = np.ndarray[Any, Any]
Seed: TypeAlias = int | np.random.Generator | None

_HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)
_INSIDE = 1 - 1e-6  # as far as RLlib inverts a tanh


class ActionDistribution(Protocol):
    """What an agent that explores draws its actions from.

    Of one observation, or of a batch; then everything has the batch as its first axis.
    """

    def sample(self, seed: Seed = None) -> Any:
        """An action, as ``env.step`` takes it: what ``act(explore=True)`` does with that seed."""

    def mode(self) -> Any:
        """The greedy action, as ``act`` returns it."""

    def log_prob(self, action: Any) -> Any:
        """The logarithm of an action's probability, or of its density.

        Args:
            action: as ``act`` and ``sample`` return it.

        Raises:
            ActionError: it has another shape or type.
        """

    def entropy(self) -> Any:
        """The entropy in nats."""

    def to_json(self) -> dict[str, Any]:
        """For ``sweeper inspect --json``."""


class ActionError(UserError, ValueError):
    """An action that a distribution is not of."""


@dataclass(frozen=True)
class _Drawn:
    """One observation or a batch, and how actions for it are drawn.

    Attributes:
        is_single: whether there is no axis of a batch.
        act: actions ``[batch, ...]``; greedy ones without a generator.
    """

    is_single: bool = field(repr=False)
    act: Callable[[np.random.Generator | None], Array] = field(repr=False)

    def sample(self, seed: Seed = None) -> Any:
        """See `ActionDistribution`."""
        return self._shape(self.act(np.random.default_rng(seed)))

    def mode(self) -> Any:
        """See `ActionDistribution`."""
        return self._shape(self.act(None))

    def _shape(self, batch: Array) -> Any:
        return batch[0] if self.is_single else batch

    def _batch(self, action: Any, shape: tuple[int, ...], rows: int) -> Array:
        """Actions ``[batch, *shape]``, after their shape was looked at."""
        try:
            array = np.asarray(action)
        except ValueError:  # of lists of unequal lengths
            array = np.empty(0, object)
        wanted = shape if self.is_single else (rows, *shape)
        if array.dtype.kind not in "biuf" or array.shape != wanted:
            of = "one observation" if self.is_single else f"a batch of {rows}"
            raise ActionError(
                f"the action is {show(action)}; the distribution is of {of}, so its action is an "
                f"array of shape {wanted}" + (", a number" if not wanted else "")
            )
        return array[None] if self.is_single else array


@dataclass(frozen=True)
class Categorical(_Drawn):
    """Over the choices of a Discrete or MultiDiscrete space.

    Attributes:
        log_probabilities: of each part, ``[batch, choices]``; one part for Discrete.
        start: the number of the first choice, of each part.
        is_multiple: whether the space is a MultiDiscrete.
    """

    log_probabilities: tuple[Array, ...] = field(repr=False)
    start: tuple[int, ...]
    is_multiple: bool

    @property
    def probabilities(self) -> Any:
        """``[choices]``, or ``[batch, choices]``; a tuple of those for a MultiDiscrete."""
        parts = tuple(self._shape(np.exp(part)) for part in self.log_probabilities)
        return parts if self.is_multiple else parts[0]

    def log_prob(self, action: Any) -> Any:
        """See `ActionDistribution`; ``-inf`` for an action that the space does not have."""
        shape = (len(self.start),) if self.is_multiple else ()
        batch = self._batch(action, shape, len(self.log_probabilities[0]))
        numbers = batch.reshape(-1, len(self.start)) - np.asarray(self.start)
        total = np.zeros(len(numbers))
        for column, part in zip(numbers.T, self.log_probabilities, strict=True):
            choice = column.astype(np.int64)
            is_known = (choice == column) & (choice >= 0) & (choice < part.shape[1])
            rows = np.broadcast_to(part, (len(choice), part.shape[1]))
            found = rows[np.arange(len(choice)), np.where(is_known, choice, 0)]
            total += np.where(is_known, found, -np.inf)
        return self._shape(total)

    def entropy(self) -> Any:
        """See `ActionDistribution`; over all parts."""
        with np.errstate(invalid="ignore"):
            parts = [
                -np.where(part > -np.inf, np.exp(part) * part, 0.0).sum(axis=-1)
                for part in self.log_probabilities
            ]
        return self._shape(np.sum(parts, axis=0))

    def to_json(self) -> dict[str, Any]:
        """See `ActionDistribution`."""
        known = self.probabilities
        listed = [part.tolist() for part in known] if self.is_multiple else known.tolist()
        return {"kind": "categorical", "probabilities": listed}

    def __repr__(self) -> str:
        return f"Categorical(probabilities={self.probabilities})"


@dataclass(frozen=True)
class Gaussian(_Drawn):
    """Over the numbers of a Box, each on its own, in the policy's own units.

    Where the policy acts from -1 to 1 and the environment from bound to bound, -1 and 1 stand for
    the bounds. An action is clipped to the bounds after it was drawn.

    Attributes:
        mean: ``[*action]``, or ``[batch, *action]``.
        deviation: the same shape.
    """

    mean: Array
    deviation: Array
    to_policy: Callable[[Array], Array] = field(repr=False)

    def log_prob(self, action: Any) -> Any:
        """See `ActionDistribution`: the density in the policy's units, as RLlib's ``action_logp``.

        Of an action that was clipped, that of the bound.
        """
        shape = self.mean.shape if self.is_single else self.mean.shape[1:]
        batch = self._batch(action, shape, len(np.atleast_1d(self.mean)))
        return self._shape(self._log_density(self.to_policy(batch)))

    def entropy(self) -> Any:
        """See `ActionDistribution`; before clipping."""
        total = np.log(self._flat(self.deviation)) + 0.5 + _HALF_LOG_2PI
        return self._shape(total.sum(axis=-1))

    def to_json(self) -> dict[str, Any]:
        """See `ActionDistribution`."""
        known = {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}
        return {"kind": "gaussian", **known}

    def _flat(self, numbers: Array) -> Array:
        batch = numbers[None] if self.is_single else numbers
        return batch.reshape(len(batch), -1).astype(np.float64)

    def _log_density(self, numbers: Array) -> Array:
        deviation = self._flat(self.deviation)
        z = (numbers - self._flat(self.mean)) / deviation
        total: Array = -(0.5 * z * z + np.log(deviation) + _HALF_LOG_2PI).sum(axis=-1)
        return total


@dataclass(frozen=True)
class SquashedGaussian(Gaussian):
    """A Gaussian's numbers, squashed by tanh into -1 to 1, as SAC's (Haarnoja et al. 2018).

    Attributes:
        mean: before it is squashed.
        deviation: the same.
    """

    def entropy(self) -> Any:
        """It has no closed form.

        Raises:
            UserError: always.
        """
        raise UserError(
            "the entropy of a squashed Gaussian has no closed form; the mean of -log_prob over "
            "samples estimates it"
        )

    def to_json(self) -> dict[str, Any]:
        """See `ActionDistribution`."""
        return {**super().to_json(), "kind": "squashed gaussian"}

    def _log_density(self, numbers: Array) -> Array:
        inside = np.arctanh(np.clip(numbers, -_INSIDE, _INSIDE))
        # log(1 - tanh(x)^2), in the stable form of Haarnoja et al., appendix C.
        jacobian = 2 * (np.log(2) - inside - np.logaddexp(0, -2 * inside))
        total: Array = super()._log_density(inside) - jacobian.sum(axis=-1)
        return total


def build_distribution(
    parts: Mapping[str, Any],
    *,
    is_single: bool,
    act: Callable[[np.random.Generator | None], Array],
) -> ActionDistribution:
    """Build the distribution that a policy describes.

    Args:
        parts: see `Policy.distribution`.
        is_single: whether the batch is one observation.
        act: draws actions for the batch.
    """
    if "mean" in parts:
        kind = SquashedGaussian if parts["is_squashed"] else Gaussian
        mean, deviation = (
            (one[0] if is_single else one) for one in (parts["mean"], parts["deviation"])
        )
        return kind(is_single, act, mean, deviation, parts["to_policy"])
    if "logits" in parts:
        logs = tuple(_log_softmax(part) for part in parts["logits"])
    else:
        with np.errstate(divide="ignore"):
            logs = tuple(np.log(part) for part in parts["probabilities"])
    return Categorical(is_single, act, logs, parts["start"], parts["is_multiple"])


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


@dataclass(frozen=True)
class QValues:
    """DQN's Q-values, of one observation or of a batch; used as an array it is ``values``.

    Attributes:
        values: ``[actions]``, or ``[batch, actions]``.
        probabilities: of the return's distribution over ``atoms``, ``[..., actions, atoms]``; None
            if only its expectation was learned.
        atoms: the returns that the atoms stand for, ``[atoms]``.
        advantages: what a dueling network's head for them gives, uncentred: ``[..., actions]``, or
            with a distribution its logits ``[..., actions, atoms]``; None without dueling.
        state_value: of a dueling network, a number or ``[batch]``; with a distribution it is added
            to the logits, and is no return.
    """

    values: Array
    probabilities: Array | None = None
    atoms: Array | None = None
    advantages: Array | None = None
    state_value: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of ``values``."""
        return tuple(self.values.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.values, dtype=dtype, copy=copy)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: Any) -> Any:
        return self.values[key]

    def to_json(self) -> dict[str, Any]:
        """For ``sweeper inspect --json``."""
        return {
            name: None if one is None else np.asarray(one).tolist()
            for name, one in vars(self).items()
        }
