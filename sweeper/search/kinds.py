"""The kinds of distributions, and what their arguments must be."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from sweeper.hints import number_hint, show

__all__ = ["INTEGER", "KINDS", "LOG", "NORMAL", "check_arguments", "is_finite", "names_code"]

# Names of each kind's arguments; None: a list of values.
KINDS: Mapping[str, tuple[str, ...] | None] = {
    "grid_search": None,
    "choice": None,
    "uniform": ("lower", "upper"),
    "quniform": ("lower", "upper", "q"),
    "loguniform": ("lower", "upper"),
    "qloguniform": ("lower", "upper", "q"),
    "randint": ("lower", "upper"),
    "qrandint": ("lower", "upper", "q"),
    "lograndint": ("lower", "upper"),
    "qlograndint": ("lower", "upper", "q"),
    "randn": ("mean", "sd"),
    "qrandn": ("mean", "sd", "q"),
}
INTEGER = frozenset({"randint", "qrandint", "lograndint", "qlograndint"})
LOG = frozenset({"loguniform", "qloguniform", "lograndint", "qlograndint"})
NORMAL = frozenset({"randn", "qrandn"})


def check_arguments(kind: str, args: Any) -> str | None:
    """What is wrong with a distribution's arguments as written; None if nothing is."""
    names = KINDS[kind]
    if not isinstance(args, list):
        form = "[value, …]" if names is None else f"[{', '.join(names)}]"
        return f"{kind} takes a list: {kind}: {form}; found {show(args)}"
    return _check_values(kind, args) if names is None else _check_range(kind, args, names)


def names_code(value: Mapping[str, Any]) -> str | None:
    """The refusal of a key whose value Tune would run as code."""
    name = next((name for name in ("eval", "sample_from") if name in value), None)
    if name is None:
        return None
    return f"{name} is refused: a spec is data and runs no code; write values or a distribution"


def is_finite(number: float) -> bool:
    """Whether a number is finite, also as a float: a whole number can be too large for one."""
    return abs(number) <= sys.float_info.max


def _check_values(kind: str, values: list[Any]) -> str | None:
    if not values:
        return f"{kind} has no values to take"
    for value in values:
        # Tune would take a mapping of these keys for a distribution, or for code to run.
        if isinstance(value, Mapping) and (value.keys() & (KINDS.keys() | {"eval", "sample_from"})):
            return names_code(value) or (
                f"a value of {kind} can't be a distribution itself; found {show(value)}"
            )
    return None


def _check_range(kind: str, args: list[Any], names: tuple[str, ...]) -> str | None:
    form = f"{kind} takes [{', '.join(names)}]"
    optional = kind == "randn"
    if len(args) > len(names) or (len(args) < len(names) and not optional):
        return f"{form}; found {show(args)}"
    for name, value in zip(names, args, strict=False):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{form}, all numbers; {name} is {show(value)}{number_hint(value)}"
        if not is_finite(value):
            return f"{form}, all finite; {name} is {show(value)}"
        if kind in INTEGER and not isinstance(value, int):
            return f"{form}, all integers; {name} is {show(value)}"
    if kind in NORMAL:
        if len(args) > 1 and args[1] <= 0:
            return f"{form}; sd must be above 0, found {show(args[1])}"
        return _check_quantum(kind, args, None)
    lower, upper = args[0], args[1]
    if lower >= upper:
        swapped = f"; did you mean [{show(upper)}, {show(lower)}]?" if lower > upper else ""
        return f"an empty range: {show(lower)} is not below {show(upper)}{swapped}"
    if kind in LOG and lower <= 0:
        return f"a log range must lie above 0; lower is {show(lower)}"
    return _check_quantum(kind, args, (lower, upper))


def _check_quantum(kind: str, args: list[Any], bounds: tuple[float, float] | None) -> str | None:
    if len(args) < 3:
        return None
    q = args[2]
    if q <= 0:
        return f"q must be above 0, found {show(q)}"
    if kind not in INTEGER and not all(math.isfinite(number / q) for number in args[:2]):
        return f"q is too small for such numbers, found {show(q)}"
    if bounds is None:
        return None
    lower, upper = bounds
    if kind in INTEGER:
        if -(-lower // q) > upper // q:
            return f"no multiple of q={q} lies between {lower} and {upper}"
        return None
    for name, bound in (("lower", lower), ("upper", upper)):
        if not math.isclose(bound / q, round(bound / q)):
            below = round(math.floor(bound / q) * q, 12)
            near = f"{show(below)} and {show(round(below + q, 12))} are"
            return f"{name} ({show(bound)}) is not a multiple of q={show(q)}; {near}"
    return None
