"""A spec's sections by name, and the models of their options."""

from __future__ import annotations

from collections.abc import Mapping

from sweeper.spec.schedulers import SCHEDULER_OPTIONS, Scheduler
from sweeper.spec.search import SEARCH_OPTIONS, Search
from sweeper.spec.sections import (
    Budget,
    Checkpoint,
    Environment,
    Evaluation,
    Ray,
    Resources,
    Section,
    Selection,
    Tracking,
)

__all__ = ["SECTIONS", "WITH_OPTIONS"]

SECTIONS: Mapping[str, type[Section]] = {
    "environment": Environment,
    "search": Search,
    "scheduler": Scheduler,
    "budget": Budget,
    "evaluation": Evaluation,
    "selection": Selection,
    "checkpoint": Checkpoint,
    "resources": Resources,
    "ray": Ray,
    "tracking": Tracking,
}
# Sections whose options depend on one of their keys.
WITH_OPTIONS: Mapping[str, tuple[type[Scheduler | Search], str, Mapping[str, type[Section]]]] = {
    "scheduler": (Scheduler, "type", SCHEDULER_OPTIONS),
    "search": (Search, "algorithm", SEARCH_OPTIONS),
}
