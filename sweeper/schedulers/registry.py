"""Which schedulers there are, by the names that a spec gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sweeper.metrics import Objective
from sweeper.schedulers.base import Scheduler
from sweeper.schedulers.fifo import FIFOScheduler
from sweeper.schedulers.pbt import PBTScheduler

__all__ = ["SCHEDULERS", "build_scheduler"]

# A spec that names another one is told that it is not available yet.
SCHEDULERS: Mapping[str, Callable[..., Scheduler]] = {"fifo": FIFOScheduler, "pbt": PBTScheduler}


def build_scheduler(name: str, objective: Objective, options: Mapping[str, Any]) -> Scheduler:
    """The scheduler of a spec with its options, which has not been told of any trial."""
    return SCHEDULERS[name](objective, **options)
