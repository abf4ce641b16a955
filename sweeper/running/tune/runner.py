"""A launch on Ray Tune, from its first trial to its last.

Every event is in the journal before any listener receives it.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Sets Ray's environment variables, so it comes before anything that imports Ray.
from sweeper.running.tune.session import live_nodes, ray_session

# isort: split
from ray import tune
from ray.train._internal.storage import StorageContext

from sweeper.errors import RunError
from sweeper.formatting import last_line
from sweeper.journal import Journal, LaunchEnded, LaunchStarted, TrialAsked
from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan, trial_settings
from sweeper.results.builder import ResultsBuilder
from sweeper.results.divergence import DivergenceCorrection
from sweeper.running.drain import Drain, end_on_signals, watchdog
from sweeper.running.failures import Retries
from sweeper.running.learners import Learners
from sweeper.running.limits import Limits
from sweeper.running.resume.state import LaunchState
from sweeper.running.tune.callbacks import JournalCallback, LimitsCallback
from sweeper.running.tune.placement import Placement
from sweeper.running.tune.queue import TrialQueue
from sweeper.running.tune.scheduling import SchedulerAdapter
from sweeper.running.tune.tuner import build_tuner
from sweeper.schedulers.registry import build_scheduler
from sweeper.search.base import SearchAlgorithm
from sweeper.search.expansion import Sample
from sweeper.search.registry import build_search
from sweeper.spec import dump_spec
from sweeper.spec.schedulers import resolve_options
from sweeper.states import LaunchEnd, Stage
from sweeper.trainables.trial import trial_class

__all__ = ["launch"]


# What a launch goes through, in this order; a stage begins when the one before has finished.
_STAGES = (Stage.SEARCH,)


def launch(
    plan: SweepPlan,
    paths: RunPaths,
    journal: Journal,
    *,
    results: ResultsBuilder,
    state: LaunchState,
    changes: Mapping[str, Any],
) -> str:
    """Run a plan to its last trial, or to an earlier end.

    SIGINT and SIGTERM pause and save the running trials and end the launch in order. A second one
    ends the process at once; what was reported is in the journal.

    Args:
        plan: what to run.
        paths: the run's folder, whose lock the caller holds.
        journal: takes every event; its listeners hear of each.
        results: one of the listeners.
        state: where the launch begins.
        changes: the keys of the plan's spec that an extension has set.

    Returns:
        How it ended: ``finished``, ``interrupted``, ``disk nearly full`` or the budget that
        was reached.

    Raises:
        UserError: the cluster named by the spec can't be reached.
        RunError: Ray or the journal's disk failed; the run can be resumed.
    """
    drain = Drain(evaluates=plan.spec.evaluation is not None)
    with end_on_signals(drain) as install_signals:
        journal.append(
            LaunchStarted(
                time=time.time(),
                launch=state.launch,
                pid=os.getpid(),
                command=tuple(sys.argv),
                host=socket.gethostname(),
                spec=dump_spec(plan.spec),
                changes=changes,
                stage=_STAGES[0],
                environment={} if plan.environment is None else plan.environment.to_json(),
                environment_changes=state.environment_changes,
            )
        )
        for end in state.ends:
            journal.append(end)
        reason = state.over or LaunchEnd.FINISHED
        if state.over is None and (state.continuations or state.asked < plan.trials):
            if paths.stop_request.exists():  # while this process was starting
                drain.request(LaunchEnd.INTERRUPTED)
            if drain.reason is not None:
                reason = drain.reason
            else:
                with ray_session(plan.spec.ray.address, install_signals):
                    for stage in _STAGES:
                        run = _StageRun(stage, plan, paths, journal, results, state, drain)
                        reason = drain.reason or run.carry_out()
                        if reason != LaunchEnd.FINISHED:
                            break
        journal.append(LaunchEnded(time=time.time(), reason=reason))
    return reason


@dataclass(frozen=True)
class _StageRun:
    """One stage of a launch: its trials, from the first to the last, on Ray Tune."""

    stage: Stage
    plan: SweepPlan
    paths: RunPaths
    journal: Journal
    results: ResultsBuilder
    state: LaunchState
    drain: Drain

    def carry_out(self) -> str:
        """Run the stage; returns how it ended."""
        spec, state, drain = self.plan.spec, self.state, self.drain
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(self.plan.concurrent)
        limits = Limits(
            self.paths, self.results, spec.objective, spec.budget, spec.resources.timeout_s, drain
        )
        limits.catch_up(self.results.snapshot())
        learners = self._learners()
        learners.replay(self.paths)
        placement = Placement(live_nodes())
        queue = self._queue(learners.search, placement)
        # A limit may be reached before the first trial begins.
        limits.tick(close_queue=queue.close, end_trial=lambda _: None)
        if drain.reason is not None:
            return drain.reason
        self.journal.listeners += [limits, learners]
        correction = DivergenceCorrection(spec.objective.mode)
        for record in self.results.snapshot().trials:
            for report in record.reports:
                correction.apply(report)
        scheduler = SchedulerAdapter(
            learners.scheduler, objective=spec.objective, correction=correction, drain=drain
        )
        recorder = JournalCallback(
            self.journal,
            self.paths,
            results=self.results,
            queue=queue,
            retries=Retries(spec.resources.retries),
            drain=drain,
            objective=spec.objective,
            correction=correction,
            decisions=scheduler.decisions,
            placement=placement,
        )
        if spec.budget.time_s is not None:
            drain.deadline = time.monotonic() + spec.budget.time_s - state.spent_s
        tuner = build_tuner(
            trial_class(trial_settings(self.plan, self.stage), self.paths.root),
            queue=queue,
            scheduler=scheduler,
            drain=drain,
            callbacks=[recorder, LimitsCallback(limits, queue, recorder, drain)],
            folder=self.paths.tune / f"launch_{state.launch}",
        )
        self._fit(tuner)
        if queue.is_used_up and all(one.state.is_over for one in self.results.snapshot().trials):
            return LaunchEnd.FINISHED  # even if an end was requested in the meantime
        return drain.reason or queue.closed or LaunchEnd.FINISHED

    def _learners(self) -> Learners:
        spec = self.plan.spec
        search = build_search(
            spec.search.algorithm,
            spec.param_space,
            num_samples=spec.search.num_samples,
            seed=spec.search.seed,
            points=spec.search.points,
            asked=self.results.snapshot().searched,
            objective=spec.objective,
            options=spec.search.options.model_dump(),
        )
        options = resolve_options(spec.scheduler, spec.stop)
        scheduler = build_scheduler(spec.scheduler.type, spec.objective, options)
        return Learners(search, scheduler, spec.objective, self.results)

    def _queue(self, search: SearchAlgorithm, placement: Placement) -> TrialQueue:
        return TrialQueue(
            search,
            trials=self.plan.trials,
            on_ask=self._note_asked,
            max_concurrent=self.plan.concurrent,
            checkpoints=StorageContext(
                storage_path=str(self.paths.root), experiment_dir_name=self.paths.trials.name
            ),
            drain=self.drain,
            asked=self.state.asked,
            max_trials=self.plan.spec.budget.trials,
            continuations=self.state.continuations,
            find_avoided=placement.find_avoided,
        )

    def _note_asked(self, trial_id: str, sample: Sample) -> None:
        self.journal.append(
            TrialAsked(
                time=time.time(),
                trial_id=trial_id,
                configuration=sample.configuration,
                parameters=sample.parameters,
                seeds=self.plan.spec.seeds,
                stage=self.stage,
            )
        )

    def _fit(self, tuner: tune.Tuner) -> None:
        try:
            with watchdog(self.drain):
                tuner.fit()
        except Exception as error:
            failure = f"Ray Tune failed: {last_line(str(error)) or type(error).__name__}"
            why = self.journal.failure or failure
            name = self.paths.root.name
            raise RunError(
                f"{why}; nothing that was reported is lost: `sweeper resume {name}` goes on"
            ) from error
        # Tune's own snapshot is larger than all other records, and nothing reads it.
        shutil.rmtree(self.paths.tune, ignore_errors=True)
