"""The values that the configurations of a param space can have under a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.search.expansion import Distribution

__all__ = ["max_integer", "possible_values"]

_LEFT_OUT = object()


def possible_values(space: Mapping[str, Any], path: tuple[str, ...], usual: Any) -> list[Any]:
    """The values that a key can have: a constant, all choices, or both ends of a range.

    Args:
        space: nested; leaves are constants or distributions, also of mappings.
        path: of the key.
        usual: the value if the key is left out, e.g. under a condition.
    """
    return [usual if value is _LEFT_OUT else value for value in _values(space, path)]


def max_integer(values: list[Any], usual: int) -> int:
    """The largest positive integer, or ``usual``; other values are reported elsewhere."""
    whole = (one for one in values if isinstance(one, int) and not isinstance(one, bool))
    return max((one for one in whole if one >= 1), default=usual)


def _values(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if isinstance(value, Distribution):
        if value.when is not None:
            yield _LEFT_OUT
        for one in value.values or value.bounds or (_LEFT_OUT,):
            yield from _values(one, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _values(value[path[0]], path[1:])
    else:
        yield _LEFT_OUT
