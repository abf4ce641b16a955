"""Values as JSON, which has no NaN, no infinities and no numpy numbers.

Two forms: `encode_json` for our own records, which `decode_json` reads back, and `to_json` for
people and scripts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["decode_json", "encode_json", "to_json"]


def encode_json(value: Any) -> Any:
    """Encode so that `decode_json` can restore the value.

    Non-finite floats become ``{"$float": "nan"}``, so that text stays text; tuples become lists,
    numpy's scalars and arrays Python's.
    """
    if isinstance(value, Mapping):
        return {str(key): encode_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode_json(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "tolist") and not isinstance(value, float):
        return encode_json(value.tolist())
    number = float(value)
    return number if math.isfinite(number) else {"$float": repr(number)}


def decode_json(value: Any) -> Any:
    """Undo `encode_json`, except that tuples stay lists."""
    if isinstance(value, dict):
        if value.keys() == {"$float"}:
            return float(value["$float"])
        return {key: decode_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode_json(item) for item in value]
    return value


def to_json(value: Any) -> Any:
    """Convert to JSON types for output; not reversible.

    Non-finite numbers become the text that a spec takes (``nan``, ``inf``, ``-inf``), tuples
    lists, numpy's scalars and arrays Python's, and any other object its text.
    """
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if value is None or isinstance(value, bool | int | str):
        return value
    return to_json(value.tolist()) if hasattr(value, "tolist") else str(value)
