"""A configuration, one point of a param space: merging and flattening it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["flatten_parameters", "merge_configuration"]


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


def flatten_parameters(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted names: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    return dict(_flat_items(nested, prefix))


def _flat_items(nested: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat_items(value, f"{name}.")
        else:
            yield name, value
