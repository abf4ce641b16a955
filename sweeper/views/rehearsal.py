"""A rehearsed estimate in words: what the sweep will take, and what was measured."""

from __future__ import annotations

import time
from collections.abc import Iterator

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
from sweeper.rehearsal.cost import has_unequal_costs
from sweeper.rehearsal.forecast import RehearsedEstimate

__all__ = ["describe_memory", "describe_probes", "describe_time", "roughly", "summarise"]

_MAX_PROBES = 6


def describe_time(estimate: RehearsedEstimate) -> str:
    """How long the sweep will take, until when, and how many trials an hour."""
    now, time_s = time.time(), estimate.time_s or 0.0
    bound = "at most about " if estimate.is_upper_bound else "about "
    text = f"{bound}{roughly(time_s)}, until {format_clock(now + time_s, now)} if it starts now"
    if estimate.time_range_s is not None:
        shortest, longest = map(roughly, estimate.time_range_s)
        text += f" ({shortest} to {longest}, by how long the evaluation's episodes get)"
    parts = [text]
    if estimate.limit is not None:
        parts.append(f"{estimate.limit} ends it")
    if estimate.trial_s is not None and estimate.trials_per_hour is not None:
        rate = f"{format_number(round(estimate.trials_per_hour))} trials an hour"
        parts.append(f"{rate}, {format_duration(estimate.trial_s)} each")
    if estimate.is_upper_bound:
        parts.append("less where trials end early")
    return "; ".join(parts)


def describe_memory(plan: SweepPlan, estimate: RehearsedEstimate) -> str:
    """The memory of the whole sweep, of a trial, and what is free."""
    text = f"up to {format_bytes(estimate.trial_memory_bytes)} a trial"
    if estimate.memory_bytes is not None:
        trials = count_noun(estimate.rehearsal.concurrent, "trial")
        whole = format_bytes(estimate.memory_bytes)
        text = f"about {whole} for {trials} at a time and Ray, {text}"
    free = free_bytes() if plan.spec.ray.address is None else None
    return text if free is None else f"{text}; {format_bytes(free)} are free here"


def describe_probes(plan: SweepPlan, estimate: RehearsedEstimate) -> Iterator[tuple[str, str]]:
    """Name and measurements of each rehearsed configuration, of the first few at most."""
    probes = estimate.configurations
    for probe in probes[:_MAX_PROBES]:
        text = f"{format_number(round(probe.env_steps_per_s))} env steps/s"
        if probe.evaluation_s is not None:
            text += f", an evaluation {_short(probe.evaluation_s)}"
        if probe.value is not None:
            text += f", {plan.spec.selection.metric} {format_number(probe.value)}"
        yield format_parameters(probe.parameters, is_short=True) or "the configuration", text
    if len(probes) > _MAX_PROBES:
        speeds = [round(probe.env_steps_per_s) for probe in probes]
        slowest, fastest = format_number(min(speeds)), format_number(max(speeds))
        yield f"all {len(probes)}", f"{slowest} to {fastest} env steps/s"


def summarise(plan: SweepPlan, estimate: RehearsedEstimate) -> str:
    """What was rehearsed and how, in a sentence."""
    rehearsal, number = estimate.rehearsal, len(estimate.configurations)
    text = "its configuration"
    if plan.trials > 1:
        text = f"{number} of the {plan.trials} configurations"
    if number > 1 and has_unequal_costs(plan):
        text += ", from cheap to expensive"
    if rehearsal.concurrent > 1:
        text += f", {rehearsal.concurrent} side by side as in the sweep"
    return (
        f"{text}, trained for {_short(rehearsal.seconds)} in all; Ray and the workers "
        f"took {_short(rehearsal.startup_s)} to start; a checkpoint of "
        f"{format_bytes(estimate.checkpoint_bytes)} was saved and loaded"
    )


def roughly(seconds: float) -> str:
    """A duration that is no more exact than an estimate."""
    if seconds < 100:
        return f"{max(5, round(seconds / 5) * 5)} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else format_duration(seconds)
