"""Tables in Markdown: what was asked for, what was reached, over how much it spread."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

__all__ = ["print_head", "print_row", "spread", "verdict"]


def print_head(*cells: str) -> None:
    """An empty line and the first two lines of a table."""
    print()
    print_row(*cells)
    print("|---" * len(cells) + "|")


def print_row(*cells: str) -> None:
    """A line of a table, at once."""
    print(f"| {' | '.join(cells)} |", flush=True)


def spread(values: Sequence[float], form: str, unit: str = "") -> str:
    """The median and, of several values, the least and the greatest."""
    text = f"{statistics.median(values):{form}}{unit}"
    if len(values) == 1:
        return text
    return f"{text} ({min(values):{form}} to {max(values):{form}})"


def verdict(is_met: bool, is_aim_met: bool = False) -> str:
    """Whether a target is met, in a word."""
    return "the aim too" if is_aim_met else "yes" if is_met else "**no**"
