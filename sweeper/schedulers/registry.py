"""Which schedulers there are, by the names that a spec gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sweeper.metrics import Objective
from sweeper.schedulers.asha import AshaScheduler
from sweeper.schedulers.base import Scheduler
from sweeper.schedulers.fifo import FIFOScheduler
from sweeper.schedulers.hyperband import HyperBandScheduler
from sweeper.schedulers.median import MedianScheduler
from sweeper.schedulers.pbt import PBTScheduler

__all__ = ["SCHEDULERS", "build_scheduler"]

# A spec that names another one is told that it is not available yet.
SCHEDULERS: Mapping[str, Callable[..., Scheduler]] = {
    "fifo": FIFOScheduler,
    "asha": AshaScheduler,
    "hyperband": HyperBandScheduler,
    "median": MedianScheduler,
    "pbt": PBTScheduler,
}


def build_scheduler(name: str, objective: Objective, options: Mapping[str, Any]) -> Scheduler:
    """The scheduler of a spec, which has not been told of any trial.

    Args:
        name: a key of `SCHEDULERS`.
        objective: whose values it goes by.
        options: its own, with those that have no default in the class, such as ``max_t``: see
            `sweeper.spec.schedulers.resolve_options`.
    """
    return SCHEDULERS[name](objective, **options)
