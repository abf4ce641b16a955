"""The values that the configurations of a param space can have under a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.search.distributions import Distribution
from sweeper.spec import ExperimentSpec
from sweeper.spec.keys.names import default

__all__ = ["batch_steps", "max_integer", "possible_values"]


def possible_values(space: Any, path: tuple[str, ...], usual: Any) -> list[Any]:
    """The values that a key can have: a constant, all choices, or both ends of a range.

    Args:
        space: nested; leaves are constants or distributions, also of mappings.
        path: of the key.
        usual: the value if the key is left out, e.g. under a condition.
    """
    if isinstance(space, Distribution):
        drawn = space.values or space.bounds or ()
        left_out = [usual] if space.when is not None or not drawn else []
        return left_out + [value for one in drawn for value in possible_values(one, path, usual)]
    if not path:
        return [space]
    if isinstance(space, Mapping) and path[0] in space:
        return possible_values(space[path[0]], path[1:], usual)
    return [usual]


def max_integer(values: list[Any], usual: int) -> int:
    """The largest positive integer, or ``usual``; other values are reported elsewhere."""
    whole = (one for one in values if isinstance(one, int) and not isinstance(one, bool))
    return max((one for one in whole if one >= 1), default=usual)


def batch_steps(spec: ExperimentSpec) -> int | None:
    """Env steps of one iteration of PPO; None if they are searched, or with another algorithm."""
    key = "train_batch_size_per_learner"
    value = spec.param_space.get(key, default(spec.algorithm, (key,), spec.backend))
    return value if spec.support.learns_from == "batch" and isinstance(value, int) else None
