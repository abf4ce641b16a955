"""Checks of what a plot is asked for, shared by the kinds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sweeper.errors import UserError
from sweeper.hints import did_you_mean, join_words, show

__all__ = ["check_choice", "check_number"]


def check_choice(name: str, value: Any, known: Sequence[str]) -> str:
    """One of several words.

    Raises:
        UserError: it is none of them.
    """
    if value not in known:
        raise UserError(
            f"{name} is {show(value)}{did_you_mean(value, known)}; "
            f"it is {join_words(list(known), 'or')}"
        )
    return str(value)


def check_number(name: str, value: Any, lowest: int, highest: int) -> int:
    """A whole number in a range.

    Raises:
        UserError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise UserError(f"{name} is {show(value)}; it is a whole number, {lowest} to {highest:,}")
    return value
