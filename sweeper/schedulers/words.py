"""The words in which schedulers say why."""

from __future__ import annotations

from collections.abc import Sequence

from sweeper.formatting import format_number
from sweeper.hints import join_words
from sweeper.metrics import Objective

__all__ = ["compare", "join_steps"]


def compare(merit: float, other: float, objective: Objective) -> str:
    """``41.2 < 120.5`` or, where less is better, ``41.2 > 12``; values, not merits.

    Two values that differ are never shown as equal.
    """
    sign = 1 if objective.mode == "max" else -1
    left, right = sign * merit, sign * other
    texts = format_number(left), format_number(right)
    if texts[0] == texts[1] and left != right:
        texts = repr(left), repr(right)
    if merit < other:
        return f"{texts[0]} {'<' if sign > 0 else '>'} {texts[1]}"
    return f"{texts[0]} {'>=' if sign > 0 else '<='} {texts[1]}"


def join_steps(steps: Sequence[int]) -> str:
    """``30,000 and 90,000``."""
    return join_words([f"{one:,}" for one in steps], "and")
