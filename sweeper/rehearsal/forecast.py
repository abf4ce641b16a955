"""What a sweep will take, going by a rehearsal: some of its configurations, trained for seconds.

`planning.dearness` says which ones, `running.rehearsal` trains them; here is what their
measurements say about the whole, so that it can be held against a plan without any training.
"""

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
from sweeper.planning.plan import SweepPlan, may_end_early
from sweeper.rehearsal.cost import find_nearest

__all__ = ["Probe", "Rehearsal", "estimate_rehearsed"]

# What a report costs the driver, beside the trial (measured: the median of a run's gaps).
_REPORT_S = 0.005
# Before and after Ray: the command line's own start; the champion, for which the driver imports
# torch; MLflow's import and the champion's model in it. As multiples of Ray's start on the same
# machine, which is measured.
_AROUND = 0.6
_MLFLOW = 0.4

_JOURNAL_LINE_BYTES = 230  # of a report, around its metrics
_TRIAL_BYTES = 3_000  # its log, and its other events
_RECORD_BYTES = 20_000  # spec, plan, environment, selection
_MLFLOW_BYTES = 900_000  # an empty database
_MLFLOW_VALUE_BYTES = 310  # one value of one metric, with its indices


@dataclass(frozen=True)
class Probe:
    """What one configuration came to.

    Attributes:
        index: its place in the search, from 0.
        parameters: what the search varies, nested.
        env_steps: trained for, of each replica.
        iteration_steps: env steps of a replica in an iteration.
        step_s: seconds for an env step of every replica, while learning.
        collect_step_s: the same before learning starts; None where it starts at once.
        learning_starts: env steps of a replica before there are any updates.
        build_s: to take up another configuration in the same process.
        evaluation_s: of one evaluation; 0 without any.
        evaluation_steps: the mean length of its episodes.
        episode_limit: the environment's time limit.
        save_s: to write a checkpoint.
        checkpoint_bytes: of all replicas, without a replay memory.
        kept_bytes: of it what a finished trial keeps.
        report_bytes: of one row of metrics, as JSON.
        report_values: numbers in it.
        memory_bytes: the most that the trial's process took.
        value: of the metric that trials will be judged by; None while there is none.
    """

    index: int
    parameters: Mapping[str, Any]
    env_steps: int
    iteration_steps: float
    step_s: float
    collect_step_s: float | None
    learning_starts: float
    build_s: float
    evaluation_s: float
    evaluation_steps: float
    episode_limit: int | None
    save_s: float
    checkpoint_bytes: int
    kept_bytes: int
    report_bytes: int
    report_values: int
    memory_bytes: int
    value: float | None


@dataclass(frozen=True)
class Rehearsal:
    """What was measured.

    Attributes:
        probes: one a configuration.
        concurrent: how many trained side by side.
        seconds: for how long each slot trained.
        start_s: until Ray was there.
        worker_s: from then on until the first trial trained, once a launch.
        end_s: until Ray was gone.
        memory_bytes: of all processes together; None where that can't be told.
        warnings: what went wrong with some of the configurations, or may with the sweep.
    """

    probes: tuple[Probe, ...]
    concurrent: int
    seconds: float
    start_s: float
    worker_s: float
    end_s: float
    memory_bytes: int | None = None
    warnings: tuple[str, ...] = ()


def estimate_rehearsed(plan: SweepPlan, rehearsal: Rehearsal) -> SweepPlan:
    """The plan with the ``estimate`` that a rehearsal allows.

    Beside what every estimate has it says ``is_upper_bound`` (trials may end before their full
    length), ``time_range_s`` (where it depends on how long the evaluation's episodes will be),
    ``trial_s``, ``trials_per_hour``, ``memory_bytes`` (of all), ``trial_memory_bytes``,
    ``checkpoint_bytes`` (of a trial) and under ``rehearsal`` what was measured.
    """
    spec = plan.spec
    assigned = _assign(plan, rehearsal.probes)
    low, middle, high = (_whole_s(plan, rehearsal, assigned, share) for share in (0.0, 0.5, 1.0))
    lengths = [_trial_s(plan, probe, 0.5) for probe in assigned]
    bounded = [length for length in lengths if math.isfinite(length)]
    trial_s = statistics.fmean(bounded) if bounded else None
    limit = _find_limit(plan, rehearsal, assigned)
    estimate: dict[str, Any] = {
        "time_s": _finite(middle),
        "time_range_s": [low, high] if 1.2 * low < high < math.inf else None,
        "disk_bytes": _disk_bytes(plan, rehearsal, assigned),
        "based_on": "rehearsal",
        "limit": limit,
        "is_limit": limit == "budget.time_s",
        "is_upper_bound": may_end_early(spec),
        "trial_s": trial_s,
        "trials_per_hour": None if not trial_s else 3600 * rehearsal.concurrent / trial_s,
        "memory_bytes": _whole_memory_bytes(plan, rehearsal),
        "trial_memory_bytes": max(_memory_bytes(plan, probe) for probe in rehearsal.probes),
        "checkpoint_bytes": max(probe.checkpoint_bytes for probe in rehearsal.probes),
        "rehearsal": {
            "concurrent": rehearsal.concurrent,
            "seconds": rehearsal.seconds,
            "startup_s": rehearsal.start_s + rehearsal.worker_s,
            "configurations": [
                {
                    "parameters": to_json(probe.parameters),
                    "env_steps": probe.env_steps,
                    "env_steps_per_s": plan.replicas / probe.step_s,
                    "trial_s": _finite(_trial_s(plan, probe, 0.5)),
                    "evaluation_s": probe.evaluation_s if spec.evaluation else None,
                    "value": None if probe.value is None else _finite(probe.value),
                }
                for probe in sorted(rehearsal.probes, key=lambda probe: probe.index)
            ],
        },
    }
    found = (*_timeouts(plan, lengths), *_shortages(plan, estimate))
    warnings = (*plan.warnings, *rehearsal.warnings, *found)
    return replace(plan, estimate=estimate, warnings=warnings)


def _assign(plan: SweepPlan, probes: Sequence[Probe]) -> list[Probe]:
    """For every trial of the sweep, in its order, the probe that is nearest to it in cost."""
    by_place = {probe.index: probe for probe in probes}
    nearest = [by_place[place] for place in find_nearest(plan, list(by_place))]
    return [nearest[trial % len(nearest)] for trial in range(plan.max_trials)]


# --- how long --------------------------------------------------------------------------------


def _iterations(plan: SweepPlan, probe: Probe) -> float:
    """Of one trial at its full length; infinite where neither steps nor iterations bound it."""
    stop = plan.spec.stop
    by_steps = stop.get(ENV_STEPS, math.inf) / probe.iteration_steps
    least = min(by_steps, stop.get("training_iteration", math.inf))
    return max(1, math.ceil(least - 1e-9)) if math.isfinite(least) else math.inf


def _trial_s(plan: SweepPlan, probe: Probe, long_share: float) -> float:
    """Of one trial at its full length, evaluations and checkpoints included.

    Args:
        plan: what bounds it.
        probe: what it is like.
        long_share: 0: the evaluation's episodes stay as short as they were, 1: all of them go
            to the environment's time limit.
    """
    spec = plan.spec
    iterations = _iterations(plan, probe)
    evaluation_s = _evaluation_s(probe, long_share)
    last_s = evaluation_s + probe.save_s
    if math.isfinite(iterations):
        steps = iterations * probe.iteration_steps
        before = 0.0 if probe.collect_step_s is None else min(steps, probe.learning_starts)
        whole = probe.build_s + (steps - before) * probe.step_s + iterations * _REPORT_S
        whole += before * (probe.collect_step_s or 0.0)
        if spec.evaluation is not None:
            whole += _times_due(spec.evaluation.every_env_steps, iterations, probe) * evaluation_s
        whole += _times_due(spec.checkpoint.every_env_steps, iterations, probe) * probe.save_s
    else:
        whole = math.inf
    limit = float(spec.stop.get("time_total_s", math.inf))
    # The iteration in which the time is up goes to its end.
    return min(whole, limit + probe.iteration_steps * probe.step_s / 2 + last_s)


def _evaluation_s(probe: Probe, long_share: float) -> float:
    """Of one evaluation: better agents may play longer episodes, or shorter ones."""
    if probe.episode_limit is None or not probe.evaluation_steps:
        return probe.evaluation_s
    longest = max(1.0, probe.episode_limit / probe.evaluation_steps)
    return probe.evaluation_s * (1 + long_share * (longest - 1))


def _times_due(every_env_steps: int | None, iterations: float, probe: Probe) -> float:
    """How often a trial evaluates, or saves: at multiples of so many env steps and at the end."""
    if every_env_steps is None:
        return min(iterations, 10)
    steps = iterations * probe.iteration_steps
    times = min(iterations, steps // every_env_steps)
    ends_on_one = steps // every_env_steps > (steps - probe.iteration_steps) // every_env_steps
    return times if ends_on_one else times + 1


def _search_s(
    plan: SweepPlan, rehearsal: Rehearsal, assigned: Sequence[Probe], long_share: float
) -> float:
    """From the first trial's start to the last one's end."""
    budget = plan.spec.budget
    lengths = [_trial_s(plan, probe, long_share) for probe in assigned]
    found = rehearsal.worker_s + _makespan(lengths, rehearsal.concurrent)
    found = min(found, _env_steps_s(plan, rehearsal, assigned))
    if budget.time_s is not None:
        # Whoever reports next is saved, and evaluated where the spec evaluates.
        last = assigned[-1]
        last_s = last.iteration_steps * last.step_s / 2 + last.save_s
        found = min(found, budget.time_s + last_s + _evaluation_s(last, long_share))
    return found


def _env_steps_s(plan: SweepPlan, rehearsal: Rehearsal, assigned: Sequence[Probe]) -> float:
    """When the search's budget of env steps is used up; infinite without one."""
    budget = plan.spec.budget.env_steps
    if budget is None:
        return math.inf
    share = budget / (plan.replicas * rehearsal.concurrent)
    return rehearsal.worker_s + share * statistics.fmean(probe.step_s for probe in assigned)


def _find_limit(plan: SweepPlan, rehearsal: Rehearsal, assigned: Sequence[Probe]) -> str | None:
    """The budget that ends the search; None where its trials come to their own ends before."""
    search_s = _search_s(plan, rehearsal, assigned, 0.5)
    if plan.spec.budget.time_s is not None and search_s >= plan.spec.budget.time_s:
        return "budget.time_s"
    is_used_up = search_s == _env_steps_s(plan, rehearsal, assigned)
    return "budget.env_steps" if is_used_up and math.isfinite(search_s) else None


def _whole_s(
    plan: SweepPlan, rehearsal: Rehearsal, assigned: Sequence[Probe], long_share: float
) -> float:
    return _around_s(plan, rehearsal) + _search_s(plan, rehearsal, assigned, long_share)


def _around_s(plan: SweepPlan, rehearsal: Rehearsal) -> float:
    around = _AROUND + (_MLFLOW if plan.spec.tracking is not None else 0.0)
    return rehearsal.start_s * (1 + around) + rehearsal.end_s


def _makespan(lengths: Iterable[float], slots: int) -> float:
    """When the last one ends, if each takes the slot that is free first."""
    free = [0.0] * slots
    for length in lengths:
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def _timeouts(plan: SweepPlan, lengths: Sequence[float]) -> list[str]:
    limit = plan.spec.resources.timeout_s
    over = [length for length in lengths if limit is not None and length > limit]
    if not over:
        return []
    return [
        f"{len(over)} of {len(lengths)} trials would take longer than resources.timeout_s, "
        f"{limit:g} s, and end as errors; the longest takes about {max(over):.0f} s"
    ]


def _shortages(plan: SweepPlan, estimate: Mapping[str, Any]) -> Iterator[str]:
    """What this machine has less of than the sweep will take."""
    spec = plan.spec
    memory, free = estimate["memory_bytes"], free_bytes()
    if memory is not None and free is not None and memory > free:
        yield (
            f"{count_noun(estimate['rehearsal']['concurrent'], 'trial')} at a time and Ray take "
            f"about {format_bytes(memory)} of memory, and {format_bytes(free)} are free; lower "
            "search.max_concurrent"
        )
    if "://" in spec.storage:
        return
    storage = Path(spec.storage).expanduser().absolute()
    there = next((one for one in (storage, *storage.parents) if one.is_dir()), None)
    room = shutil.disk_usage(there).free if there is not None else math.inf
    if estimate["disk_bytes"] > room:
        yield (
            f"the run takes about {format_bytes(estimate['disk_bytes'])} on disk, and "
            f"{format_bytes(room)} are free in {there}; lower checkpoint.keep_trials"
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# --- how large -------------------------------------------------------------------------------


def _replay_share(plan: SweepPlan, probe: Probe) -> float:
    """How full a replay memory gets, 0 to 1."""
    if plan.replay is None:
        return 0.0
    return min(1.0, _iterations(plan, probe) * probe.iteration_steps / plan.replay.slots)


def _memory_bytes(plan: SweepPlan, probe: Probe) -> float:
    """The most that a trial's process takes; in the rehearsal its replay was next to empty."""
    replay = 0 if plan.replay is None else plan.replay.replay_bytes
    return probe.memory_bytes + _replay_share(plan, probe) * replay


def _whole_memory_bytes(plan: SweepPlan, rehearsal: Rehearsal) -> float | None:
    """Of the trials that run at a time, the command line and Ray."""
    if rehearsal.memory_bytes is None:
        return None
    growth = max(_memory_bytes(plan, probe) - probe.memory_bytes for probe in rehearsal.probes)
    return rehearsal.memory_bytes + rehearsal.concurrent * growth


def _kept_bytes(plan: SweepPlan, probe: Probe) -> float:
    """What a finished trial keeps of a checkpoint."""
    kept = plan.spec.checkpoint
    with_replay = plan.replay is not None and kept.replay and kept.trainer
    replay = plan.replay.saved_bytes if with_replay and plan.replay is not None else 0
    return probe.kept_bytes + _replay_share(plan, probe) * replay


def _reports(plan: SweepPlan, rehearsal: Rehearsal, assigned: Sequence[Probe]) -> float:
    """Of all trials: as many as their iterations, and as there is time for."""
    each_s = statistics.fmean(probe.iteration_steps * probe.step_s for probe in assigned)
    search_s = _search_s(plan, rehearsal, assigned, 0.5) - rehearsal.worker_s
    in_time = search_s * rehearsal.concurrent / (each_s + _REPORT_S)
    return min(in_time, sum(_iterations(plan, probe) for probe in assigned))


def _disk_bytes(plan: SweepPlan, rehearsal: Rehearsal, assigned: Sequence[Probe]) -> float:
    """Checkpoints that stay, the champion, the journal, MLflow's record."""
    spec = plan.spec
    reports = _reports(plan, rehearsal, assigned)
    kept = min(len(assigned), spec.checkpoint.keep_trials)
    mean = statistics.fmean(_kept_bytes(plan, probe) for probe in assigned)
    row = statistics.fmean(probe.report_bytes for probe in assigned) + _JOURNAL_LINE_BYTES
    agent = statistics.fmean(probe.kept_bytes for probe in assigned) / plan.replicas
    found = kept * spec.checkpoint.keep * mean + agent
    found += reports * row + len(assigned) * _TRIAL_BYTES + _RECORD_BYTES
    if spec.tracking is not None and spec.tracking.uri.startswith("sqlite:///"):
        values = statistics.fmean(probe.report_values for probe in assigned)
        found += reports * values * _MLFLOW_VALUE_BYTES + 2 * agent
        if not Path(spec.tracking.uri.removeprefix("sqlite:///")).exists():
            found += _MLFLOW_BYTES
    return found
