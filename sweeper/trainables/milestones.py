"""When a trial stops, and when it is due for an evaluation or a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sweeper.metrics import BOUNDS, ENV_STEPS
from sweeper.trainables.contract import TrialSettings

__all__ = ["find_met_criterion", "steps_crossed", "tenths_done"]


def find_met_criterion(stop: Mapping[str, float] | None, row: Mapping[str, Any]) -> str | None:
    """The first stop criterion that the row meets, as ``metric >= value``; else None."""
    for metric, value in (stop or {}).items():
        reported = row.get(metric)
        if isinstance(reported, int | float) and reported >= value:
            return f"{metric} >= {_format_number(value)}"
    return None


def tenths_done(settings: TrialSettings, row: Mapping[str, Any]) -> int:
    """How many tenths of the trial are done, by the bound that is nearest.

    The bounds are ``stop``, or else the trial's part of the search's budget.
    """
    bounds = {name: (settings.stop or {}).get(name) for name in BOUNDS}
    if bounds["time_total_s"] is None:
        bounds["time_total_s"] = settings.time_budget_s
    if bounds[ENV_STEPS] is None:
        bounds[ENV_STEPS] = settings.env_steps_share
    shares = [
        10 * float(row[name]) / bound
        for name, bound in bounds.items()
        if bound and name in row and math.isfinite(bound)
    ]
    return int(max(shares, default=0.0))


def steps_crossed(before: int, after: int, every: int | None) -> bool:
    """Whether a multiple of ``every`` lies in ``(before, after]``."""
    return every is not None and before // every < after // every


def _format_number(value: float) -> str:
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)
