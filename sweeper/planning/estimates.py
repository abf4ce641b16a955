"""What a sweep will take, going by earlier runs of the same kind under the same storage.

Where nothing was measured nothing is estimated: speeds differ by orders of magnitude between
environments, networks and machines.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweeper.errors import SweeperError
from sweeper.metrics import ENV_STEPS
from sweeper.paths import RunPaths, list_runs
from sweeper.planning.plan import SweepPlan
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.results.sweep_results import load_results
from sweeper.running.retention import TRAINER_FILES
from sweeper.spec import ExperimentSpec, load_spec
from sweeper.trainables.dqn_memory import REPLAY_FILE

__all__ = ["estimate_plan"]

_NEWEST = 10  # runs that are looked at
_MAX_JOURNAL_BYTES = 20_000_000  # a plan is there in a second

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Measured:
    """What one run tells: seconds a trial needs for an env step of a replica, bytes a replica."""

    run: str
    step_s: float
    checkpoint_bytes: float | None


def estimate_plan(plan: SweepPlan) -> SweepPlan:
    """The plan with its ``estimate``, if there is something to go by.

    The estimate has ``time_s`` and ``disk_bytes`` (null where unknown), ``based_on`` (a run's
    name, null where only a clock bounds the time) and ``is_limit`` (whether the time is all that
    the spec allows, rather than what it will take).
    """
    measured = next(_measure(plan.spec), None)
    limit_s = _limit_s(plan)
    steps = plan.spec.stop.get(ENV_STEPS)
    time_s = None
    if measured is not None and steps is not None:
        rounds = math.ceil(plan.trials / plan.concurrent)
        time_s = rounds * steps * plan.replicas * measured.step_s
    is_limit = time_s is None or (limit_s is not None and limit_s < time_s)
    if is_limit:
        time_s = limit_s
    disk = None
    if measured is not None and measured.checkpoint_bytes is not None:
        kept = plan.spec.checkpoint
        trials = min(plan.trials, kept.keep_trials)
        disk = trials * kept.keep * plan.replicas * measured.checkpoint_bytes
        if kept.replay and plan.replay is not None:
            holders = trials if kept.trainer else plan.concurrent  # else only who still trains
            disk += holders * kept.keep * plan.replay.saved_bytes
    if time_s is None and disk is None:
        return plan
    estimate: dict[str, Any] = {
        "time_s": time_s,
        "disk_bytes": disk,
        "based_on": measured.run if measured is not None else None,
        "is_limit": is_limit,
    }
    return replace(plan, estimate=estimate)


def _limit_s(plan: SweepPlan) -> float | None:
    """What the spec's clocks allow."""
    of_trial = plan.spec.stop.get("time_total_s")
    limits = [plan.spec.budget.time_s]
    if of_trial is not None:
        limits.append(of_trial * math.ceil(plan.trials / plan.concurrent))
    return min((limit for limit in limits if limit is not None), default=None)


def _measure(spec: ExperimentSpec) -> Iterator[_Measured]:
    """Runs of the same environment and algorithm, the newest first."""
    if "://" in spec.storage:
        return
    for paths in list_runs(Path(spec.storage))[: -_NEWEST - 1 : -1]:
        try:
            if paths.journal.stat().st_size > _MAX_JOURNAL_BYTES or not _is_alike(paths, spec):
                continue
            found = _read(paths.root.name, load_results(paths), keeps_trainer=_keeps_trainer(spec))
        except (OSError, SweeperError) as error:
            _logger.debug("%s tells nothing: %s", paths.root, error)
            continue
        if found is not None:
            yield found


def _is_alike(paths: RunPaths, spec: ExperimentSpec) -> bool:
    other = load_spec(paths.spec)
    # A replica more is a run more with RLlib, and next to nothing in a batch.
    is_scaled = spec.backend == "rllib" or len(other.seeds) == len(spec.seeds)
    return (
        is_scaled
        and (other.algorithm, other.backend) == (spec.algorithm, spec.backend)
        and other.environment.id == spec.environment.id
        and other.environment.kwargs == spec.environment.kwargs
        and other.environment.wrappers == spec.environment.wrappers
    )


def _keeps_trainer(spec: ExperimentSpec) -> bool:
    return spec.backend != "torch" or spec.checkpoint.trainer


def _read(run: str, results: SweepResults, *, keeps_trainer: bool) -> _Measured | None:
    speeds = [speed for record in results.trials if (speed := _step_s(record)) is not None]
    if not speeds:
        return None
    last = [
        (results.root / record.checkpoints[-1].path, max(1, len(record.seeds)))
        for record in results.trials
        if record.checkpoints
    ]
    sizes = [
        size / replicas
        for folder, replicas in last
        if (size := _checkpoint_bytes(folder, keeps_trainer=keeps_trainer))
    ]
    return _Measured(run, statistics.median(speeds), max(sizes, default=None))


def _step_s(record: TrialRecord) -> float | None:
    steps, seconds = record.env_steps, record.last_report.get("time_total_s")
    if not steps or not isinstance(seconds, int | float) or not seconds > 0:
        return None
    return float(seconds) / (steps * max(1, len(record.seeds)))


def _checkpoint_bytes(folder: Path, *, keeps_trainer: bool) -> int:
    """Of what a finished trial keeps; 0 where this checkpoint does not tell.

    Without a replay memory, whose size follows from the spec instead.
    """
    if keeps_trainer and not (folder / TRAINER_FILES[0]).is_file():
        return 0
    left_out = (REPLAY_FILE,) if keeps_trainer else TRAINER_FILES
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in left_out)
    return sum(path.stat().st_size for path in files)
