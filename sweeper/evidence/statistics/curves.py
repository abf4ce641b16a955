"""Learning curves: the area under one, and how soon it reaches a threshold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.results.scoring import mean_over_steps

__all__ = ["Curve", "area_under_curve", "steps_to_threshold"]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A learning curve of one run.

    Attributes:
        env_steps: of each report, strictly ascending.
        values: of the metric, as many, finite.

    Raises:
        ValueError: they are empty, of different lengths, out of order or not finite.
    """

    env_steps: Sequence[float]
    values: Sequence[float]

    def __post_init__(self) -> None:
        if not self.env_steps or len(self.env_steps) != len(self.values):
            raise ValueError(f"{len(self.env_steps)} env steps for {len(self.values)} values")
        if not all(map(math.isfinite, (*self.env_steps, *self.values))):
            raise ValueError("a curve has finite numbers only")
        if any(after <= before for before, after in itertools.pairwise(self.env_steps)):
            raise ValueError("the env steps of a curve ascend")


def area_under_curve(curve: Curve) -> float:
    """The mean over env steps of the piecewise linear curve, in the metric's unit."""
    return mean_over_steps(curve.env_steps, curve.values)


def steps_to_threshold(curve: Curve, threshold: float, *, mode: str = "max") -> float | None:
    """The env steps of the first report at least (``min``: at most) at a threshold.

    Nothing is interpolated between reports: the curve there is not known.

    Returns:
        None if no report is.
    """
    sign = 1 if mode == "max" else -1
    for step, value in zip(curve.env_steps, curve.values, strict=True):
        if sign * value >= sign * threshold:
            return step
    return None
