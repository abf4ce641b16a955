"""A rehearsal in words: what it says a sweep will take, and what it went by."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from sweeper.formatting import (
    count_noun,
    format_bytes,
    format_clock,
    format_duration,
    format_number,
    format_parameters,
)
from sweeper.machine import free_bytes
from sweeper.planning.plan import SweepPlan
from sweeper.rehearsal.cost import does_cost_differ

__all__ = [
    "describe_memory",
    "describe_probes",
    "describe_time",
    "roughly",
    "summarise_rehearsal",
]

_MAX_LINES = 6


def describe_time(estimate: Mapping[str, Any], now: float | None = None) -> str:
    """How long, until when, at what rate.

    Args:
        estimate: of `sweeper.rehearsal.forecast.estimate_rehearsed`.
        now: seconds since the epoch; by default the present.
    """
    now = time.time() if now is None else now
    time_s = float(estimate["time_s"])
    clock = format_clock(now + time_s, now)
    bound = "at most about " if estimate["is_upper_bound"] else "about "
    text = f"{bound}{roughly(time_s)}, until {clock} if it starts now"
    if estimate["time_range_s"] is not None:
        low, high = (roughly(value) for value in estimate["time_range_s"])
        text += f" ({low} to {high}, by how long the evaluation's episodes get)"
    parts = [text]
    if estimate["limit"] is not None:
        parts.append(f"{estimate['limit']} is used up then")
    if estimate["trial_s"] is not None:
        rate = f"{format_number(round(estimate['trials_per_hour']))} trials an hour"
        parts.append(f"{rate}, {format_duration(estimate['trial_s'])} each")
    if estimate["is_upper_bound"]:
        parts.append("less where trials end early")
    return "; ".join(parts)


def describe_memory(plan: SweepPlan, estimate: Mapping[str, Any]) -> str:
    """Of all processes, of a trial, and what there is."""
    trials = count_noun(estimate["rehearsal"]["concurrent"], "trial")
    each = f"up to {format_bytes(estimate['trial_memory_bytes'])} a trial"
    free = free_bytes() if plan.spec.ray.address is None else None
    here = "" if free is None else f"; {format_bytes(free)} are free here"
    if estimate["memory_bytes"] is None:
        return f"{each}{here}"
    return (
        f"about {format_bytes(estimate['memory_bytes'])} for {trials} at a time and Ray, {each}"
        f"{here}"
    )


def describe_probes(plan: SweepPlan, estimate: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What was rehearsed and measured: a name and a text each."""
    rehearsal = estimate["rehearsal"]
    probes = rehearsal["configurations"]
    metric = plan.spec.selection.metric
    for probe in probes[:_MAX_LINES]:
        text = f"{format_number(round(probe['env_steps_per_s']))} env steps/s"
        if probe["evaluation_s"] is not None:
            text += f", an evaluation {_short(probe['evaluation_s'])}"
        if probe["value"] is not None:
            text += f", {metric} {format_number(probe['value'])}"
        yield format_parameters(probe["parameters"], is_short=True) or "the configuration", text
    if len(probes) > _MAX_LINES:
        speeds = sorted(round(probe["env_steps_per_s"]) for probe in probes)
        low, high = format_number(speeds[0]), format_number(speeds[-1])
        yield f"all {len(probes)}", f"{low} to {high} env steps/s"


def summarise_rehearsal(plan: SweepPlan, estimate: Mapping[str, Any]) -> str:
    """How it was rehearsed, in a sentence."""
    rehearsal = estimate["rehearsal"]
    number = len(rehearsal["configurations"])
    which = (
        "its configuration" if plan.trials == 1 else f"{number} of the {plan.trials} configurations"
    )
    which += ", from cheap to dear" if number > 1 and does_cost_differ(plan) else ""
    beside = (
        f", {rehearsal['concurrent']} side by side as in the sweep"
        if rehearsal["concurrent"] > 1
        else ""
    )
    return (
        f"{which}{beside}, trained for {_short(rehearsal['seconds'])} in all; Ray and the workers "
        f"took {_short(rehearsal['startup_s'])} to start; a checkpoint of "
        f"{format_bytes(estimate['checkpoint_bytes'])} went out and came back"
    )


def roughly(seconds: float) -> str:
    """A duration no more exact than an estimate is."""
    if seconds < 100:
        return f"{max(5, round(seconds / 5) * 5)} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else format_duration(seconds)
