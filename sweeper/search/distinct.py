"""The configurations of a search without repeats.

Every trial has the same seeds, so a configuration that is drawn twice comes to the same numbers
twice. What `expand` draws is kept where it is new; a repeat is drawn again, until the space has
nothing else.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sweeper.search.distributions import Distribution, Path, distributions
from sweeper.search.expansion import Sample, count, draw_sample, find_fixed, list_values

__all__ = ["Seen", "configuration_key", "count_distinct", "expand_distinct"]

_MAX_DRAWS = 100
_MAX_LISTED = 10_000  # configurations of a space that are compared one by one
_MAX_COUNTED = 20_000
_ANY = "\0any"  # stands for the values of a range that can't be listed


def expand_distinct(
    param_space: Mapping[str, Any],
    num_samples: int,
    seed: int,
    points: Sequence[Mapping[str, Any]] = (),
    asked: Sequence[Mapping[str, Any]] = (),
) -> Iterator[Sample]:
    """The configurations of `expand` in its order, each once.

    Args:
        param_space: as for `expand`, like all but the last.
        num_samples: passes over the grid.
        seed: of the generator of all values.
        points: nested values to start with.
        asked: parameters of the trials that there are already, in order; earlier versions tried
            repeats, too.
    """
    generator = np.random.default_rng(seed)
    leaves = dict(distributions(param_space))
    space = Seen(param_space, leaves, seed)
    earlier = iter([configuration_key(parameters) for parameters in asked])
    tried = next(earlier, None)
    for number in range(max(num_samples, len(points))):
        point = points[number] if number < len(points) else {}
        found = False
        for fixed in find_fixed(param_space, leaves, point):
            drawn: Sample | None = draw_sample(param_space, leaves, fixed, generator)
            if drawn is not None and configuration_key(drawn.parameters) != tried:
                drawn = space.renew(drawn, fixed)
            if drawn is not None:
                found = True
                space.note(tried if tried is not None else configuration_key(drawn.parameters))
                tried = next(earlier, None)
                yield drawn
        if not found and number >= len(points):
            return  # every place of the grid has all its configurations


def count_distinct(
    param_space: Mapping[str, Any],
    num_samples: int,
    seed: int,
    points: Sequence[Mapping[str, Any]] = (),
    asked: Sequence[Mapping[str, Any]] = (),
) -> int:
    """How many configurations `expand_distinct` yields; of very many an upper bound."""
    most = count(param_space, num_samples, points)
    leaves = [leaf for _, leaf in distributions(param_space)]
    is_endless = any(
        leaf.when is None and list_values(leaf, _MAX_LISTED) is None for leaf in leaves
    )
    if most > _MAX_COUNTED or (is_endless and not points):
        return most
    return sum(1 for _ in expand_distinct(param_space, num_samples, seed, points, asked))


class Seen:
    """The configurations that were yielded, and how to find another one."""

    def __init__(
        self, param_space: Mapping[str, Any], leaves: Mapping[Path, Distribution], seed: int
    ) -> None:
        self._space, self._leaves, self._seed = param_space, leaves, seed
        self._keys: set[int] = set()
        self._used_up: set[str] = set()

    def note(self, key: str) -> None:
        """Take in that a configuration was yielded."""
        self._keys.add(hash(key))

    def renew(self, drawn: Sample, fixed: Mapping[Path, Any]) -> Sample | None:
        """The sample if it is new, else another one of its place in the grid; None without one."""
        if self.is_new(drawn):
            return drawn
        if self.is_used_up(fixed):
            return None
        generator = np.random.default_rng([self._seed, len(self._keys)])
        for _ in range(_MAX_DRAWS):
            other = draw_sample(self._space, self._leaves, fixed, generator)
            if self.is_new(other):
                return other
        rest = self._list_rest(fixed)
        if rest is None:
            return drawn
        if not rest:
            self._used_up.add(_place_key(fixed))
            return None
        return rest[int(generator.integers(len(rest)))]

    def is_used_up(self, fixed: Mapping[Path, Any]) -> bool:
        """Whether a place in the grid is known to have no other configuration."""
        return bool(self._used_up) and _place_key(fixed) in self._used_up

    def is_new(self, sample: Sample) -> bool:
        """Whether a configuration was not yielded yet."""
        return hash(configuration_key(sample.parameters)) not in self._keys

    def _list_rest(self, fixed: Mapping[Path, Any]) -> list[Sample] | None:
        """What was not yielded of one place in the grid; None if that can't be listed."""
        free = [path for path in self._leaves if path not in fixed]
        values = [list_values(self._leaves[path], _MAX_LISTED) or [_ANY] for path in free]
        if math.prod(map(len, values)) > _MAX_LISTED:
            return None
        rest: dict[str, Sample] = {}
        nothing = np.random.default_rng(0)  # all is fixed
        for chosen in itertools.product(*values):
            every = {**fixed, **dict(zip(free, chosen, strict=True))}
            sample = draw_sample(self._space, self._leaves, every, nothing)
            key = configuration_key(sample.parameters)
            if json.dumps(_ANY)[1:-1] in key:
                return None
            if hash(key) not in self._keys:
                rest[key] = sample
        return list(rest.values())


def _place_key(fixed: Mapping[Path, Any]) -> str:
    return json.dumps([[list(path), value] for path, value in fixed.items()])


def configuration_key(parameters: Mapping[str, Any]) -> str:
    """The same text for the same parameters."""
    return json.dumps(parameters, sort_keys=True)
