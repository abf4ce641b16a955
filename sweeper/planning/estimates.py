"""How long a sweep takes and how much disk it fills, from earlier runs in the same storage.

Only measured speeds count: environments, networks and machines differ by orders of magnitude.
"""

from __future__ import annotations

import logging
import math
import stat
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.errors import SweeperError
from sweeper.metrics import ENV_STEPS
from sweeper.paths import CheckpointPaths, RunPaths, list_runs
from sweeper.planning.plan import CLOCKS, Estimate, SweepPlan, may_end_early
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.results.scoring import env_steps_of
from sweeper.results.standing import startup_s
from sweeper.run_files import walk_files
from sweeper.spec import ExperimentSpec, load_record
from sweeper.storage.address import parse_address

__all__ = ["checkpoint_bytes", "estimate_plan"]

_MAX_RUNS = 10  # the newest
# Slower is no measurement, but damage.
_LONGEST_STARTUP_S = 86400.0
_SLOWEST_STEP_S = 3600.0
_MIN_TRIALS = 8  # that tell how early trials end
_MAX_JOURNAL_BYTES = 20_000_000  # larger journals would make a plan take over a second

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Measured:
    """The costs in one run.

    Attributes:
        run: its name.
        startup_s: until the first trial trains; later trials reuse the process.
        step_s: seconds of a trial for one env step of one replica.
        checkpoint_bytes: of one replica, without a replay memory; None if unknown.
        trial_share: which part of a whole trial's env steps its trials took on average; None unless
            they ended early by the plan's own rules, and were enough to tell.
    """

    run: str
    startup_s: float
    step_s: float
    checkpoint_bytes: float | None
    trial_share: float | None


def estimate_plan(plan: SweepPlan) -> SweepPlan:
    """Add an estimate to the plan, if a run was measured or a clock bounds the search."""
    measured = next(_measure_runs(plan), None)
    time_s, limit = min(_ends(plan, measured), key=lambda end: end[0], default=(None, None))
    disk_bytes = None if measured is None else _disk_bytes(plan, measured)
    if time_s is None and disk_bytes is None:
        return plan
    estimate = Estimate(
        time_s=time_s,
        disk_bytes=disk_bytes,
        based_on=None if measured is None else measured.run,
        limit=limit,
        is_upper_bound=limit in CLOCKS
        or (may_end_early(plan) and not _knows_ends(plan, measured))
        or "training_iteration" in plan.spec.stop,
        confirmation_s=_confirmation_s(plan, measured),
        trial_share=None if measured is None else measured.trial_share,
    )
    return replace(plan, estimate=estimate)


def _ends(plan: SweepPlan, measured: _Measured | None) -> Iterator[tuple[float, str | None]]:
    """Every possible end of the search: seconds from its start, and the spec's key for it."""
    spec = plan.spec
    share = 1.0 if plan.expected_share is None else plan.expected_share
    if measured is not None and measured.trial_share is not None:
        share = measured.trial_share
    rounds = math.ceil(plan.max_trials / plan.concurrent)
    if measured is not None and ENV_STEPS in spec.stop:
        steps = spec.stop[ENV_STEPS] * plan.replicas
        # Trials that end early make room for others at once, not round by round.
        early = max(1.0, plan.max_trials / plan.concurrent * share)
        taken = rounds if share == 1 else early
        yield measured.startup_s + taken * steps * measured.step_s, None
    if measured is not None and spec.budget.env_steps is not None:
        # Concurrent trials use up the budget together.
        steps = spec.budget.env_steps / plan.concurrent
        yield measured.startup_s + steps * measured.step_s, "budget.env_steps"
    if "time_total_s" in spec.stop:
        yield rounds * spec.stop["time_total_s"], "stop.time_total_s"
    if spec.budget.time_s is not None:
        yield spec.budget.time_s, "budget.time_s"


def _knows_ends(plan: SweepPlan, measured: _Measured | None) -> bool:
    """Whether it was measured how early trials end, and nothing else can end the search early."""
    has_share = measured is not None and measured.trial_share is not None
    return has_share and plan.spec.budget.no_improvement_trials is None


def _confirmation_s(plan: SweepPlan, measured: _Measured | None) -> float | None:
    """The training of the confirmation, at the pace of the search's trials."""
    planned, steps = plan.confirmation, plan.spec.stop.get(ENV_STEPS)
    if planned is None or measured is None or steps is None:
        return None
    rounds = math.ceil(planned.samples / planned.concurrent)
    return float(rounds * len(planned.seeds) * steps * measured.step_s)


def _disk_bytes(plan: SweepPlan, measured: _Measured) -> float | None:
    if measured.checkpoint_bytes is None:
        return None
    kept = plan.spec.checkpoint
    disk = plan.kept_trials * kept.keep * plan.replicas * measured.checkpoint_bytes
    if kept.replay and plan.replay is not None:
        # Without `checkpoint.trainer` only trials that still train keep their replay memory.
        holders = plan.kept_trials if kept.trainer else plan.concurrent
        disk += holders * kept.keep * plan.replay.saved_bytes
    return disk


# --- earlier runs ----------------------------------------------------------------------------


def _measure_runs(plan: SweepPlan) -> Iterator[_Measured]:
    """Measure runs of the same environment and algorithm, the newest first."""
    if parse_address(plan.spec.storage) is not None:
        return
    for paths in list_runs(Path(plan.spec.storage))[: -_MAX_RUNS - 1 : -1]:
        try:
            if paths.journal.stat().st_size > _MAX_JOURNAL_BYTES:
                continue
            spec = load_record(paths.spec)
            if not _is_alike(spec, plan.spec):
                continue
            results = load_results(paths)
            measured = _measure(paths, results, keeps_trainer=plan.spec.keeps_trainer)
        except (OSError, SweeperError) as error:
            _logger.debug("can't measure %s: %s", paths.root, error)
            continue
        if measured is not None:
            ends_alike = may_end_early(plan) and _ends_alike(spec, plan.spec)
            share = _trial_share(results, plan.spec) if ends_alike else None
            yield replace(measured, trial_share=share)


def _is_alike(other: ExperimentSpec, spec: ExperimentSpec) -> bool:
    # RLlib trains replicas one after the other; torch trains them in one batch, nearly for free.
    is_scalable = not spec.support.trains_replicas_together or len(other.seeds) == len(spec.seeds)
    return (
        is_scalable
        and (other.algorithm, other.backend) == (spec.algorithm, spec.backend)
        and other.environment.id == spec.environment.id
        and other.environment.kwargs == spec.environment.kwargs
        and other.environment.wrappers == spec.environment.wrappers
    )


def _ends_alike(other: ExperimentSpec, spec: ExperimentSpec) -> bool:
    """Whether the same rules end trials."""
    return (other.scheduler, other.stop, other.plateau) == (spec.scheduler, spec.stop, spec.plateau)


def _trial_share(results: SweepResults, spec: ExperimentSpec) -> float | None:
    """The mean share of a whole trial's env steps; None with few trials, or without a length."""
    length = spec.stop.get(ENV_STEPS)
    done = [record for record in results.trials if record.state.has_succeeded]
    if length is None or len(done) < _MIN_TRIALS:
        return None
    return statistics.fmean(min(1.0, (record.env_steps or 0) / length) for record in done)


def _measure(paths: RunPaths, results: SweepResults, *, keeps_trainer: bool) -> _Measured | None:
    speeds = [speed for record in results.trials if (speed := _step_s(record)) is not None]
    begun_s = max(map(startup_s, results.trials), default=0.0)
    if not speeds or not begun_s <= _LONGEST_STARTUP_S:
        return None
    sizes = []
    for record in results.trials:
        folder = results.root / record.checkpoints[-1].path if record.checkpoints else None
        # A trimmed checkpoint doesn't tell how large the trainer's state is.
        if folder and (CheckpointPaths(folder).has_trainer or not keeps_trainer):
            size = checkpoint_bytes(folder, with_trainer=keeps_trainer)
            sizes.append(size / max(1, len(record.seeds)))
    return _Measured(
        run=paths.root.name,
        startup_s=begun_s,
        step_s=statistics.median(speeds),
        checkpoint_bytes=max(filter(None, sizes), default=None),
        trial_share=None,
    )


def _step_s(record: TrialRecord) -> float | None:
    """Seconds for one env step of one replica; None without a usable report."""
    steps, seconds = env_steps_of(record.last_report), record.time_total_s
    if seconds is None or not steps or steps < 0:
        return None
    step_s = (seconds - startup_s(record)) / (steps * max(1, len(record.seeds)))
    return step_s if 0 < step_s <= _SLOWEST_STEP_S else None


def checkpoint_bytes(folder: Path, *, with_trainer: bool) -> int:
    """The size of a checkpoint without its replay memory, whose size follows from the spec."""
    left_out = CheckpointPaths.TRAINER_FILES[-1 if with_trainer else 0 :]
    return sum(
        status.st_size
        for path, status in walk_files(folder)
        if stat.S_ISREG(status.st_mode) and path.name not in left_out
    )
