"""Which schedulers there are, by the names that a spec gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sweeper.schedulers.base import Scheduler
from sweeper.schedulers.fifo import FIFOScheduler

__all__ = ["SCHEDULERS", "build_scheduler"]

# A spec that names another one is told that it is not available yet.
SCHEDULERS: Mapping[str, Callable[..., Scheduler]] = {"fifo": FIFOScheduler}


def build_scheduler(name: str) -> Scheduler:
    """The scheduler of a spec, with nothing told to it yet."""
    return SCHEDULERS[name]()
