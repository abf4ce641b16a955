"""How far runs are, for `sweeper status` and `sweeper list`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweeper.errors import SweeperError
from sweeper.evidence.confirmation import is_current
from sweeper.evidence.selection import NothingToSelect
from sweeper.metrics import Objective
from sweeper.opened_run import Run, open_run
from sweeper.paths import RunPaths, list_runs
from sweeper.recorded_plan import planned
from sweeper.results.records import TrialRecord, count_states, describe_pruning, judge_trial
from sweeper.results.scoring import metric_value
from sweeper.results.spread import spread_of
from sweeper.results.standing import Standing, Workload, describe_workload
from sweeper.states import TrialState

__all__ = ["DAMAGED", "RunOverview", "RunningTrial", "describe_run", "describe_runs"]

_logger = logging.getLogger(__name__)

DAMAGED = "damaged"


@dataclass(frozen=True)
class RunningTrial:
    """A trial that a live run is training, by its last report."""

    trial_id: str
    parameters: Mapping[str, Any]
    score: float | None
    diverged: int
    env_steps: int | None
    env_steps_per_s: float | None
    of: str = ""
    deviation: float | None = None


@dataclass(frozen=True)
class RunOverview:
    """How far a run is. The fields are the keys of `sweeper status --json`, in their order.

    Attributes:
        run: the run's folder.
        state: `SweepResults.state`, or ``damaged``.
        trials: planned trials, or those in the journal if there is no plan.
        states: number of trials in each state; empty states are left out.
        best: id of the winner so far, as `best` names it; None before the first score.
        score: of the best trial.
        diverged: how many replicas of the best trial are frozen.
        metric: what the score is a value of; None for a damaged run.
        parameters: searched parameters of the best trial, nested.
        started: time of the first event, seconds since the epoch.
        updated: time of the last event.
        left_s: estimated seconds until the end; None if unknown or if the run is not live.
        running: trials that are training now; empty if the run is not live.
        deviation: of the best trial's replicas; None if unknown.
        replicas: how many of these have a score.
        confirmed: mean of the best trial's runs in the confirmation; None before it is complete.
        confirmed_interval: where that mean lies; None if there is no interval.
        confirmed_runs: how many runs it is the mean of.
        confirmed_diverged: how many of these diverged and count as the worst.
        verdict: ``better``, ``undecided``, ``worse`` or ``unconfirmed``; None without a winner.
        verdict_text: that in sentences.
        tied: trials that can't be told from the winner.
        retrained: number of the confirmation's trials in each state.
        pruned: the scheduler's last decision to stop a trial, in words; None if there is none.
        origin: the weights that its trials began with, in words; None: random ones.
        problem: why a damaged run can't be read, in one line.
    """

    run: Path
    state: str
    trials: int = 0
    states: Mapping[TrialState, int] = field(default_factory=dict)
    best: str | None = None
    score: float | None = None
    diverged: int = 0
    metric: str | None = None
    parameters: Mapping[str, Any] | None = None
    started: float | None = None
    updated: float | None = None
    left_s: float | None = None
    running: tuple[RunningTrial, ...] = ()
    deviation: float | None = None
    replicas: int = 0
    confirmed: float | None = None
    confirmed_interval: tuple[float, float] | None = None
    confirmed_runs: int = 0
    confirmed_diverged: int = 0
    verdict: str | None = None
    verdict_text: str | None = None
    tied: tuple[str, ...] = ()
    retrained: Mapping[TrialState, int] = field(default_factory=dict)
    pruned: str | None = None
    origin: str | None = None
    problem: str | None = None


def describe_run(opened: Run) -> RunOverview:
    """Summarise how far a run is."""
    results = opened.results
    trials, workload = len(results.trials), Workload(len(results.trials))
    if opened.spec is not None:
        trials = planned(opened.paths, "trials") or trials
        concurrent = planned(opened.paths, "concurrent") or 1
        workload = describe_workload(opened.spec, trials=trials, concurrent=concurrent)
    standing = Standing(workload, opened.objective)
    for record in results.trials:
        standing.update(record, results.updated or 0.0)
    try:
        selection = opened.selection
    except NothingToSelect:
        selection = None
    left_s = None
    if results.is_live:
        now = time.time()
        left_s = standing.left_s(now, now - (results.started or now))
        if is_current(results):
            left_s = _confirmation_left_s(opened, workload, now)
    retrained = [record for record in results.retrained if not record.is_outdated]
    confirmed = None if selection is None or selection.confirmed is None else selection.evidence
    interval = None if confirmed is None else confirmed.interval
    return RunOverview(
        run=results.root,
        state=results.state,
        trials=trials,
        states=standing.counts(),
        best=None if selection is None else selection.trial_id,
        score=None if selection is None else selection.score,
        diverged=0 if selection is None else selection.diverged,
        metric=opened.objective.metric,
        parameters=None if selection is None else results.trial(selection.trial_id).parameters,
        started=results.started,
        updated=results.updated,
        left_s=left_s,
        running=tuple(
            RunningTrial(
                trial_id=record.trial_id,
                parameters=record.parameters,
                score=judge_trial(record, opened.objective).value,
                diverged=record.diverged,
                env_steps=record.env_steps,
                env_steps_per_s=metric_value(record.last_report, "env_steps_per_s"),
                of=record.of,
                deviation=_deviation(record, opened.objective),
            )
            for record in (*results.trials, *retrained)
            if record.state is TrialState.RUNNING
        ),
        deviation=None if selection is None else selection.deviation,
        replicas=0 if selection is None else selection.replicas,
        confirmed=None if confirmed is None else confirmed.mean,
        confirmed_interval=None if interval is None else (interval.low, interval.high),
        confirmed_runs=0 if confirmed is None else len(confirmed.finished),
        confirmed_diverged=0 if confirmed is None else confirmed.diverged,
        verdict=None if selection is None else selection.word,
        verdict_text=None if selection is None else selection.verdict_text,
        tied=() if selection is None else selection.tied,
        retrained=count_states(retrained),
        pruned=_last_pruned(results.trials),
        origin=None if results.origin is None else str(results.origin),
    )


def _confirmation_left_s(opened: Run, workload: Workload, now: float) -> float | None:
    """Estimate the seconds until the confirmation's last trial ends; None before it reports."""
    results, planned = opened.results, opened.results.confirmation
    if planned is None:
        return None
    samples = len(planned.finalists) + bool(planned.baseline)
    standing = Standing(replace(workload, trials=samples, budget_s=None), opened.objective)
    for record in results.retrained:
        if not record.is_outdated:
            standing.update(record, results.updated or 0.0)
    return standing.left_s(now, 0.0)


def _deviation(record: TrialRecord, objective: Objective) -> float | None:
    spread = spread_of(record, objective)
    return None if spread is None else spread.deviation


def _last_pruned(records: Iterable[TrialRecord]) -> str | None:
    pruned = [record for record in records if record.state is TrialState.PRUNED]
    if not pruned:
        return None
    last = max(pruned, key=lambda record: record.ended or 0.0)
    return f"{last.trial_id} {describe_pruning(last)}"


def describe_runs(storage: Path) -> list[RunOverview]:
    """Summarise every run under the storage, oldest first, including damaged ones."""
    return [_describe_or_explain(paths) for paths in list_runs(storage)]


def _describe_or_explain(paths: RunPaths) -> RunOverview:
    try:
        return describe_run(open_run(paths.root))
    except Exception as error:  # one run that can't be read must not hide the others
        known = isinstance(error, SweeperError | OSError | ValueError)
        problem = str(error) if known else f"{type(error).__name__}: {error}"
        _logger.debug("can't describe %s", paths.root, exc_info=True)
        return RunOverview(paths.root, DAMAGED, problem=next(iter(problem.splitlines()), ""))
