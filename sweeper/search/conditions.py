"""Which parameters apply: a parameter's conditions (``when``) name others and their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.hints import join_words, show
from sweeper.search.distributions import Distribution, Path, is_same

__all__ = ["explain_unmet", "find_deciding", "is_ruled_out", "pin_parents"]

Leaves = Mapping[Path, Distribution]
Values = Mapping[Path, Any]


def is_ruled_out(path: Path, space: Mapping[str, Any], leaves: Leaves, values: Values) -> bool:
    """Whether the values known so far make a parameter inactive."""
    for other, wanted in _conditions(leaves[path]):
        if other in leaves:
            if is_ruled_out(other, space, leaves, values):
                return True
            if other in values and not leaves[other].matches(values[other], wanted):
                return True
        elif not _is_among(_value_at(space, other), wanted):
            return True
    return False


def pin_parents(values: Values, leaves: Leaves) -> dict[Path, Any]:
    """The values with those that their conditions need, where one way is left to meet these."""
    pinned = dict(values)
    for path in values:
        for other, wanted in _needed(path, leaves):
            ways = _ways(leaves[other], wanted)
            if other not in pinned and len(ways) == 1:
                pinned[other] = ways[0]
    return pinned


def explain_unmet(path: Path, values: Values, leaves: Leaves) -> str | None:
    """Why a parameter that has a value does not apply, or may not; None if it does.

    Args:
        path: of the parameter.
        values: all that is fixed; what is not is drawn.
        leaves: of the param space.
    """
    pinned = pin_parents(values, leaves)
    for other, wanted in _needed(path, leaves):
        name, parent = ".".join(other), leaves[other]
        if other not in pinned and _always_holds(parent, wanted):
            continue
        ways = _ways(parent, wanted)
        needs = f"applies only where {name} is {join_words([show(one) for one in ways], 'or')}"
        if other not in pinned:
            return f"{needs}; give {name} too"
        if not parent.matches(pinned[other], wanted):
            return f"{needs}, and it is {show(pinned[other])} here"
    return None


def find_deciding(path: Path, leaves: Leaves) -> Iterator[Path]:
    """The searched parameters whose values decide whether a parameter applies."""
    for other, wanted in _needed(path, leaves):
        if not _always_holds(leaves[other], wanted):
            yield other


def _needed(path: Path, leaves: Leaves) -> Iterator[tuple[Path, Any]]:
    """The searched parameters that a parameter's conditions name, and theirs in turn."""
    for other, wanted in _conditions(leaves[path]):
        if other in leaves:
            yield other, wanted
            yield from _needed(other, leaves)


def _conditions(leaf: Distribution) -> Iterator[tuple[Path, Any]]:
    for name, wanted in (leaf.when or {}).items():
        yield tuple(name.split(".")), wanted


def _ways(parent: Distribution, wanted: Any) -> list[Any]:
    """The parent's values that meet a condition."""
    listed = [wanted, *(wanted if isinstance(wanted, list) else [])]
    ways: list[Any] = []
    for one in listed:
        if parent.contains(one) and not any(parent.matches(way, one) for way in ways):
            ways.append(parent.own_value(one))
    return ways


def _always_holds(parent: Distribution, wanted: Any) -> bool:
    values = parent.values
    return values is not None and all(parent.matches(one, wanted) for one in values)


def _is_among(value: Any, wanted: Any) -> bool:
    listed = [wanted, *(wanted if isinstance(wanted, list) else [])]
    return any(is_same(value, one) for one in listed)


def _value_at(space: Mapping[str, Any], path: Path) -> Any:
    value: Any = space
    for key in path:
        value = value[key]
    return value
