"""Rules about what a scheduler that compares trials at env steps needs: a length, and rungs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sweeper.formatting import count_noun
from sweeper.metrics import ENV_STEPS
from sweeper.schedulers.rungs import count_ladders, first_rung
from sweeper.spec.draft import Draft
from sweeper.spec.schedulers import RUNGED, Asha, HyperBand, Scheduler, find_length
from sweeper.spec.text.yaml import KeyPath

__all__ = ["compares_trials_well"]


def compares_trials_well(draft: Draft) -> Iterator[tuple[KeyPath, str]]:
    """Whether a scheduler knows a trial's length."""
    scheduler = draft.get(Scheduler)
    if scheduler is None or scheduler.type not in RUNGED:
        return
    if not draft.broken & {"scheduler", "stop"} and "stop" not in draft.misspelt:
        yield from _has_length(draft, scheduler)
        yield from _has_rungs(draft, scheduler)
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


def _has_rungs(draft: Draft, scheduler: Scheduler) -> Iterator[tuple[KeyPath, str]]:
    """Whether there is a rung to stop a trial at, and one on each of ASHA's ladders."""
    length, options = find_length(scheduler, draft.stop), scheduler.options
    first = getattr(options, "grace_period", None)
    if length is None or length < 1 or (first or 0) >= length:
        return  # reported already
    if isinstance(options, HyperBand):
        yield from _hyperband_has_rungs(options, length)
    elif isinstance(options, Asha):
        most = count_ladders(first or first_rung(length), options.reduction_factor, below=length)
        if options.brackets > max(1, most):
            yield (
                ("scheduler", "brackets"),
                f"each bracket begins a rung later, and {count_noun(most, 'rung')} "
                f"{'lies' if most == 1 else 'lie'} before a trial's end ({length:,} env steps): "
                f"must be at most {most}, or give an earlier grace_period; found "
                f"{options.brackets:,}",
            )


def _hyperband_has_rungs(options: HyperBand, length: int) -> Iterator[tuple[KeyPath, str]]:
    factor, first = options.reduction_factor, options.grace_period
    most = math.floor(length / factor)
    if most < 1:
        message = f"must not be more than a trial's env steps ({length:,}), else there is no rung"
        yield ("scheduler", "reduction_factor"), f"{message}; found {factor:,g}"
    elif first is not None and first > most:
        smaller = math.floor(length / first * 100) / 100
        remedy = f", or a reduction_factor of {smaller:g} at most" if smaller >= 2 else ""
        yield (
            ("scheduler", "grace_period"),
            f"no rung is left: hyperband's last one lies at a trial's env steps divided by "
            f"reduction_factor ({length:,} / {factor:g}); give {most:,} at most{remedy}; found "
            f"{first:,}",
        )
