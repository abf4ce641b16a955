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
from sweeper.paths import CheckpointPaths, RunPaths, list_runs
from sweeper.planning.plan import SweepPlan, may_end_early
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.results.standing import startup_s
from sweeper.spec import ExperimentSpec, load_spec

__all__ = ["estimate_plan"]

_NEWEST = 10  # runs that are looked at
_MAX_JOURNAL_BYTES = 20_000_000  # a plan is there in a second

_OF_TRIAL = "time_total_s"
_CLOCKS = (f"stop.{_OF_TRIAL}", "budget.time_s")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Measured:
    """What one run tells: seconds a trial needs for an env step of a replica, bytes a replica.

    The start of a trial's process counts once, for the processes are reused.
    """

    run: str
    startup_s: float
    step_s: float
    checkpoint_bytes: float | None


def estimate_plan(plan: SweepPlan) -> SweepPlan:
    """The plan with its ``estimate``, if there is something to go by.

    The estimate has ``time_s`` and ``disk_bytes`` (null where unknown), ``based_on`` (a run's
    name, null where only a clock bounds the time), ``limit`` (the key of the spec that ends the
    search, or its trials, by then; null where the trials' env steps do), ``is_limit`` (whether
    that is a clock, so that nothing measured counts) and ``is_upper_bound`` (whether something
    may end it earlier).
    """
    measured = next(_measure(plan.spec), None)
    ends = list(_ends(plan, measured))
    time_s, limit = min(ends, key=lambda end: end[0], default=(None, None))
    disk = None
    if measured is not None and measured.checkpoint_bytes is not None:
        kept = plan.spec.checkpoint
        trials = min(plan.max_trials, kept.keep_trials)
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
        "limit": limit,
        "is_limit": limit in _CLOCKS,
        "is_upper_bound": limit in _CLOCKS
        or may_end_early(plan.spec)
        or "training_iteration" in plan.spec.stop,
    }
    return replace(plan, estimate=estimate)


def _ends(plan: SweepPlan, measured: _Measured | None) -> Iterator[tuple[float, str | None]]:
    """Seconds after which the search is over, and by what: whichever comes first."""
    spec = plan.spec
    rounds = math.ceil(plan.max_trials / plan.concurrent)
    if measured is not None and ENV_STEPS in spec.stop:
        steps = spec.stop[ENV_STEPS] * plan.replicas
        yield measured.startup_s + rounds * steps * measured.step_s, None
    if measured is not None and spec.budget.env_steps is not None:
        # All trials at a time count on it together.
        steps = spec.budget.env_steps / plan.concurrent
        yield measured.startup_s + steps * measured.step_s, "budget.env_steps"
    if _OF_TRIAL in spec.stop:
        yield rounds * spec.stop[_OF_TRIAL], f"stop.{_OF_TRIAL}"
    if spec.budget.time_s is not None:
        yield spec.budget.time_s, "budget.time_s"


def _measure(spec: ExperimentSpec) -> Iterator[_Measured]:
    """Runs of the same environment and algorithm, the newest first."""
    if "://" in spec.storage:
        return
    for paths in list_runs(Path(spec.storage))[: -_NEWEST - 1 : -1]:
        try:
            if paths.journal.stat().st_size > _MAX_JOURNAL_BYTES or not _is_alike(paths, spec):
                continue
            found = _read(paths.root.name, load_results(paths), keeps_trainer=spec.keeps_trainer)
        except (OSError, SweeperError) as error:
            _logger.debug("%s tells nothing: %s", paths.root, error)
            continue
        if found is not None:
            yield found


def _is_alike(paths: RunPaths, spec: ExperimentSpec) -> bool:
    other = load_spec(paths.spec)
    # A replica more is a run more with RLlib, and next to nothing in a batch.
    is_scaled = not spec.support.trains_replicas_together or len(other.seeds) == len(spec.seeds)
    return (
        is_scaled
        and (other.algorithm, other.backend) == (spec.algorithm, spec.backend)
        and other.environment.id == spec.environment.id
        and other.environment.kwargs == spec.environment.kwargs
        and other.environment.wrappers == spec.environment.wrappers
    )


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
    startup = max(startup_s(record) for record in results.trials)
    return _Measured(run, startup, statistics.median(speeds), max(sizes, default=None))


def _step_s(record: TrialRecord) -> float | None:
    steps, seconds = record.env_steps, record.last_report.get("time_total_s")
    if not steps or not isinstance(seconds, int | float) or not seconds > 0:
        return None
    trained_s = seconds - startup_s(record)
    return trained_s / (steps * max(1, len(record.seeds))) if trained_s > 0 else None


def _checkpoint_bytes(folder: Path, *, keeps_trainer: bool) -> int:
    """Of what a finished trial keeps; 0 where this checkpoint does not tell.

    Without a replay memory, whose size follows from the spec instead.
    """
    if keeps_trainer and not CheckpointPaths(folder).is_resumable:
        return 0
    left_out = CheckpointPaths.TRAINER_FILES[-1 if keeps_trainer else 0 :]
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in left_out)
    return sum(path.stat().st_size for path in files)
