"""How values become JSON, which has neither NaN nor infinities, nor numpy's numbers.

Two forms: `encode_json` for our own records, which read back to what was written, and `to_json`
for what people and scripts read, where ``inf`` is the text that a spec takes, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["decode_json", "encode_json", "to_json"]


def encode_json(value: Any) -> Any:
    """Turn non-finite floats into the strings ``nan``, ``inf``, ``-inf`` and tuples into lists.

    JSON has no such numbers; the marker ``{"$float": "nan"}`` keeps them apart from text.
    Numpy's scalars and arrays become Python's.
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
    """The inverse of `encode_json`, except that tuples stay lists."""
    if isinstance(value, dict):
        if value.keys() == {"$float"}:
            return float(value["$float"])
        return {key: decode_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decode_json(item) for item in value]
    return value


def to_json(value: Any) -> Any:
    """The same in JSON's types: non-finite numbers as ``nan``, ``inf``, ``-inf``, tuples as lists.

    Numpy's scalars and arrays become Python's; any other object becomes its text.
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
