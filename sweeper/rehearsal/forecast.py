"""From a rehearsal's measurements to an estimate of the whole sweep, without any training."""

from __future__ import annotations

import heapq
import math
import shutil
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.formatting import count_noun, format_bytes
from sweeper.json_values import to_json
from sweeper.machine import free_bytes
from sweeper.metrics import ENV_STEPS
from sweeper.planning.plan import Estimate, SweepPlan, may_end_early
from sweeper.rehearsal.cost import find_nearest
from sweeper.rehearsal.measurements import Probe, Rehearsal
from sweeper.sqlite_address import sqlite_path
from sweeper.storage.address import parse_address

__all__ = ["RehearsedConfiguration", "RehearsedEstimate", "estimate_rehearsed"]

_REPORT_S = 0.005  # what a report costs the driver (the median gap in a measured run)
# Times outside of Ray, as multiples of Ray's start on the same machine.
_AROUND = 0.6  # starting the command line, importing torch
_MLFLOW = 0.4  # importing MLflow, logging the champion

_JOURNAL_LINE_BYTES = 230  # of a report, around its metrics
_TRIAL_BYTES = 3_000  # its log, and its other events
_RECORD_BYTES = 20_000  # spec, plan, environment, selection
_MLFLOW_BYTES = 900_000  # an empty database
_MLFLOW_VALUE_BYTES = 310  # one value of one metric, with its indices
_MEDIUM = 0.5  # how long evaluation episodes get; see `_evaluation_s`


@dataclass(frozen=True)
class RehearsedConfiguration:
    """What `sweeper plan` shows of a `Probe`.

    ``env_steps_per_s`` is of all replicas together. ``trial_s`` is the time of a full trial, None
    if only the search's budget ends it. ``evaluation_s`` is None without evaluations.
    """

    parameters: Mapping[str, Any]
    env_steps: int
    env_steps_per_s: float
    trial_s: float | None
    evaluation_s: float | None
    value: float | None


@dataclass(frozen=True, kw_only=True)
class RehearsedEstimate(Estimate):
    """An estimate from a rehearsal.

    Attributes:
        time_range_s: shortest and longest time of the sweep, if that depends much on how long
            the evaluation's episodes get; else None.
        trial_s: mean time of a full trial; None if only the search's budget ends trials.
        trials_per_hour: None in the same case.
        memory_bytes: of all processes together; None if unknown.
        trial_memory_bytes: peak memory of one trial's process.
        checkpoint_bytes: of one trial, without a replay memory.
        rehearsal: the measurements.
        configurations: those that were trained, in the search's order.
    """

    time_range_s: tuple[float, float] | None
    trial_s: float | None
    trials_per_hour: float | None
    memory_bytes: float | None
    trial_memory_bytes: float
    checkpoint_bytes: int
    rehearsal: Rehearsal
    configurations: tuple[RehearsedConfiguration, ...]

    def to_json(self) -> dict[str, Any]:
        """The estimate as `sweeper plan --rehearse --json` prints it."""
        return {
            "time_s": self.time_s,
            "time_range_s": None if self.time_range_s is None else list(self.time_range_s),
            **super().to_json(),
            "trial_s": self.trial_s,
            "trials_per_hour": self.trials_per_hour,
            "memory_bytes": self.memory_bytes,
            "trial_memory_bytes": self.trial_memory_bytes,
            "checkpoint_bytes": self.checkpoint_bytes,
            "rehearsal": {
                "concurrent": self.rehearsal.concurrent,
                "seconds": self.rehearsal.seconds,
                "startup_s": self.rehearsal.startup_s,
                "configurations": [to_json(vars(one)) for one in self.configurations],
            },
        }


def estimate_rehearsed(plan: SweepPlan, rehearsal: Rehearsal) -> SweepPlan:
    """Add a `RehearsedEstimate` to the plan, and warnings of what the sweep will run out of."""
    probes, trials = rehearsal.probes, _assign_probes(plan, rehearsal.probes)
    (low, _), (medium, limit), (high, _) = (
        _find_end(plan, rehearsal, trials, long_share) for long_share in (0.0, _MEDIUM, 1.0)
    )
    around = _AROUND + (_MLFLOW if plan.spec.tracking is not None else 0.0)
    around_s = rehearsal.start_s * (1 + around) + rehearsal.end_s
    shortest, longest = around_s + low, around_s + high
    lengths = [_trial_s(plan, probe, _MEDIUM) for probe in trials]
    bounded = [length for length in lengths if math.isfinite(length)]
    trial_s = statistics.fmean(bounded) if bounded else None
    estimate = RehearsedEstimate(
        time_s=_finite(around_s + medium),
        time_range_s=(shortest, longest) if 1.2 * shortest < longest < math.inf else None,
        disk_bytes=_disk_bytes(plan, rehearsal, trials, medium),
        based_on="rehearsal",
        limit=limit,
        is_upper_bound=may_end_early(plan),
        confirmation_s=_confirmation_s(plan, trial_s),
        trial_s=trial_s,
        trials_per_hour=None if not trial_s else 3600 * rehearsal.concurrent / trial_s,
        memory_bytes=_memory_bytes(plan, rehearsal),
        trial_memory_bytes=max(_trial_memory_bytes(plan, probe) for probe in probes),
        checkpoint_bytes=max(probe.checkpoint_bytes for probe in probes),
        rehearsal=rehearsal,
        configurations=tuple(
            RehearsedConfiguration(
                parameters=probe.parameters,
                env_steps=probe.env_steps,
                env_steps_per_s=plan.replicas / probe.step_s,
                trial_s=_finite(_trial_s(plan, probe, _MEDIUM)),
                evaluation_s=probe.evaluation_s if plan.spec.evaluation else None,
                value=_finite(probe.value),
            )
            for probe in sorted(probes, key=lambda probe: probe.index)
        ),
    )
    warnings = (*plan.warnings, *rehearsal.warnings, *_find_shortages(plan, estimate, lengths))
    return replace(plan, estimate=estimate, warnings=warnings)


def _confirmation_s(plan: SweepPlan, trial_s: float | None) -> float | None:
    """The confirmation's training, as if each seed took its share of a trial of the search."""
    planned = plan.confirmation
    if planned is None or trial_s is None:
        return None
    rounds = math.ceil(planned.samples / planned.concurrent)
    return rounds * trial_s * len(planned.seeds) / plan.replicas


def _assign_probes(plan: SweepPlan, probes: Sequence[Probe]) -> list[Probe]:
    """The probe that is nearest in cost to each trial of the sweep, in the search's order."""
    by_index = {probe.index: probe for probe in probes}
    nearest = [by_index[index] for index in find_nearest(plan, list(by_index))]
    return [nearest[trial % len(nearest)] for trial in range(plan.max_trials)]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# --- time ------------------------------------------------------------------------------------


def _iterations(plan: SweepPlan, probe: Probe) -> float:
    """Iterations of a full trial; infinite if neither env steps nor iterations bound it."""
    stop = plan.spec.stop
    by_steps = stop.get(ENV_STEPS, math.inf) / probe.iteration_steps
    number = min(by_steps, stop.get("training_iteration", math.inf))
    return max(1, math.ceil(number - 1e-9)) if math.isfinite(number) else math.inf


def _trial_s(plan: SweepPlan, probe: Probe, long_share: float) -> float:
    """Time of a full trial, with its evaluations and checkpoints."""
    spec = plan.spec
    iterations = _iterations(plan, probe)
    evaluation_s = _evaluation_s(probe, long_share)
    trial_s = math.inf
    if math.isfinite(iterations):
        steps = iterations * probe.iteration_steps
        before = 0.0 if probe.collect_step_s is None else min(steps, probe.learning_starts)
        trial_s = probe.build_s + (steps - before) * probe.step_s + iterations * _REPORT_S
        trial_s += before * (probe.collect_step_s or 0.0)
        if spec.evaluation is not None:
            times = _times_due(spec.evaluation.every_env_steps, iterations, probe)
            trial_s += times * evaluation_s
        trial_s += _times_due(spec.checkpoint.every_env_steps, iterations, probe) * probe.save_s
    limit_s = float(spec.stop.get("time_total_s", math.inf))
    return min(trial_s, _overrun_s(limit_s, probe) + (evaluation_s + probe.save_s))


def _overrun_s(limit_s: float, probe: Probe) -> float:
    """When training stops after a time limit: on average half an iteration later."""
    return limit_s + probe.iteration_steps * probe.step_s / 2


def _evaluation_s(probe: Probe, long_share: float) -> float:
    """Time of an evaluation.

    Args:
        probe: the measurement.
        long_share: 0: episodes as long as in the rehearsal; 1: as long as possible.
    """
    if probe.episode_limit is None or not probe.evaluation_steps:
        return probe.evaluation_s
    longest = max(1.0, probe.episode_limit / probe.evaluation_steps)
    return probe.evaluation_s * (1 + long_share * (longest - 1))


def _times_due(every_env_steps: int | None, iterations: float, probe: Probe) -> float:
    """How often a trial evaluates or saves: at multiples of ``every_env_steps`` and at its end."""
    if every_env_steps is None:
        return min(iterations, 10)
    steps = iterations * probe.iteration_steps
    times = min(iterations, steps // every_env_steps)
    ends_on_one = steps // every_env_steps > (steps - probe.iteration_steps) // every_env_steps
    return times if ends_on_one else times + 1


def _find_end(
    plan: SweepPlan, rehearsal: Rehearsal, trials: Sequence[Probe], long_share: float
) -> tuple[float, str | None]:
    """Seconds from Ray's start to the search's end, and the key of the budget that ends it."""
    budget, limit = plan.spec.budget, None
    share = 1.0 if plan.expected_share is None else plan.expected_share
    lengths = (share * _trial_s(plan, probe, long_share) for probe in trials)
    end_s = rehearsal.worker_s + _makespan_s(lengths, rehearsal.concurrent)
    if budget.env_steps is not None:
        steps = budget.env_steps / (plan.replicas * rehearsal.concurrent)
        used_s = rehearsal.worker_s + steps * statistics.fmean(probe.step_s for probe in trials)
        if used_s <= end_s:
            end_s, limit = used_s, "budget.env_steps"
    if budget.time_s is not None:
        # The trial that reports next is evaluated and saved.
        last = trials[-1]
        over_s = _overrun_s(0.0, last) + last.save_s
        end_s = min(end_s, budget.time_s + over_s + _evaluation_s(last, long_share))
        limit = "budget.time_s" if end_s >= budget.time_s else limit
    return end_s, limit


def _makespan_s(lengths: Iterable[float], slots: int) -> float:
    """When the last trial ends, if each takes the slot that is free first."""
    free = [0.0] * slots
    for length in lengths:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


# --- memory and disk -------------------------------------------------------------------------


def _replay_share(plan: SweepPlan, probe: Probe) -> float:
    """How full a trial's replay memories get, 0 to 1."""
    if plan.replay is None:
        return 0.0
    return min(1.0, _iterations(plan, probe) * probe.iteration_steps / plan.replay.slots)


def _trial_memory_bytes(plan: SweepPlan, probe: Probe) -> float:
    """Peak memory of a trial's process; in the rehearsal its replay memories were almost empty."""
    replay_bytes = 0 if plan.replay is None else plan.replay.replay_bytes
    return probe.memory_bytes + _replay_share(plan, probe) * replay_bytes


def _memory_bytes(plan: SweepPlan, rehearsal: Rehearsal) -> float | None:
    """Memory of concurrent trials, the command line and Ray."""
    if rehearsal.memory_bytes is None:
        return None
    growth = max(
        _trial_memory_bytes(plan, probe) - probe.memory_bytes for probe in rehearsal.probes
    )
    return rehearsal.memory_bytes + rehearsal.concurrent * growth


def _kept_bytes(plan: SweepPlan, probe: Probe) -> float:
    """What a finished trial keeps of a checkpoint."""
    kept, replay_bytes = plan.spec.checkpoint, 0
    if plan.replay is not None and kept.replay and kept.trainer:
        replay_bytes = plan.replay.saved_bytes
    return probe.kept_bytes + _replay_share(plan, probe) * replay_bytes


def _disk_bytes(
    plan: SweepPlan, rehearsal: Rehearsal, trials: Sequence[Probe], end_s: float
) -> float:
    """Disk of kept checkpoints, the champion, the journal and MLflow's database."""
    tracking, kept = plan.spec.tracking, plan.kept_trials * plan.spec.checkpoint.keep
    # One report per iteration of all trials, but no more than there is time for.
    iteration_s = statistics.fmean(probe.iteration_steps * probe.step_s for probe in trials)
    in_time = (end_s - rehearsal.worker_s) * rehearsal.concurrent / (iteration_s + _REPORT_S)
    share = 1.0 if plan.expected_share is None else plan.expected_share
    reports = min(in_time, share * sum(_iterations(plan, probe) for probe in trials))
    row = statistics.fmean(probe.report_bytes for probe in trials) + _JOURNAL_LINE_BYTES
    champion = statistics.fmean(probe.kept_bytes for probe in trials) / plan.replicas
    disk = kept * statistics.fmean(_kept_bytes(plan, probe) for probe in trials) + champion
    disk += reports * row + len(trials) * _TRIAL_BYTES + _RECORD_BYTES
    database = None if tracking is None else sqlite_path(tracking.uri)
    if database is not None:
        values = statistics.fmean(probe.report_values for probe in trials)
        disk += reports * values * _MLFLOW_VALUE_BYTES + 2 * champion
        if not database.exists():
            disk += _MLFLOW_BYTES
    return disk


# --- warnings --------------------------------------------------------------------------------


def _find_shortages(
    plan: SweepPlan, estimate: RehearsedEstimate, lengths: Sequence[float]
) -> Iterator[str]:
    """Warn if the sweep needs more time, memory or disk than there is."""
    spec, timeout_s = plan.spec, plan.spec.resources.timeout_s
    over = [length for length in lengths if timeout_s is not None and length > timeout_s]
    if over:
        yield (
            f"{len(over)} of {len(lengths)} trials would take longer than resources.timeout_s, "
            f"{timeout_s:g} s, and end as errors; the longest takes about {max(over):.0f} s"
        )
    memory, free = estimate.memory_bytes, free_bytes()
    if memory is not None and free is not None and memory > free:
        yield (
            f"{count_noun(estimate.rehearsal.concurrent, 'trial')} at a time and Ray take about "
            f"{format_bytes(memory)} of memory, and {format_bytes(free)} are free; lower "
            "search.max_concurrent"
        )
    if parse_address(spec.storage) is not None or estimate.disk_bytes is None:
        return
    storage = Path(spec.storage).expanduser().absolute()
    existing = next((one for one in (storage, *storage.parents) if one.is_dir()), None)
    if existing is not None and estimate.disk_bytes > (room := shutil.disk_usage(existing).free):
        yield (
            f"the run takes about {format_bytes(estimate.disk_bytes)} on disk, and "
            f"{format_bytes(room)} are free in {existing}; lower checkpoint.keep_trials"
        )
