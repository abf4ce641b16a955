"""Tune's callbacks: they record what happens in the journal and watch a launch's limits."""

from __future__ import annotations

import logging
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray import tune

from sweeper.errors import RunError
from sweeper.journal import (
    Event,
    Journal,
    JournalError,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
)
from sweeper.metrics import ENV_STEPS, ITERATION, Objective
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.results.builder import ResultsBuilder
from sweeper.results.divergence import DivergenceCorrection
from sweeper.running.drain import Drain
from sweeper.running.failures import Failure, Retries, Retry, describe_failure
from sweeper.running.resume.remaining import describe_missing
from sweeper.running.resume.state import continue_trial
from sweeper.running.tune.head import wait_for_head
from sweeper.running.tune.placement import Placement
from sweeper.running.tune.relay import StageRelay
from sweeper.running.tune.unsaved import Unsaved
from sweeper.schedulers.base import Action, Decision
from sweeper.seals import may_run_code, seal_folder
from sweeper.states import FailureReason, LaunchEnd, TrialState
from sweeper.storage.checkpoints import bring_folder
from sweeper.storage.mirror import mirror_of
from sweeper.storage.working_copy import publish
from sweeper.syncing import sync_tree

__all__ = ["JournalCallback", "LimitsCallback"]

_logger = logging.getLogger(__name__)

_TIGHT_BYTES = 5 * 2**30
_TIGHT_PART = 0.2
_MAX_TRIALS = 200
_RAY_EVERY_S = 2.0
_OF_A_NEW_WORKER = "its creation task"  # in Ray's words for an actor that could not begin

# Tune adds these to each row; the journal has them elsewhere, or nothing reads them.
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
        "replaces",
        "should_checkpoint",
        "stopped_by",
        "time_since_restore",
        "time_this_iter_s",
        "timestamp",
        "trial_id",
        "checkpoint_dir_name",
    }
)


@dataclass(eq=False)
class JournalCallback(Unsaved, tune.Callback):  # type: ignore[misc]
    """Records what happens in the journal, and has failed trials tried again.

    Args:
        results: the state of the run, updated by the journal with each event.
        relay: knows the stage, whose queue takes trials that are tried again.
        objective: whose metric is recorded with every checkpoint.
        correction: what diverged replicas count for.
        decisions: the scheduler's last one on each trial, by the trial's id.
    """

    journal: Journal
    paths: RunPaths
    results: ResultsBuilder
    relay: StageRelay
    retries: Retries
    drain: Drain
    objective: Objective
    correction: DivergenceCorrection
    decisions: Mapping[str, Decision]
    _stopped_by: dict[str, str] = field(default_factory=dict)
    _pruned: dict[str, str] = field(default_factory=dict)
    _leaving: dict[str, bool] = field(default_factory=dict)
    _open: set[str] = field(default_factory=set)
    _timed_out: set[str] = field(default_factory=set)
    _lost: Counter[str] = field(default_factory=Counter)

    def on_trial_start(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """A worker began or resumed the trial."""
        trial_id = trial.trial_id
        self._open.add(trial_id)
        self.drain.running.add(trial_id)
        self._stopped_by.pop(trial_id, None)
        self._pruned.pop(trial_id, None)
        node = self._placement.note_start(trial)
        self._append(TrialStarted(time=time.time(), trial_id=trial_id, node=node))

    def on_trial_result(self, trial: Any, result: dict[str, Any], **info: Any) -> None:  # noqa: ARG002
        """The trial reported."""
        self._placement.note_report(trial.trial_id)
        stopped_by = result.get("stopped_by")
        if stopped_by:
            self._stopped_by[trial.trial_id] = stopped_by
        metrics = {key: value for key, value in result.items() if key not in _TUNE_KEYS}
        # The scheduler is not asked about a trial that has met a criterion of its own.
        decision = None if stopped_by else self.decisions.get(trial.trial_id)
        reported = TrialReported(
            time=time.time(),
            trial_id=trial.trial_id,
            metrics=self.correction.apply(metrics),
            stopped_by=stopped_by,
            replaces=bool(result.get("replaces")),
            decision=None if decision is None else decision.to_json(),
        )
        if reported.pruned_because is not None:
            self._pruned[trial.trial_id] = reported.pruned_because
        self._append(reported)
        action = None if decision is None else decision.action
        if action is Action.COPY:
            # Its weights are given up: a checkpoint of them would belong to no configuration.
            result["should_checkpoint"] = False
        elif action is Action.PAUSE:
            result["should_checkpoint"] = True
        self._leaving[trial.trial_id] = action in (Action.COPY, Action.PAUSE)

    def on_checkpoint(self, trial: Any, checkpoint: Any, **info: Any) -> None:  # noqa: ARG002
        """A checkpoint of the trial is complete.

        It is on the disk before the journal says so, since the one before is deleted then.
        """
        row = trial.last_result
        folder = self.paths.trial(trial.trial_id) / Path(checkpoint.path).name
        mirror = mirror_of(folder)
        if mirror is not None:
            mirror.note_stored(folder)
            mirror.when_written(lambda: _seal_stored(folder, self.paths.root))
        else:
            with suppress(OSError):  # without a seal it can be loaded all the same, if trusted
                seal_folder(folder)
            self._sync(folder)
        recorded = (ITERATION, ENV_STEPS, "time_total_s", self.objective.metric)
        self._append(
            TrialCheckpointed(
                time=time.time(),
                trial_id=trial.trial_id,
                path=folder.relative_to(self.paths.root).as_posix(),
                metrics={name: row[name] for name in recorded if name in row},
            )
        )

    def on_trial_save(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """The trial was saved; if it is being paused, nothing more comes from it."""
        if trial.trial_id in self.drain.pausing:
            self.drain.running.discard(trial.trial_id)

    def on_trial_complete(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """The trial ran to its own end, or the scheduler stopped it.

        One that copies another, or lets others go first, is put back and goes on.
        """
        trial_id, worker = trial.trial_id, trial.temporary_state.ray_actor
        if worker is not None:
            worker.rest.remote()
        if self._leaving.pop(trial_id, False):
            self.drain.running.discard(trial_id)
            again = continue_trial(self.results.trial(trial_id), self.paths)
            self.relay.stage.queue.put_back(again)
        elif trial_id in self._pruned:
            self._end(trial_id, TrialState.PRUNED, self._pruned[trial_id])
        else:
            reason = self._stopped_by.get(trial_id, "the trial said done")
            self._end(trial_id, TrialState.TERMINATED, reason)

    def on_trial_error(self, trial: Any, **info: Any) -> None:  # noqa: ARG002
        """The trial failed; decide whether it is tried again.

        Not if the scheduler had stopped it: then it failed while it was being saved.
        """
        trial_id = trial.trial_id
        text = _read_error(trial)
        failure = describe_failure(text, (trial.last_result or {}).get(ITERATION))
        if trial_id in self._timed_out:
            self._timed_out.discard(trial_id)
            failure = Failure(
                FailureReason.TIMEOUT, "reported nothing for too long", failure.iteration
            )
        failure = self._placement.explain(trial_id, failure)
        is_full = failure.reason is FailureReason.NO_SPACE and self._is_full()
        if is_full:
            # Every trial is affected and none is to blame.
            self.drain.request(LaunchEnd.DISK_FULL)
        if trial_id in self._pruned:
            self._end(trial_id, TrialState.PRUNED, self._pruned[trial_id])
            return
        if is_full:
            self._end(trial_id, TrialState.PAUSED, self.drain.reason or LaunchEnd.DISK_FULL)
            return
        if self._lost_resting_worker(trial_id, failure, text):
            retry: Retry | None = Retry(0.0)
            where = ""
        else:
            retry = self.retries.decide(trial_id, failure)
            where = self._placement.note_failure(trial_id, failure, text)
        if retry is None:
            self._end(trial_id, TrialState.ERROR, failure.reason, failure.error + where)
        elif self.drain.reason:
            # The next launch tries it again.
            self._end(trial_id, TrialState.PAUSED, self.drain.reason, failure.error + where)
        else:
            self._open.add(trial_id)
            self.drain.running.discard(trial_id)
            self._append(
                TrialRetried(time=time.time(), trial_id=trial_id, error=failure.error + where)
            )
            again = continue_trial(self.results.trial(trial_id), self.paths)
            if missing := describe_missing(again):
                _logger.warning("%s goes on from an earlier state: %s", trial_id, missing)
            self.relay.stage.queue.put_back(again, delay_s=retry.delay_s, alone=retry.alone)

    def on_experiment_end(self, **info: Any) -> None:  # noqa: ARG002
        """Record the trials that are not over as interrupted.

        One that had met its own criterion is over, but only if its last checkpoint exists: without
        it, it would have a score and no agent. One that the scheduler stopped is over in any case.
        """
        for trial_id in sorted(self._open):
            if trial_id in self._stopped_by and self._is_saved(trial_id):
                self._end(trial_id, TrialState.TERMINATED, self._stopped_by[trial_id])
            elif trial_id in self._pruned:
                self._end(trial_id, TrialState.PRUNED, self._pruned[trial_id])
            else:
                self._end(trial_id, TrialState.PAUSED, self.drain.reason or LaunchEnd.INTERRUPTED)

    def _lost_resting_worker(self, trial_id: str, failure: Failure, text: str) -> bool:
        """Whether a worker had died, unnoticed, before this trial could take it up.

        No fault of the trial's. So many can have died as can run at a time.
        """
        has_died = failure.reason in (FailureReason.WORKER_DIED, FailureReason.NODE_LOST)
        if not has_died or trial_id in self.drain.running:
            return False
        if _OF_A_NEW_WORKER in text:
            return False
        self._lost[trial_id] += 1
        return self._lost[trial_id] <= self.relay.stage.queue.max_concurrent

    @property
    def _placement(self) -> Placement:
        return self.relay.stage.placement

    def _is_saved(self, trial_id: str) -> bool:
        """Whether the trial's last report has a checkpoint."""
        record = self.results.trial(trial_id)
        saved = record.checkpoints[-1].metrics if record.checkpoints else {}
        return bool(saved.get(ITERATION, -1) == record.last_report.get(ITERATION))

    def _is_full(self) -> bool:
        """Whether the run's own disk is full, and not that of another node."""
        usage = shutil.disk_usage(self.paths.root)
        # Whatever could not be written whole has been deleted, so some room is free again.
        is_tight = usage.free < min(_TIGHT_BYTES, _TIGHT_PART * usage.total)
        return is_tight or not self._placement.is_on_cluster

    def time_out(self, trial_id: str) -> None:
        """Note that a trial is being ended because it reported nothing for too long."""
        self._timed_out.add(trial_id)

    def _sync(self, folder: Path) -> None:
        """Have a checkpoint written to the disk; the launch ends if that fails."""
        try:
            sync_tree(folder, below=self.paths.trials)
        except OSError as error:
            self.journal.failure = f"can't write the checkpoint {folder}: {error.strerror}"
            raise JournalError(self.journal.failure) from error

    def _append(self, event: Event) -> None:
        """Write an event, unless an earlier one could not be written.

        Tune goes on when `on_checkpoint` raises: the trial's end would be recorded without its
        checkpoint.
        """
        if self.journal.failure is not None:
            raise JournalError(self.journal.failure)
        self.journal.append(event)

    def _end(self, trial_id: str, state: TrialState, reason: str, error: str | None = None) -> None:
        self._open.discard(trial_id)
        self.drain.running.discard(trial_id)
        self._append(
            TrialEnded(time=time.time(), trial_id=trial_id, state=state, reason=reason, error=error)
        )


@dataclass(eq=False)
class LimitsCallback(Unsaved, tune.Callback):  # type: ignore[misc]
    """Checks the stage's limits at every turn of Tune's loop."""

    relay: StageRelay
    journal: JournalCallback
    drain: Drain
    _ray_seen: float = field(default_factory=time.monotonic)

    def on_step_end(self, trials: list[Any], **info: Any) -> None:  # noqa: ARG002
        """Check the limits."""
        stage = self.relay.stage
        stage.limits.tick(
            close_queue=stage.queue.close, end_trial=lambda trial_id: self._kill(trials, trial_id)
        )
        self._check_ray()
        if len(trials) > _MAX_TRIALS:
            # The list is Tune's own: it goes through all of it several times per trial and saves
            # all of it at the end. Trials that are over are in the journal.
            trials[:] = [trial for trial in trials if not trial.is_finished()] or trials[-1:]

    def _check_ray(self) -> None:
        """Raise if the head or the last node is lost, since Tune would wait for ever."""
        now = time.monotonic()
        if now - self._ray_seen < _RAY_EVERY_S:
            return
        self._ray_seen = now
        try:
            wait_for_head()
            if not any(node["Alive"] for node in ray.nodes()):
                raise RunError("Ray's last node has died")
        except RunError:
            # The rest of Ray may not end by itself, so the watchdog's time begins now.
            self.drain.over_since = time.monotonic()
            raise

    def _kill(self, trials: list[Any], trial_id: str) -> None:
        for trial in reversed(trials):
            actor = trial.temporary_state.ray_actor
            if trial.trial_id == trial_id and actor is not None:
                self.journal.time_out(trial_id)
                ray.kill(actor)
                return


def _seal_stored(folder: Path, root: Path) -> None:
    """Seal a checkpoint in a bucket, unless it is gone by now.

    Raises:
        StorageError: the bucket can't be reached.
    """
    with suppress(OSError):
        bring_folder(folder, may_run_code)
        seal_folder(folder)
        publish([CheckpointPaths(folder).seal], root)


def _read_error(trial: Any) -> str:
    """The text of all failures of a trial, the newest last; empty if there is none.

    `Trial.get_error` reads the copy in the storage, which does not exist yet when Tune calls back.
    """
    try:
        return Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):
        return ""
