"""Numbers of a report: short for the eye, whole for whoever takes them out of the page."""

from __future__ import annotations

from sweeper.evidence.figures import percent
from sweeper.evidence.statistics import Interval
from sweeper.formatting import format_number
from sweeper.markup import Html, joined, tag

__all__ = ["MISSING", "number", "spread", "to_interval"]

MISSING = "-"
"""In the place of a number that there is not."""


def number(value: float | None) -> Html:
    """A number with at most 4 digits; the element's ``value`` has all of them."""
    if value is None:
        return tag("span", MISSING, class_="quiet")
    return tag("data", format_number(value), value=repr(value))


def to_interval(interval: Interval | None, *, usual: float = 0.95) -> Html:
    """``471.2 to 498``, with the level where that is not the usual one."""
    if interval is None:
        return number(None)
    level = None
    if percent(interval.level) != percent(usual):
        level = tag("span", f" ({percent(interval.level)} %)", class_="quiet")
    return joined(number(interval.low), " to ", number(interval.high), level)


def spread(deviation: float | None, replicas: int) -> Html:
    """`` ±12.3``, and of how many replicas; empty where no spread is known."""
    if deviation is None:
        return Html("")
    of = tag("span", f" (n = {replicas})", class_="quiet")
    return joined(" ±", number(deviation), of)
