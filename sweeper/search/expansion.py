"""Expanding a param space into configurations.

Draws the same values in the same order as Tune's ``BasicVariantGenerator`` for the same space and
seed (``ray/tune/search/{basic_variant,variant_generator,sample}.py``), without importing Ray. A
property test compares the two.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.hints import did_you_mean, show
from sweeper.search.conditions import explain_unmet, is_ruled_out, pin_parents
from sweeper.search.distributions import (
    Distribution,
    Path,
    SpaceProblem,
    assign,
    distributions,
    flatten,
)

__all__ = [
    "Sample",
    "check_points",
    "count",
    "draw_sample",
    "expand",
    "find_fixed",
    "list_values",
    "make_sample",
]


@dataclass(frozen=True)
class Sample:
    """One point of a param space.

    Attributes:
        configuration: nested, constants included.
        parameters: only the searched ones, nested.
        known: how many reports and ends of trials the search had been told of when it chose the
            point; None where their order does not matter to it.
    """

    configuration: dict[str, Any]
    parameters: dict[str, Any]
    known: int | None = None


def count(
    param_space: Mapping[str, Any], num_samples: int, points: Sequence[Mapping[str, Any]] = ()
) -> int:
    """How many configurations `expand` yields."""
    leaves = dict(distributions(param_space))
    total = sum(_count_grid(param_space, leaves, _pinned(point, leaves)) for point in points)
    samples = max(0, num_samples - len(points))
    return total + (samples * _count_grid(param_space, leaves, {}) if samples else 0)


def expand(
    param_space: Mapping[str, Any],
    num_samples: int,
    seed: int,
    points: Sequence[Mapping[str, Any]] = (),
) -> Iterator[Sample]:
    """The configurations of a space, lazily, in Tune's order.

    Each sample is one pass over the grid; everything else is drawn anew at each grid point. A
    conditional parameter is always drawn, and dropped afterwards if its condition fails: adding a
    condition changes no other value.

    Args:
        param_space: nested; leaves are constants or distributions.
        num_samples: passes over the grid; each of ``points`` uses one up.
        seed: of the generator of all values.
        points: nested values to start with; parameters that a point lacks are searched.
    """
    generator = np.random.default_rng(seed)
    leaves = dict(distributions(param_space))
    empty: list[Mapping[str, Any]] = [{}] * max(0, num_samples - len(points))
    for point in [*points, *empty]:
        for fixed in find_fixed(param_space, leaves, point):
            yield draw_sample(param_space, leaves, fixed, generator)


def find_fixed(
    param_space: Mapping[str, Any],
    leaves: Mapping[Path, Distribution],
    point: Mapping[str, Any],
) -> Iterator[dict[Path, Any]]:
    """What is not drawn of each configuration of one pass: the point's values, the grid's."""
    pinned = _pinned(point, leaves)
    for grid in _grid(param_space, leaves, pinned):
        yield {**pinned, **grid}


def check_points(
    space: Mapping[str, Any], points: Sequence[Mapping[str, Any]]
) -> Iterator[SpaceProblem]:
    """Problems of points to evaluate; paths begin with the point's number."""
    leaves = dict(distributions(space))
    names = [".".join(path) for path in leaves]
    for number, point in enumerate(points):
        for path, value in _point_leaves(point, leaves, ()):
            leaf = leaves.get(path)
            name = ".".join(path)
            if leaf is None:
                message = f"{name} is not searched in param_space{did_you_mean(name, names)}"
                yield SpaceProblem((number, *path), message)
            elif not leaf.contains(value):
                message = f"{show(value)} is outside of {leaf.kind} {show(leaf.args)}"
                yield SpaceProblem((number, *path), message)
            elif unmet := explain_unmet(path, _given(point, leaves), leaves):
                yield SpaceProblem((number, *path), f"{name} {unmet}")


def _pinned(point: Mapping[str, Any], leaves: Mapping[Path, Distribution]) -> dict[Path, Any]:
    """What a point fixes: its values, and those that their conditions leave no choice of."""
    return pin_parents(_given(point, leaves), leaves)


def _given(point: Mapping[str, Any], leaves: Mapping[Path, Distribution]) -> dict[Path, Any]:
    return {
        path: leaves[path].own_value(value)
        for path, value in _point_leaves(point, leaves, ())
        if path in leaves
    }


def _point_leaves(
    point: Mapping[str, Any], leaves: Mapping[Path, Distribution], path: Path
) -> Iterator[tuple[Path, Any]]:
    """Flatten a point down to the space's leaves, whose values may be mappings."""
    for key, value in point.items():
        here = (*path, key)
        if here not in leaves and isinstance(value, Mapping) and value:
            yield from _point_leaves(value, leaves, here)
        else:
            yield here, value


def _grid(
    space: Mapping[str, Any], leaves: Mapping[Path, Distribution], pinned: Mapping[Path, Any]
) -> Iterator[dict[Path, Any]]:
    """The grid's points in Tune's order: the first path by name varies fastest."""
    axes = sorted(path for path, leaf in leaves.items() if leaf.is_grid and path not in pinned)
    indices = [0] * len(axes)
    while True:
        values = {path: leaves[path].args[n] for path, n in zip(axes, indices, strict=True)}
        repeated = any(
            n > 0 and is_ruled_out(path, space, leaves, {**pinned, **values})
            for path, n in zip(axes, indices, strict=True)
        )
        if not repeated:
            yield values
        for axis, path in enumerate(axes):
            indices[axis] += 1
            if indices[axis] < len(leaves[path].args):
                break
            indices[axis] = 0
        else:
            return


def _count_grid(
    space: Mapping[str, Any], leaves: Mapping[Path, Distribution], pinned: Mapping[Path, Any]
) -> int:
    axes = [path for path, leaf in leaves.items() if leaf.is_grid and path not in pinned]
    if all(leaves[path].when is None for path in axes):
        return math.prod(len(leaves[path].args) for path in axes)
    return sum(1 for _ in _grid(space, leaves, pinned))


def draw_sample(
    space: Mapping[str, Any],
    leaves: Mapping[Path, Distribution],
    fixed: Mapping[Path, Any],
    generator: np.random.Generator,
) -> Sample:
    """One configuration: what is fixed, all else drawn; without what does not apply."""
    values = {
        path: copy.deepcopy(fixed[path]) if path in fixed else _draw(leaf, generator)
        for path, leaf in leaves.items()
    }
    return make_sample(space, leaves, values)


def make_sample(
    space: Mapping[str, Any], leaves: Mapping[Path, Distribution], values: Mapping[Path, Any]
) -> Sample:
    """The configuration of some values; those that do not apply are left out."""
    active = {
        path: value
        for path, value in values.items()
        if not is_ruled_out(path, space, leaves, values)
    }
    configuration: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    for path, value in flatten(space):
        if not isinstance(value, Distribution):
            assign(configuration, path, copy.deepcopy(value))
        elif path in active:
            assign(configuration, path, active[path])
            assign(parameters, path, copy.deepcopy(active[path]))
    return Sample(configuration, parameters)


def _draw(leaf: Distribution, generator: np.random.Generator) -> Any:
    """One value, with the same generator calls as ``ray/tune/search/sample.py``."""
    if leaf.values is not None:
        index = generator.choice(np.arange(0, len(leaf.values)), size=1)[0]
        return copy.deepcopy(leaf.values[index])
    if leaf.kind in {"randn", "qrandn"}:
        args = [*leaf.args, *[0.0, 1.0, None][len(leaf.args) :]]
        mean, sd, q = args
        value = generator.normal(mean, sd, size=1)[0]
        return float(value) if q is None else leaf.multiple(_round(value, q))
    lower, upper, q = (*leaf.args, None)[:3]
    if q is None:
        return _draw_range(leaf, lower, upper, generator)
    first, last = leaf.indices
    if leaf.is_integer:
        return leaf.multiple(_draw_range(leaf, first, last + 1, generator))
    return leaf.multiple(_round(_draw_range(leaf, first * q, last * q, generator), q))


def list_values(leaf: Distribution, limit: int) -> list[Any] | None:
    """All values that can be drawn; None for more than ``limit``, or for a range of floats."""
    if leaf.values is not None:
        return list(leaf.values)
    if leaf.bounds is None or leaf.quantum is None:
        return None
    first, last = leaf.indices
    if last - first >= limit:
        return None
    return [leaf.multiple(index) for index in range(first, last + 1)]


def _round(value: float, q: float) -> float:
    """How many quanta are nearest to a value, as Tune rounds."""
    return float(np.round(np.divide(value, q)))


def _draw_range(
    leaf: Distribution, lower: float, upper: float, generator: np.random.Generator
) -> float | int:
    """A number from ``lower`` to ``upper``, which a range of integers does not reach."""
    if leaf.is_log:
        # NumPy has no logarithm of an integer beyond 64 bits.
        low, high = float(lower), float(upper)
        drawn = np.exp(generator.uniform(np.log(low), np.log(high), size=1))
        if leaf.is_integer:
            return min(max(int(np.floor(drawn).astype(int)[0]), int(lower)), int(upper) - 1)
        return min(max(float(drawn[0]), low), high)
    if leaf.is_integer:
        return int(generator.integers(int(lower), int(upper), size=1)[0])
    return float(generator.uniform(lower, upper, size=1)[0])
