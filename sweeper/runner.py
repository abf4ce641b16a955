"""A launch: a plan carried out on Ray Tune, its events written to the journal as they happen."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from sweeper.errors import UserError
from sweeper.journal import (
    Journal,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
)
from sweeper.paths import RunPaths
from sweeper.plan import SweepPlan, trial_settings
from sweeper.space import Sample, expand

# Ray reads these when it is imported and when it starts, so they come first. What our own
# promises rest on is set, whatever it was; the rest is the user's to change.
os.environ.update(
    {
        # Tune's newer output engine prints to stdout even when it is told to be quiet.
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        # Tune's snapshots are for its own restore, which nothing of ours uses.
        "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    }
)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from ray.train._internal.storage import StorageContext

from sweeper.trainables.trial import trial_class
from sweeper.tuning import Drain, TrialQueue, build_tuner, is_refused, read_error

__all__ = ["launch"]

_logger = logging.getLogger(__name__)

# What Tune adds to each row and the journal has elsewhere or nobody reads.
_TUNE_KEYS = frozenset(
    {
        "config",
        "date",
        "done",
        "experiment_tag",
        "hostname",
        "iterations_since_restore",
        "node_ip",
        "pid",
        "should_checkpoint",
        "stopped_by",
        "time_since_restore",
        "time_this_iter_s",
        "timestamp",
        "trial_id",
        "checkpoint_dir_name",
    }
)

_OBJECT_STORE_BYTES = 200 * 2**20


def launch(plan: SweepPlan, paths: RunPaths, journal: Journal) -> str:
    """Carry out a plan, from the first trial to the last, or to the end that was asked for.

    SIGINT and SIGTERM pause and save the running trials and end the launch in order; a second
    one ends the process at once, and the journal has all that was reported.

    Args:
        plan: what to run.
        paths: the run's folder.
        journal: takes every event; its listeners hear of each.

    Returns:
        How it ended: ``finished``, ``interrupted`` or ``budget.time_s``.

    Raises:
        UserError: the cluster named by the spec can't be reached.
    """
    spec = plan.spec
    journal.append(
        LaunchStarted(time=time.time(), launch=1, pid=os.getpid(), command=tuple(sys.argv))
    )
    drain = Drain()
    with _ray_session(plan), _signals_end(drain):
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(plan.concurrent)
        queue = TrialQueue(
            expand(
                spec.param_space,
                spec.search.num_samples,
                spec.search.seed,
                spec.search.points_to_evaluate,
            ),
            on_ask=lambda trial_id, sample: journal.append(_asked(trial_id, sample, plan)),
            max_concurrent=plan.concurrent,
            checkpoints=StorageContext(
                storage_path=str(paths.root), experiment_dir_name=paths.trials.name
            ),
            retries=spec.resources.retries,
            drain=drain,
        )
        if spec.budget.time_s is not None:
            drain.deadline = time.monotonic() + spec.budget.time_s
        tuner = build_tuner(
            trial_class(trial_settings(plan), paths.root),
            queue=queue,
            drain=drain,
            callback=_JournalCallback(journal, paths, drain, metric=spec.selection.metric),
            folder=paths.tune / "launch_1",
        )
        tuner.fit()
    reason = drain.reason or "finished"
    journal.append(LaunchEnded(time=time.time(), reason=reason))
    return reason


def _asked(trial_id: str, sample: Sample, plan: SweepPlan) -> TrialAsked:
    return TrialAsked(
        time=time.time(),
        trial_id=trial_id,
        configuration=sample.configuration,
        parameters=sample.parameters,
        seeds=plan.spec.seeds,
    )


class _JournalCallback(tune.Callback):  # type: ignore[misc]
    """Turns Tune's callbacks into journal events."""

    def __init__(self, journal: Journal, paths: RunPaths, drain: Drain, *, metric: str) -> None:
        self._journal = journal
        self._paths = paths
        self._drain = drain
        self._metric = metric
        self._stopped_by: dict[str, str] = {}
        self._open: set[str] = set()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._open.add(trial.trial_id)
        self._drain.running.add(trial.trial_id)
        self._journal.append(
            TrialStarted(time=time.time(), trial_id=trial.trial_id, node=trial.node_ip or "")
        )

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        stopped_by = result.get("stopped_by")
        if stopped_by:
            self._stopped_by[trial.trial_id] = stopped_by
        self._journal.append(
            TrialReported(
                time=time.time(),
                trial_id=trial.trial_id,
                metrics={key: value for key, value in result.items() if key not in _TUNE_KEYS},
                stopped_by=stopped_by,
            )
        )

    def on_checkpoint(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        checkpoint: Any,
        **info: Any,  # noqa: ARG002
    ) -> None:
        names = (
            "training_iteration",
            "num_env_steps_sampled_lifetime",
            "time_total_s",
            self._metric,
        )
        self._journal.append(
            TrialCheckpointed(
                time=time.time(),
                trial_id=trial.trial_id,
                path=Path(checkpoint.path).relative_to(self._paths.root).as_posix(),
                metrics={
                    name: trial.last_result[name] for name in names if name in trial.last_result
                },
            )
        )

    def on_trial_save(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        if self._drain.reason:
            self._drain.running.discard(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._end(
            trial.trial_id,
            "TERMINATED",
            self._stopped_by.get(trial.trial_id, "the trial said done"),
        )

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        _, error = _read_failure(trial)
        self._drain.running.discard(trial.trial_id)
        self._journal.append(TrialRetried(time=time.time(), trial_id=trial.trial_id, error=error))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        reason, error = _read_failure(trial)
        self._end(trial.trial_id, "ERROR", reason, error)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        for trial_id in sorted(self._open):
            self._end(trial_id, "PAUSED", self._drain.reason or "interrupted")

    def _end(self, trial_id: str, state: str, reason: str, error: str | None = None) -> None:
        self._open.discard(trial_id)
        self._drain.running.discard(trial_id)
        self._journal.append(
            TrialEnded(time=time.time(), trial_id=trial_id, state=state, reason=reason, error=error)
        )

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts into a file that nothing of ours reads."""
        return {}


def _read_failure(trial: Any) -> tuple[str, str]:
    """Why a trial failed: a word for the kind, and the exception's last line."""
    text = read_error(trial)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "no error text was left"
    if is_refused(last):
        return "configuration refused", last
    for mark, reason in (
        ("TrialDivergedError", "diverged"),
        ("OutOfMemoryError", "out of memory"),
        ("MemoryError", "out of memory"),
        ("ActorDiedError", "the worker died"),
        ("ActorUnavailableError", "the worker died"),
    ):
        if mark in text:
            return reason, last
    return "crashed", last


@contextmanager
def _ray_session(plan: SweepPlan) -> Iterator[None]:
    """Ray for the length of the launch: a local one, or the cluster that the spec names."""
    if ray.is_initialized():
        yield
        return
    # SIGTERM sent to the whole process group must not end Ray before the trials are saved:
    # processes inherit the mask.
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        ray.init(**_ray_arguments(plan.spec.ray.address))
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = plan.spec.ray.address or "on this machine"
        raise UserError(f"Ray can't be reached at ray.address {where}: {error}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
    try:
        yield
    finally:
        ray.shutdown()


def _ray_arguments(address: str | None) -> dict[str, Any]:
    level = logging.getLogger().getEffectiveLevel()
    is_verbose = level <= logging.INFO
    # What Ray calls errors (a trial that failed, metrics that it has no file of) is in the
    # journal and in what we say ourselves.
    common: dict[str, Any] = {
        "log_to_driver": is_verbose,
        "logging_level": level if is_verbose else logging.CRITICAL,
    }
    logging.getLogger("ray").setLevel(common["logging_level"])
    if address is not None:
        return {**common, "address": address}
    return {
        **common,
        # Not "auto": a cluster that happens to run here is not the one that was asked for.
        "address": "local",
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }


@contextmanager
def _signals_end(drain: Drain) -> Iterator[None]:
    """While in the block, SIGINT and SIGTERM ask for the end; the second one exits at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if drain.reason == "interrupted":
            os._exit(130)
        drain.reason = "interrupted"
        count = len(drain.running)
        print(  # noqa: T201 - a signal handler can't log: the lock may be held
            f"\ninterrupted: saving {count} running trial{'s' if count != 1 else ''}; "
            "again to end at once",
            file=sys.stderr,
            flush=True,
        )

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
