"""The trials of one stage on Ray Tune, be it the search or the confirmation."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

# Sets Ray's environment variables, so it comes before anything that imports Ray.
from sweeper.running.tune.session import live_nodes

# isort: split
from ray import tune
from ray.train._internal.storage import StorageContext

from sweeper.errors import RunError
from sweeper.journal import Journal, Listener, TrialAsked
from sweeper.paths import RunPaths, run_reference
from sweeper.planning.plan import SweepPlan
from sweeper.results.builder import ResultsBuilder
from sweeper.results.divergence import DivergenceCorrection
from sweeper.results.exchanges import TrialCheckpoint
from sweeper.results.scoring import env_steps_of
from sweeper.running.drain import Drain, watchdog
from sweeper.running.failures import Retries, explain_tune_failure
from sweeper.running.limits import Limits
from sweeper.running.resume.state import LaunchState, is_resumable
from sweeper.running.tune.callbacks import JournalCallback, LimitsCallback
from sweeper.running.tune.placement import Placement
from sweeper.running.tune.queue import TrialQueue
from sweeper.running.tune.scheduling import SchedulerAdapter
from sweeper.running.tune.tuner import build_tuner
from sweeper.schedulers.base import Decision, Scheduler
from sweeper.search.expansion import Sample
from sweeper.states import Stage
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.trial import trial_class

__all__ = ["Launch", "find_nodes", "record_asked", "run_trials", "trial_storage"]


@dataclass(frozen=True)
class Launch:
    """What the stages of a launch have in common.

    Attributes:
        plan: what to run.
        paths: the run's folder.
        journal: takes every event.
        results: one of its listeners, always up to date.
        state: where the launch began.
        drain: how it is ended early.
    """

    plan: SweepPlan
    paths: RunPaths
    journal: Journal
    results: ResultsBuilder
    state: LaunchState
    drain: Drain


def find_nodes() -> Placement:
    """Where a stage's trials can run; within a Ray session."""
    return Placement(live_nodes())


def trial_storage(paths: RunPaths) -> StorageContext:
    """The storage that holds the trials' folders."""
    return StorageContext(storage_path=str(paths.root), experiment_dir_name=paths.trials.name)


def record_asked(
    launch: Launch,
    trial_id: str,
    sample: Sample,
    *,
    seeds: tuple[int, ...],
    stage: Stage,
    of: str = "",
) -> None:
    """Write into the journal which configuration a new trial has.

    Args:
        launch: which it is part of.
        trial_id: the new trial's.
        sample: its configuration, and the part of it that the search varies.
        seeds: one a replica.
        stage: what it is trained for.
        of: as in `TrialAsked`.
    """
    launch.journal.append(
        TrialAsked(
            time=time.time(),
            trial_id=trial_id,
            configuration=sample.configuration,
            parameters=sample.parameters,
            seeds=seeds,
            stage=stage,
            of=of,
            known=sample.known,
        )
    )


def run_trials(
    launch: Launch,
    settings: TrialSettings,
    queue: TrialQueue,
    *,
    placement: Placement,
    scheduler: Scheduler,
    limits: Limits,
    listeners: Sequence[Listener] = (),
) -> None:
    """Run a queue's trials until none is left, or until the drain is over.

    Args:
        launch: which they are part of.
        settings: what all of them share.
        queue: hands them out.
        placement: the nodes that they run on.
        scheduler: decides which of them go on.
        limits: which end them.
        listeners: hear of the journal's events meanwhile, after the limits.

    Raises:
        RunError: Ray or the journal's disk failed.
    """
    spec, journal, drain = launch.plan.spec, launch.journal, launch.drain
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(queue.max_concurrent)
    correction = DivergenceCorrection(spec.objective)
    results = launch.results.snapshot()
    for record in (*results.trials, *results.retrained):
        for report in record.reports:
            correction.apply(report)
    adapter = SchedulerAdapter(
        scheduler,
        objective=spec.objective,
        correction=correction,
        drain=drain,
        find_donor=functools.partial(_find_donor, launch),
    )
    recorder = JournalCallback(
        journal,
        launch.paths,
        results=launch.results,
        queue=queue,
        retries=Retries(spec.resources.retries),
        drain=drain,
        objective=spec.objective,
        correction=correction,
        decisions=adapter.decisions,
        placement=placement,
    )
    tuner = build_tuner(
        trial_class(settings, launch.paths.root),
        queue=queue,
        scheduler=adapter,
        drain=drain,
        callbacks=[recorder, LimitsCallback(limits, queue, recorder, drain)],
        folder=launch.paths.tune / f"launch_{launch.state.launch}",
    )
    heard: list[Listener] = [limits, *listeners]
    journal.listeners += heard
    try:
        _fit(launch, tuner)
    finally:
        # A listener that failed is no longer among them.
        journal.listeners[:] = [one for one in journal.listeners if one not in heard]


def _find_donor(launch: Launch, decision: Decision) -> TrialCheckpoint | None:
    """The checkpoint that a decision to copy means, if it is whole."""
    donor = launch.results.trial(str(decision.donor))
    for checkpoint in reversed(donor.checkpoints):
        if env_steps_of(checkpoint.metrics) == decision.donor_env_steps:
            return checkpoint if is_resumable(launch.paths, checkpoint) else None
    return None


def _fit(launch: Launch, tuner: tune.Tuner) -> None:
    try:
        with watchdog(launch.drain):
            tuner.fit()
    except Exception as error:
        why = launch.journal.failure or explain_tune_failure(error)
        command = f"sweeper resume {run_reference(launch.paths.root)}"
        raise RunError(f"{why}; nothing that was reported is lost: `{command}` goes on") from error
    # Tune's own snapshot is larger than all other records, and nothing reads it.
    launch.paths.delete_tune()
