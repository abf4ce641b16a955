"""What the configurations of a param space can have under a key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.search.distributions import Distribution

__all__ = ["largest_integer", "possible_values"]

_LEFT_OUT = object()


def possible_values(space: Mapping[str, Any], path: tuple[str, ...], usual: Any) -> list[Any]:
    """Every value that is drawn or given, and of a range its two ends.

    Args:
        space: nested; leaves are constants or distributions, of mappings too.
        path: the key's.
        usual: the value where the key is left out, as it may be under a condition.
    """
    return [usual if value is _LEFT_OUT else value for value in _values(space, path)]


def largest_integer(values: list[Any], usual: int) -> int:
    """The greatest whole number from 1 on; what is none of these has a problem of its own."""
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
