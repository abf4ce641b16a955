"""Convert names and values to what MLflow accepts: flat, within its limits, finite.

The limits are in ``mlflow/utils/validation.py``. MLflow refuses a whole batch for one bad name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sweeper.results.scoring import as_float
from sweeper.search.configuration import flatten_parameters
from sweeper.search.distributions import Distribution

__all__ = [
    "clip",
    "clip_tag",
    "describe_parameters",
    "describe_value",
    "metric_name",
    "quote",
    "scalar_metrics",
]

_MAX_NAME = 250
_MAX_PARAMETER = 6000
_MAX_TAG = 8000
_REPLICA = "replica/"


def describe_parameters(nested: Mapping[str, Any]) -> dict[str, str]:
    """A nested configuration as MLflow params: dotted names, values as `describe_value` has them.

    Names that become the same get a counter.
    """
    described: dict[str, str] = {}
    for dotted, value in flatten_parameters(nested).items():
        # No slashes: "a/b" and "a/./b" are the same to MLflow, which refuses that.
        unique = name = clip(re.sub(r"[^\w.\- :]", "_", dotted) or "_", _MAX_NAME)
        counter = 2
        while unique in described:
            suffix = f"_{counter}"
            unique, counter = f"{name[: _MAX_NAME - len(suffix)]}{suffix}", counter + 1
        described[unique] = clip(describe_value(value), _MAX_PARAMETER)
    return described


def describe_value(value: Any) -> str:
    """A value as text: ``0.001``, ``true``, ``[64, 64]``, ``loguniform(1e-05, 0.01)``."""
    if isinstance(value, str):
        return value
    if isinstance(value, Distribution):
        words = f"{value.kind}({', '.join(describe_value(item) for item in value.args)})"
        return f"{words} when {describe_value(value.when)}" if value.when else words
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {describe_value(v)}" for key, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(describe_value(item) for item in value) + "]"
    try:
        return json.dumps(value)
    except TypeError:
        return str(value)


def metric_name(name: str) -> str:
    """The nearest name that MLflow accepts: its characters, no part that is empty or all dots."""
    parts = re.sub(r"[^\w.\- :/]", "_", name).split("/")
    return clip("/".join(part for part in parts if part.strip(".")), _MAX_NAME).strip("/") or "_"


def scalar_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row, without per-replica values, texts and booleans."""
    return {
        metric_name(name): float(value)
        for name, value in row.items()
        if not name.startswith(_REPLICA) and _is_finite(value)
    }


def clip_tag(value: str) -> str:
    """A tag's value, cut to the length that MLflow stores."""
    return clip(value, _MAX_TAG)


def _is_finite(value: Any) -> bool:
    number = as_float(value)
    return number is not None and math.isfinite(number)


def clip(text: str, length: int) -> str:
    """A text, cut visibly to a number of characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def quote(text: str) -> str:
    """A text as MLflow's filters take it."""
    return f'"{text}"' if "'" in text else f"'{text}'"
