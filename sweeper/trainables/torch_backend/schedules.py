"""A coefficient over env steps: constant, or piecewise linear as RLlib's schedules.

From or to an infinite value there is no line: the value before it holds up to the next point.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sweeper.errors import ConfigurationRefusedError

__all__ = ["Schedule", "is_number", "parse_schedule"]


@dataclass(frozen=True)
class Schedule:
    """Values at env steps, linear between finite ones and constant after the last.

    Attributes:
        steps: ascending, the first is 0.
        values: one per step.
    """

    steps: tuple[float, ...]
    values: tuple[float, ...]

    def value(self, env_steps: int) -> float:
        """The coefficient after ``env_steps``."""
        right = bisect_right(self.steps, env_steps)
        if right == len(self.steps):
            return self.values[-1]
        left = right - 1
        before, after = self.values[left], self.values[right]
        if math.isinf(before) or math.isinf(after):
            return before
        share = (env_steps - self.steps[left]) / (self.steps[right] - self.steps[left])
        return before + share * (after - before)


def parse_schedule(key: str, given: Any) -> Schedule:
    """Read ``v`` or ``[[0, v], [step, v], …]``.

    Raises:
        ConfigurationRefusedError: it is neither; the message names ``key``.
    """
    if is_number(given):
        return Schedule((0.0,), (float(given),))
    pairs = list(given) if isinstance(given, list | tuple) else []
    if len(pairs) < 2 or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(map(is_number, pair))
        for pair in pairs
    ):
        raise ConfigurationRefusedError(
            f"{key} is a number or a schedule of two or more points "
            f"[[0, value], [env_step, value], ...], not {given!r}"
        )
    steps, values = zip(*((float(step), float(value)) for step, value in pairs), strict=True)
    if steps[0] != 0 or any(a >= b for a, b in pairwise(steps)):
        raise ConfigurationRefusedError(
            f"the env steps of {key}'s schedule start at 0 and ascend; found {list(steps)}"
        )
    return Schedule(steps, values)


def is_number(value: Any) -> bool:
    """Whether a value is a number, not a bool and not NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
