"""A launch's stages on Ray Tune: the search, and the groups of the confirmation."""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass

# Sets Ray's environment variables, so it comes before anything that imports Ray.
from sweeper.running.tune.session import live_nodes

# isort: split
from ray import tune

from sweeper.errors import RunError
from sweeper.journal import Journal, TrialAsked
from sweeper.paths import RunPaths, run_reference
from sweeper.planning.plan import SweepPlan
from sweeper.results.builder import ResultsBuilder
from sweeper.results.divergence import DivergenceCorrection
from sweeper.results.scoring import env_steps_of
from sweeper.run_files import delete, set_aside
from sweeper.running.drain import Drain, watchdog
from sweeper.running.failures import Retries, explain_tune_failure
from sweeper.running.resume.state import LaunchState, is_resumable
from sweeper.running.tune.callbacks import JournalCallback, LimitsCallback
from sweeper.running.tune.placement import Placement
from sweeper.running.tune.relay import StageRelay, Stages, StageTrials, workers_kept
from sweeper.running.tune.room import ClusterRoom, WaitingCallback
from sweeper.running.tune.scheduling import SchedulerAdapter
from sweeper.running.tune.tuner import build_tuner
from sweeper.running.tune.unsaved import trials_left_out
from sweeper.search.expansion import Sample
from sweeper.states import Stage
from sweeper.storage.address import address_of
from sweeper.storage.checkpoints import remove_folder
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.trial import trial_class

__all__ = ["Launch", "find_nodes", "find_room", "record_asked", "run_stages"]

_logger = logging.getLogger(__name__)


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


def find_nodes(launch: Launch) -> Placement:
    """Where a stage's trials can run; within a Ray session."""
    nodes = [] if launch.plan.spec.ray.address is not None else live_nodes()
    return Placement(nodes[0] if len(nodes) == 1 else None)


def find_room(
    launch: Launch, settings: TrialSettings, placement: Placement
) -> Callable[[], int] | None:
    """How many more trials there is room for; None if the plan says how many run at a time.

    Args:
        launch: which the stage is part of.
        settings: what its trials share.
        placement: where they can run.
    """
    spec = launch.plan.spec
    if not spec.follows_cluster:
        return None
    asked = trial_class(settings, launch.paths.root).default_resource_request({})
    return ClusterRoom(asked.bundles, placement.find_failing)


def record_asked(
    launch: Launch,
    trial_id: str,
    sample: Sample,
    *,
    seeds: tuple[int, ...],
    stage: Stage,
    of: str = "",
) -> None:
    """Write into the journal which configuration a new trial has; its folder begins empty.

    Args:
        launch: which it is part of.
        trial_id: the new trial's.
        sample: its configuration, and the part of it that the search varies.
        seeds: one a replica.
        stage: what it is trained for.
        of: as in `TrialAsked`.
    """
    _clear(launch, trial_id)
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


def _clear(launch: Launch, trial_id: str) -> None:
    """Make room for a new trial where there is a folder of its name.

    It is of a trial that the journal has lost, or was put there by whoever made the run: Ray would
    write through its links, and what is in it would count as the trial's own.
    """
    paths = launch.paths
    folder = paths.trial(trial_id)
    if launch.state.launch > 1 and address_of(folder) is not None:
        remove_folder(folder, below=paths.trials)
        return
    if not os.path.lexists(folder):
        return
    if folder.is_dir() and not folder.is_symlink() and any(folder.glob("checkpoint_*")):
        place = set_aside(folder, below=paths.trials)
        _logger.warning(
            "%s holds checkpoints of a trial that the journal does not know; it is now %s",
            folder,
            place.name,
        )
    else:
        delete(folder, below=paths.trials)


def run_stages(launch: Launch, made: Generator[StageTrials, None, str]) -> str:
    """Run the trials of one stage after the other.

    As many as possible in one of Tune's experiments. One that the search's budget ends is over,
    and the next stage begins another.

    Args:
        launch: which they are part of.
        made: as in `Stages`.

    Returns:
        How the launch ended.

    Raises:
        RunError: Ray or the journal's disk failed.
    """
    correction = DivergenceCorrection(launch.plan.spec.objective)
    correction.replay(launch.paths)
    with closing(Stages(made, launch.journal)) as stages:
        while stages.end is None:
            stage = stages.take()
            if stage is not None:
                try:
                    _run_experiment(launch, StageRelay(stage, stages, launch.drain), correction)
                except RunError:
                    if stages.failure is not None:  # which is not Ray's
                        raise stages.failure from None
                    raise
    return stages.end


def _run_experiment(launch: Launch, relay: StageRelay, correction: DivergenceCorrection) -> None:
    spec, plan, journal, drain = launch.plan.spec, launch.plan, launch.journal, launch.drain
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(_count_most(plan))
    adapter = SchedulerAdapter(
        relay,
        objective=spec.objective,
        correction=correction,
        drain=drain,
        has_checkpoint=functools.partial(_has_checkpoint, launch),
    )
    recorder = JournalCallback(
        journal,
        launch.paths,
        results=launch.results,
        relay=relay,
        retries=Retries(spec.resources.retries),
        drain=drain,
        objective=spec.objective,
        correction=correction,
        decisions=adapter.decisions,
    )
    waiting = [] if spec.ray.address is None else [WaitingCallback(drain)]
    tuner = build_tuner(
        trial_class(relay.stage.settings, launch.paths.root),
        relay=relay,
        scheduler=adapter,
        drain=drain,
        callbacks=[recorder, LimitsCallback(relay, recorder, drain), *waiting],
        folder=launch.paths.tune / f"launch_{launch.state.launch}",
    )
    with workers_kept(relay), trials_left_out():
        _fit(launch, tuner)


def _count_most(plan: SweepPlan) -> int:
    """How many trials the queues hand out at a time, at most."""
    if plan.spec.follows_cluster:
        return sys.maxsize
    confirmed = 0 if plan.confirmation is None else plan.confirmation.concurrent
    return max(plan.concurrent, confirmed)


def _has_checkpoint(launch: Launch, trial_id: str, env_steps: int) -> bool:
    """Whether a trial's last checkpoint at so many env steps is whole."""
    for checkpoint in reversed(launch.results.trial(trial_id).checkpoints):
        if env_steps_of(checkpoint.metrics) == env_steps:
            return is_resumable(launch.paths, checkpoint)
    return False


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
