"""A launch on Ray Tune, from its first trial to its last.

Every event is in the journal before any listener receives it.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from typing import Any

# Sets Ray's environment variables, so it comes before anything that imports Ray.
from sweeper.running.tune.session import ray_session

# isort: split
from sweeper.journal import Journal, LaunchEnded, LaunchStarted
from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan
from sweeper.planning.schedulers import make_scheduler
from sweeper.planning.settings import trial_settings
from sweeper.results.builder import ResultsBuilder
from sweeper.running.background_search import BackgroundSearch
from sweeper.running.confirmation import find_next_group
from sweeper.running.drain import Drain, end_on_signals
from sweeper.running.learners import Learners
from sweeper.running.limits import Limits
from sweeper.running.resume.state import LaunchState
from sweeper.running.tune.confirming import carry_out_confirmation
from sweeper.running.tune.queue import TrialQueue
from sweeper.running.tune.relay import StageTrials
from sweeper.running.tune.stage import Launch, find_nodes, find_room, record_asked, run_stages
from sweeper.running.tune.trial_storage import trial_storage
from sweeper.search.expansion import Sample
from sweeper.search.registry import build_search
from sweeper.spec import dump_spec
from sweeper.spec.search import resolve_search_options
from sweeper.states import LaunchEnd, Stage
from sweeper.storage.address import address_of
from sweeper.trainables.contract import TrialSettings
from sweeper.veil import hide_passwords

__all__ = ["launch"]


def launch(
    plan: SweepPlan,
    paths: RunPaths,
    journal: Journal,
    *,
    results: ResultsBuilder,
    state: LaunchState,
    changes: Mapping[str, Any],
    conclude: Callable[[str], None],
) -> str:
    """Run a plan to its last trial, or to an earlier end: the search, then the confirmation.

    SIGINT and SIGTERM pause and save the running trials and end the launch in order. A second one
    ends the process at once; what was reported is in the journal.

    Args:
        plan: what to run.
        paths: the run's folder, whose lock the caller holds.
        journal: takes every event; its listeners hear of each.
        results: one of the listeners.
        state: where the launch begins.
        changes: the keys of the plan's spec that an extension has set.
        conclude: writes what follows from the trials, given how the launch ended. Called while
            Ray still runs, whose end may take the process with it.

    Returns:
        How it ended: ``finished``, ``interrupted``, ``disk nearly full`` or the budget that
        was reached. A search that its budget ended is confirmed, too, and the budget stays the
        reason.

    Raises:
        UserError: the cluster named by the spec can't be reached.
        RunError: Ray or the journal's disk failed; the run can be resumed.
    """
    drain = Drain(evaluates=plan.spec.evaluation is not None)
    spec = plan.spec
    spec.environment.settings().learn_secrets()  # which trials may say in their errors
    searches = state.over is None and bool(state.continuations or state.asked < plan.trials)
    with end_on_signals(drain) as install_signals:
        journal.append(
            LaunchStarted(
                time=time.time(),
                launch=state.launch,
                pid=os.getpid(),
                command=tuple(map(hide_passwords, sys.argv)),
                host=socket.gethostname(),
                spec=dump_spec(plan.spec),
                changes=changes,
                stage=Stage.SEARCH if searches else Stage.CONFIRMATION,
                environment={} if plan.environment is None else plan.environment.to_json(),
                environment_changes=state.environment_changes,
                origin={} if plan.origin is None else plan.origin.to_json(),
            )
        )
        for end in state.ends:
            journal.append(end)
        reason = state.over or LaunchEnd.FINISHED
        if searches or find_next_group(plan, results.snapshot(), state, reason):
            if paths.stop_request.exists():  # while this process was starting
                drain.request(LaunchEnd.INTERRUPTED)
            if drain.reason is not None:
                reason = drain.reason
            else:
                parts = Launch(plan, paths, journal, results, state, drain)
                variables = spec.environment.settings().variables
                with ray_session(spec.ray.address, install_signals, variables):
                    try:
                        reason = run_stages(parts, _make_stages(parts, reason, searches=searches))
                        journal.append(LaunchEnded(time=time.time(), reason=reason))
                    except BaseException as error:
                        drain.is_concluding = True
                        is_asked = isinstance(error, KeyboardInterrupt)
                        conclude(LaunchEnd.INTERRUPTED if is_asked else LaunchEnd.FAILED)
                        raise
                    drain.is_concluding = True
                    conclude(reason)
                return reason
        journal.append(LaunchEnded(time=time.time(), reason=reason))
    conclude(reason)
    return reason


def _make_stages(
    launch: Launch, reason: str, *, searches: bool
) -> Generator[StageTrials, None, str]:
    """The search if it is not over, then the confirmation; returns how the launch ended."""
    if searches:
        reason = launch.drain.reason or (yield from _search(launch))
    return (yield from carry_out_confirmation(launch, reason))


def _search(launch: Launch) -> Generator[StageTrials, None, str]:
    """Make the search's trials; returns how it ended."""
    plan, state, drain, results = launch.plan, launch.state, launch.drain, launch.results
    spec = plan.spec
    limits = Limits(
        launch.paths, results, spec.objective, spec.budget, spec.resources.timeout_s, drain
    )
    limits.catch_up(results.snapshot())
    learners = _build_learners(launch)
    learners.replay(launch.paths, [one.trial_id for one in state.continuations])
    placement, settings = find_nodes(launch), _find_settings(launch)

    def note_asked(trial_id: str, sample: Sample) -> None:
        record_asked(launch, trial_id, sample, seeds=spec.seeds, stage=Stage.SEARCH)

    queue = TrialQueue(
        learners.search,
        trials=plan.trials,
        on_ask=note_asked,
        max_concurrent=plan.max_trials if spec.follows_cluster else plan.concurrent,
        checkpoints=trial_storage(launch.paths),
        drain=drain,
        asked=state.asked,
        max_trials=spec.budget.trials,
        continuations=state.continuations,
        find_avoided=placement.find_avoided,
        find_room=find_room(launch, settings, placement),
    )
    # A limit may be reached before the first trial begins.
    limits.tick(close_queue=queue.close, end_trial=lambda _: None)
    if drain.reason is not None:
        return drain.reason
    if spec.budget.time_s is not None:
        drain.deadline = time.monotonic() + spec.budget.time_s - state.spent_s
    background = learners.search if isinstance(learners.search, BackgroundSearch) else None
    if background is not None:
        background.prepare(state.asked + 1)  # while Tune starts
    try:
        yield StageTrials(
            settings,
            queue,
            placement=placement,
            scheduler=learners.scheduler,
            limits=limits,
            listeners=[learners],
            is_last=plan.confirmation is None,
        )
    finally:
        if background is not None:
            background.close()
    if queue.is_used_up and all(one.state.is_over for one in results.snapshot().trials):
        return LaunchEnd.FINISHED  # even if an end was requested in the meantime
    return drain.reason or queue.closed or LaunchEnd.FINISHED


def _find_settings(launch: Launch) -> TrialSettings:
    """What the search's trials share, with the weights that they begin with."""
    settings = trial_settings(launch.plan)
    if launch.plan.origin is None:
        return settings
    return replace(
        settings, start=str(address_of(launch.paths.start) or launch.paths.start.absolute())
    )


def _build_learners(launch: Launch) -> Learners:
    spec, results = launch.plan.spec, launch.results.snapshot()
    search = build_search(
        spec.search.algorithm,
        spec.param_space,
        num_samples=spec.search.num_samples,
        seed=spec.search.seed,
        points=spec.search.points,
        asked=results.searched,
        known=results.known,
        objective=spec.objective,
        options=resolve_search_options(spec.search, spec.scheduler.type),
    )
    if search.learns and (spec.follows_cluster or launch.plan.concurrent > 1):
        search = BackgroundSearch(search)
    scheduler = make_scheduler(spec, population=launch.plan.max_trials)
    return Learners(search, scheduler, spec.objective, launch.results)
