"""The multiples of a quantum between two bounds.

A product of floats is seldom the decimal number that is meant: 6 x 0.05 is 0.30000000000000004.
So a multiple never lies beyond a bound, and a bound is compared with a tolerance.
"""

from __future__ import annotations

import math

__all__ = ["Bounds", "first_index", "is_between", "is_close", "last_index", "multiple"]

Bounds = tuple[float, float]


def first_index(lower: float, q: float) -> int:
    """How many quanta the first multiple from a lower bound on has."""
    if isinstance(lower, int) and isinstance(q, int):
        return -(-lower // q)
    scaled = lower / q
    return round(scaled) if is_close(scaled, round(scaled)) else math.ceil(scaled)


def last_index(upper: float, q: float) -> int:
    """How many quanta the last multiple up to an upper bound has."""
    if isinstance(upper, int) and isinstance(q, int):
        return upper // q
    scaled = upper / q
    return round(scaled) if is_close(scaled, round(scaled)) else math.floor(scaled)


def multiple(index: float, q: float, bounds: Bounds | None) -> float:
    """So many quanta, by the arithmetic with which Tune rounds, but within the bounds."""
    value = float(index * q)
    return value if bounds is None else float(min(max(value, bounds[0]), bounds[1]))


def is_between(value: float, bounds: Bounds) -> bool:
    """Whether a value lies within the bounds, or is one of them but for rounding."""
    return bounds[0] <= value <= bounds[1] or any(is_close(value, bound) for bound in bounds)


def is_close(left: float, right: float) -> bool:
    """Whether two numbers are equal but for rounding."""
    return math.isclose(left, right)
