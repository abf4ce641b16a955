"""How much work something is, without a clock: a busy machine makes it no more."""

from __future__ import annotations

import cProfile
from collections.abc import Callable


def count_calls(function: Callable[[], object]) -> int:
    """How many functions are called in turn, of Python's and of C's, until this one returns."""
    profile = cProfile.Profile()
    profile.runcall(function)
    return sum(entry.callcount for entry in profile.getstats())
