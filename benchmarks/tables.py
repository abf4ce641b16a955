"""Markdown tables of measurements: values with their spread, and whether targets are met."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def print_head(*cells: str) -> None:
    """Print an empty line, the headings and the rule of a table."""
    print()
    print_row(*cells)
    print("|---" * len(cells) + "|")


def print_row(*cells: str) -> None:
    """Print a row of a table, unbuffered."""
    print(f"| {' | '.join(cells)} |", flush=True)


def spread(values: Sequence[float], form: str, unit: str = "") -> str:
    """The median and, with several values, the minimum and maximum."""
    text = f"{statistics.median(values):{form}}{unit}"
    if len(values) == 1:
        return text
    return f"{text} ({min(values):{form}} to {max(values):{form}})"


def verdict(is_met: bool, is_aim_met: bool = False) -> str:
    """Whether a target and its aim are met, as a table says it."""
    return "the aim too" if is_aim_met else "yes" if is_met else "**no**"
