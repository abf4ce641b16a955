"""New values for a copied trial: near the donor's, and always inside the declared ranges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sweeper.search.conditions import find_deciding
from sweeper.search.distributions import Distribution, Path, distributions, is_same
from sweeper.search.expansion import Sample, draw_sample, list_values

__all__ = ["Mutation", "find_gates", "find_mutable"]

_TRIES = 20  # until a configuration is found whose values go together


@dataclass(frozen=True)
class Mutation:
    """How a trial's values change when it is copied (the explore step of PBT).

    Jaderberg et al. 2017, "Population Based Training of Neural Networks", section 3 and appendix
    A. Tune's own mutation ignores the bounds of a range.

    Attributes:
        space: the param space, nested; leaves are constants or distributions.
        is_held: whether a parameter goes with the donor's weights, by its path.
        resample_probability: how often a value is drawn anew from its distribution.
        factors: what a number is multiplied with otherwise; each is as likely.
        allows: whether the values of a whole configuration go together.
    """

    space: Mapping[str, Any]
    is_held: Callable[[Path], bool] = lambda _: False
    resample_probability: float = 0.25
    factors: tuple[float, float] = (1.2, 0.8)
    allows: Callable[[Mapping[str, Any]], bool] = lambda _: True

    def mutate(
        self, parameters: Mapping[str, Any], generator: np.random.Generator
    ) -> dict[str, Any]:
        """The parameters of a copy.

        Args:
            parameters: the donor's, nested.
            generator: of every choice.

        Returns:
            Nested; the donor's own where no change was found that the rest of the configuration
            goes with. A parameter whose condition is met by the change is drawn, one whose
            condition fails is left out.
        """
        leaves = dict(distributions(self.space))
        values = {path: _value_at(parameters, path) for path in leaves}
        known = {path: value for path, value in values.items() if value is not _MISSING}
        mutable = find_mutable(self.space, self.is_held)
        for _ in range(_TRIES):
            changed = {
                path: self._mutate_value(leaves[path], value, generator)
                if path in mutable
                else value
                for path, value in known.items()
            }
            sample: Sample = draw_sample(self.space, leaves, changed, generator)
            if self.allows(sample.configuration):
                return sample.parameters
        return draw_sample(self.space, leaves, known, generator).parameters

    def _mutate_value(self, leaf: Distribution, value: Any, generator: np.random.Generator) -> Any:
        if generator.random() < self.resample_probability:
            return _draw(leaf, generator)
        if leaf.values is not None:
            return _step_to_neighbour(leaf, value, generator)
        factor = self.factors[int(generator.integers(2))]
        if value == 0 and factor != 1:  # which no factor changes
            return _draw(leaf, generator)
        return _scale(leaf, value, factor)


def find_mutable(space: Mapping[str, Any], is_held: Callable[[Path], bool]) -> list[Path]:
    """The searched parameters that may change while a trial trains, in the space's order.

    Those are single values (no lists or mappings) that have another value to take, that do not go
    with the weights, and that decide over no parameter that does.
    """
    gates = find_gates(space, is_held)
    return [
        path
        for path, leaf in distributions(space)
        if not is_held(path)
        and path not in gates
        and not any(isinstance(value, list | dict) for value in leaf.values or ())
        and _has_several(leaf)
    ]


def find_gates(space: Mapping[str, Any], is_held: Callable[[Path], bool]) -> dict[Path, Path]:
    """The searched parameters that decide whether one applies that goes with the weights.

    Returns:
        The latter by the former; one of them if there are several.
    """
    leaves = dict(distributions(space))
    return {gate: path for path in leaves if is_held(path) for gate in find_deciding(path, leaves)}


def _has_several(leaf: Distribution) -> bool:
    values = list_values(leaf, 1)
    return values is None or any(not is_same(value, values[0]) for value in values)


_MISSING = object()


def _value_at(nested: Mapping[str, Any], path: Path) -> Any:
    value: Any = nested
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    return value


def _draw(leaf: Distribution, generator: np.random.Generator) -> Any:
    alone = {"value": replace(leaf, when=None)}
    leaves = dict(distributions(alone))
    return draw_sample(alone, leaves, {}, generator).parameters["value"]


def _step_to_neighbour(leaf: Distribution, value: Any, generator: np.random.Generator) -> Any:
    """The value listed before or after this one; at an end there is one way only."""
    listed = leaf.values or ()
    here = next((index for index, one in enumerate(listed) if is_same(one, value)), None)
    if here is None or len(listed) < 2:
        return _draw(leaf, generator)
    step = 1 if generator.integers(2) else -1
    there = here + step if 0 <= here + step < len(listed) else here - step
    return listed[there]


def _scale(leaf: Distribution, value: float, factor: float) -> float | int:
    """The product, clipped into the range; on a grid the nearest other value that way."""
    scaled, quantum = value * factor, leaf.quantum
    if scaled == value:
        return value
    if quantum is None:
        lower, upper = leaf.bounds or (-math.inf, math.inf)
        return float(min(max(scaled, lower), upper))
    here, there = round(value / quantum), round(scaled / quantum)
    if there == here:  # a small number, e.g. 2 x 1.2: one step in the same direction
        there += 1 if scaled > value else -1
    if leaf.bounds is not None:
        first, last = leaf.indices
        there = min(max(there, first), last)
    return leaf.multiple(there)
