"""Where the values of trials lie in the ranges that were searched.

A position is 0 at the lower bound and 1 at the upper one, on the scale that values are drawn on. A
choice of at least three numbers has positions too, by their order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sweeper.results.records import TrialRecord
from sweeper.results.scoring import as_float
from sweeper.search.configuration import flatten_parameters
from sweeper.search.distributions import Distribution, distributions

__all__ = ["Scale", "Side", "largest_by_chance", "list_scales", "list_sides", "savage_scores"]

_MIN_VALUES = 3
_FURTHEST = 1e6
_MAX_SHUFFLES, _MIN_SHUFFLES = 1999, 499
_MAX_CELLS = 4_000_000  # of the table of shuffles

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """The range of one searched parameter.

    Attributes:
        name: dotted.
        low: its smallest value.
        high: its largest.
        is_log: whether draws are uniform on a log scale.
        is_integer: whether values are whole numbers.
        values: of a choice, ascending; empty for a range.
    """

    name: str
    low: float
    high: float
    is_log: bool
    is_integer: bool
    values: tuple[float, ...] = ()

    def position(self, value: Any) -> float:
        """Where a value lies, from 0 to 1; NaN for one that has no place, or lies far outside."""
        number = as_float(value)
        if number is None:
            return math.nan
        if self.values:
            is_known = number in self.values
            return self.values.index(number) / (len(self.values) - 1) if is_known else math.nan
        if self.is_log and number <= 0:
            return math.nan
        low, high = (math.log(end) if self.is_log else end for end in (self.low, self.high))
        position = ((math.log(number) if self.is_log else number) - low) / (high - low)
        return position if abs(position) <= _FURTHEST else math.nan

    def value_at(self, position: float) -> float:
        """The value at a position of a range; beyond 0 and 1 it goes on as before."""
        low, high = (math.log(end) if self.is_log else end for end in (self.low, self.high))
        value = low + position * (high - low)
        value = math.exp(value) if self.is_log else value
        return float(round(value)) if self.is_integer else value


@dataclass(frozen=True)
class Side:
    """One end of a parameter's range, and how a group of trials leans to it.

    Attributes:
        scale: of the parameter.
        is_upper: which end.
        positions: float64[trials], the distance from the other end, so that 1 is this one.
    """

    scale: Scale
    is_upper: bool
    positions: Array

    @property
    def bound(self) -> float:
        """The value at this end."""
        return self.scale.high if self.is_upper else self.scale.low


def list_scales(param_space: Mapping[str, Any]) -> list[Scale]:
    """The parameters whose values have an order and are always set."""
    scales = []
    for path, leaf in distributions(param_space):
        if leaf.when is None and (scale := _describe(".".join(path), leaf)) is not None:
            scales.append(scale)
    return scales


def _describe(name: str, leaf: Distribution) -> Scale | None:
    if leaf.bounds is not None:
        low, high = leaf.bounds
        if not low < high:
            return None
        return Scale(name, float(low), float(high), leaf.is_log, leaf.is_integer)
    values = leaf.values or ()
    is_numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )
    ordered = tuple(sorted(set(values))) if is_numbers else ()
    if len(ordered) < _MIN_VALUES:
        return None
    return Scale(name, ordered[0], ordered[-1], False, False, ordered)


def list_sides(param_space: Mapping[str, Any], trials: Sequence[TrialRecord]) -> list[Side]:
    """Both ends of every parameter that has a place in its range in all of the trials."""
    flat = [flatten_parameters(one.parameters) for one in trials]
    sides = []
    for scale in list_scales(param_space):
        positions = np.array([scale.position(one.get(scale.name)) for one in flat], np.float64)
        if not np.isnan(positions).any():
            sides += [Side(scale, True, positions), Side(scale, False, 1 - positions)]
    return sides


def savage_scores(merits: Array) -> Array:
    """Weights by rank that fall from the best on like the steps of a harmonic series.

    They ask where the best trials lie, and still hear the others. Equal merits share theirs.

    Args:
        merits: float64[trials], more is better.

    Returns:
        float64[trials], with mean 0.
    """
    number = len(merits)
    by_rank = np.cumsum(1 / np.arange(number, 0, -1.0))[::-1] - 1
    _, group = np.unique(-merits, return_inverse=True)
    order = np.argsort(group, kind="stable")
    shared = np.zeros(group.max() + 1)
    np.add.at(shared, group[order], by_rank)
    return np.asarray((shared / np.bincount(group))[group], dtype=np.float64)


def largest_by_chance(sides: Sequence[Side], weights: Array, *, seed: int = 0) -> list[float]:
    """How often chance lets trials lean to any side as far as these lean to each.

    The weighted sum of positions is held against those of shuffled weights; the largest of all
    sides counts, in deviations of its own (Westfall and Young 1993), so that together they err as
    often as one.

    Args:
        sides: with positions that are numbers; at least one.
        weights: float64[trials], larger for those that are asked about.
        seed: of the shuffles.

    Returns:
        One p-value per side.
    """
    generator = np.random.default_rng(seed)
    number = len(weights)
    shuffles = int(min(_MAX_SHUFFLES, max(_MIN_SHUFFLES, _MAX_CELLS // number)))
    matrix = np.stack([side.positions for side in sides])  # [sides, trials]
    matrix = matrix - matrix.mean(axis=1, keepdims=True)
    weights = weights - weights.mean()
    deviation = np.sqrt((matrix**2).sum(axis=1) * (weights**2).sum() / max(number - 1, 1))
    deviation = np.maximum(deviation, 1e-12)
    shuffled = weights[generator.random((shuffles, number)).argsort(axis=1)]
    largest = ((matrix @ shuffled.T) / deviation[:, None]).max(axis=0)
    observed = (matrix @ weights) / deviation
    # Of equal sums the last digits may differ.
    above = (largest[None, :] >= observed[:, None] - 1e-9).sum(axis=1)
    return [float(count) for count in (1 + above) / (1 + shuffles)]
