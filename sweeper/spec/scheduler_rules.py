"""Rules about what a scheduler that compares trials at env steps needs."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.metrics import ENV_STEPS
from sweeper.spec.draft import Draft
from sweeper.spec.schedulers import RUNGED, Scheduler, find_length
from sweeper.spec.text.yaml import KeyPath

__all__ = ["compares_trials_well"]


def compares_trials_well(draft: Draft) -> Iterator[tuple[KeyPath, str]]:
    """Whether a scheduler knows a trial's length."""
    scheduler = draft.get(Scheduler)
    if scheduler is None or scheduler.type not in RUNGED:
        return
    if not draft.broken & {"scheduler", "stop"} and "stop" not in draft.misspelt:
        yield from _has_length(draft, scheduler)
    if scheduler.given_options().get("min_time_slice"):
        message = "must be 0: trials never yield their place to others; leave it out"
        yield ("scheduler", "min_time_slice"), message


def _has_length(draft: Draft, scheduler: Scheduler) -> Iterator[tuple[KeyPath, str]]:
    if find_length(scheduler, draft.stop) is not None:
        return
    has_max_t = "max_t" in type(scheduler.options).model_fields
    if not has_max_t and scheduler.given_options().get("grace_period") is not None:
        return
    key = "max_t" if has_max_t else "grace_period"
    yield (
        ("scheduler", key),
        f"{scheduler.type} compares trials at env steps, and nothing says how many a trial has: "
        f"give stop.{ENV_STEPS}, or {key} here",
    )
