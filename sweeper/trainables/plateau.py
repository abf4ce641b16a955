"""Ends a trial whose metric no longer moves: the criterion of Tune's ``TrialPlateauStopper``.

Tune's own does not work here. Its driver passes rows with nested metrics, so it never fires
(``ray/tune/execution/tune_controller.py``), and it forgets its values when a run is resumed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sweeper.metrics import is_of_evaluation, repeats_evaluation

__all__ = ["PLATEAU", "Plateau", "PlateauWatch", "describe_plateau"]

# The reason of a trial's end starts with this word.
PLATEAU = "plateau"


@dataclass(frozen=True)
class Plateau:
    """When a trial is on a plateau; names and defaults are Tune's.

    Attributes:
        metric: our name of the metric.
        std: the newest values are flat if their standard deviation is below this.
        num_results: how many of the newest values.
        grace_period: no trial ends before it has reported this many values.
        metric_threshold: the newest value must be at least this good; None: any value.
        mode: ``max`` or ``min``, the better direction of the metric.
    """

    metric: str
    std: float = 0.01
    num_results: int = 4
    grace_period: int = 4
    metric_threshold: float | None = None
    mode: str | None = None


def describe_plateau(plateau: Plateau) -> str:
    """The reason of a trial's end: ``plateau of loss (std < 0.01 over 4 values)``."""
    return (
        f"{PLATEAU} of {plateau.metric} (std < {plateau.std:g} over {plateau.num_results} values)"
    )


class PlateauWatch:
    """Follows one trial's values of the metric.

    Reports without a value don't count, nor those that repeat the last evaluation: every trial
    would look flat.
    """

    def __init__(self, plateau: Plateau | None) -> None:
        self._plateau = plateau
        self._newest: deque[float] = deque(maxlen=plateau.num_results if plateau else 0)
        self._count = 0

    def take(self, row: Mapping[str, Any], *, is_evaluation: bool) -> str | None:
        """Record a report: one per iteration, and another after an evaluation.

        Args:
            row: flat, with our names.
            is_evaluation: whether the report follows an evaluation.

        Returns:
            The reason to end the trial, or None.
        """
        plateau = self._plateau
        if plateau is None or repeats_evaluation(plateau.metric, is_evaluation=is_evaluation):
            return None
        if is_evaluation and not is_of_evaluation(plateau.metric):
            return None  # the iteration's own report had the value already
        value = row.get(plateau.metric)
        if not isinstance(value, int | float):
            return None
        self._newest.append(float(value))
        self._count += 1
        if self._count < plateau.grace_period or len(self._newest) < plateau.num_results:
            return None
        if not _is_far_enough(float(value), plateau):
            return None
        # Non-finite values have no deviation.
        is_flat = all(map(math.isfinite, self._newest)) and np.std(self._newest) < plateau.std
        return describe_plateau(plateau) if is_flat else None

    def state(self) -> dict[str, Any]:
        """Everything that the next decision depends on, as Python's JSON (with NaN)."""
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
