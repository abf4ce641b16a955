"""A trial's metric that no longer moves: the criterion of Tune's ``TrialPlateauStopper``.

Tune's own is asked in the driver, with rows in which RLlib's metrics are nested, so that it never
fires (``ray/tune/execution/tune_controller.py``), and forgets what it saw when a run goes on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PLATEAU", "Plateau", "PlateauWatch", "describe_plateau"]

# How the reason of a trial's end begins.
PLATEAU = "plateau"


@dataclass(frozen=True)
class Plateau:
    """When a trial counts as having reached a plateau; Tune's names and defaults.

    Attributes:
        metric: by our name.
        std: the deviation of the newest values below which they are flat.
        num_results: how many of them are looked at.
        grace_period: values before which no trial ends.
        metric_threshold: a value that the newest one must not fall short of; None: any will do.
        mode: ``max`` or ``min``, which says on which side that is.
    """

    metric: str
    std: float = 0.01
    num_results: int = 4
    grace_period: int = 4
    metric_threshold: float | None = None
    mode: str | None = None


def describe_plateau(plateau: Plateau) -> str:
    """As the reason of a trial's end: ``plateau of loss (std < 0.01 over 4 values)``."""
    return (
        f"{PLATEAU} of {plateau.metric} (std < {plateau.std:g} over {plateau.num_results} values)"
    )


class PlateauWatch:
    """Follows one trial's values of the metric.

    Reports without a value don't count, and of an evaluation's those alone for which one was
    made: the rows between carry it on, and every trial would be flat there.
    """

    def __init__(self, plateau: Plateau | None) -> None:
        self._plateau = plateau
        self._newest: deque[float] = deque(maxlen=plateau.num_results if plateau else 0)
        self._count = 0

    def take(self, row: Mapping[str, Any], *, is_evaluation: bool) -> str | None:
        """Take in a report: once for what was trained, once more where an evaluation was made.

        Args:
            row: flat, with our names.
            is_evaluation: whether it comes from an evaluation that was just made.

        Returns:
            The reason to end the trial, or None.
        """
        plateau = self._plateau
        if plateau is None or plateau.metric.startswith("evaluation/") != is_evaluation:
            return None
        value = row.get(plateau.metric)
        if not isinstance(value, int | float):
            return None
        self._newest.append(float(value))
        self._count += 1
        if self._count < plateau.grace_period or len(self._newest) < plateau.num_results:
            return None
        if not _is_far_enough(float(value), plateau):
            return None
        # Of values that are not finite there is no deviation, and so no plateau.
        is_flat = all(map(math.isfinite, self._newest)) and np.std(self._newest) < plateau.std
        return describe_plateau(plateau) if is_flat else None

    def state(self) -> dict[str, Any]:
        """Everything that the next decision depends on; JSON as Python reads and writes it."""
        return {"newest": list(self._newest), "count": self._count}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`, into an object made with the same arguments."""
        self._newest.clear()
        self._newest.extend(state["newest"])
        self._count = state["count"]


def _is_far_enough(value: float, plateau: Plateau) -> bool:
    threshold = plateau.metric_threshold
    if threshold is None:
        return True
    return value <= threshold if plateau.mode == "min" else value >= threshold
