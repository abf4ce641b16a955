"""A configuration, one point of a param space: merging and flattening it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.search.distributions import flatten, is_same

__all__ = ["find_changes", "flatten_parameters", "merge_configuration"]


def merge_configuration(
    constants: Mapping[str, Any], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge a trial's parameters into the constants, recursively; parameters win."""
    merged = dict(constants)
    for key, value in parameters.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_configuration(below, value)
        else:
            merged[key] = value
    return merged


def flatten_parameters(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Nested parameters by dotted names: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    return {".".join(map(str, path)): value for path, value in flatten(nested)}


def find_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The parameters that differ, by dotted name: ``[old, new]``; None where there is none."""
    old, new = flatten_parameters(before), flatten_parameters(after)
    return {
        name: [old.get(name), new.get(name)]
        for name in dict.fromkeys([*old, *new])
        if name not in old or name not in new or not is_same(old[name], new[name])
    }
