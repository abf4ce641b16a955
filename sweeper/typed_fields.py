"""Whether a dataclass that was read from a file holds what its fields declare."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

__all__ = ["check_fields"]


def check_fields(record: Any) -> None:
    """Check the fields of a dataclass, and of those that they hold.

    A declared float must be finite, since JSON and most statistics have no others.

    Raises:
        ValueError: names the first field of another type.
    """
    hints = typing.get_type_hints(type(record))
    for item in dataclasses.fields(record):
        if not _fits(getattr(record, item.name), hints[item.name]):
            raise ValueError(f"{item.name} is of another type")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(item, arguments[0]) for item in value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(
            _fits(key, arguments[0]) and _fits(item, arguments[1]) for key, item in value.items()
        )
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    if not isinstance(value, hint):
        return False
    if dataclasses.is_dataclass(hint):
        check_fields(value)
    return True
