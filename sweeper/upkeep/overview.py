"""How far runs are, for `sweeper status` and `sweeper list`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.errors import SweeperError
from sweeper.opened_run import Run, open_run
from sweeper.paths import RunPaths, list_runs
from sweeper.results.records import TrialRecord, describe_pruning
from sweeper.results.scoring import metric_value
from sweeper.results.standing import Standing, Workload, describe_workload
from sweeper.states import TrialState

__all__ = ["DAMAGED", "RunOverview", "RunningTrial", "describe_run", "describe_runs", "planned"]

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


@dataclass(frozen=True)
class RunOverview:
    """How far a run is. The fields are the keys of `sweeper status --json`, in their order.

    Attributes:
        run: the run's folder.
        state: `SweepResults.state`, or ``damaged``.
        trials: planned trials, or those in the journal if there is no plan.
        states: number of trials in each state; empty states are left out.
        best: id of the best trial so far; None before the first score.
        score: of the best trial.
        diverged: how many replicas of the best trial are frozen.
        metric: what the score is a value of; None for a damaged run.
        parameters: searched parameters of the best trial, nested.
        started: time of the first event, seconds since the epoch.
        updated: time of the last event.
        left_s: estimated seconds until the end; None if unknown or if the run is not live.
        running: trials that are training now; empty if the run is not live.
        pruned: the scheduler's last decision to stop a trial, in words; None if there is none.
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
    pruned: str | None = None
    problem: str | None = None


def describe_run(opened: Run) -> RunOverview:
    """Summarise how far a run is."""
    results = opened.results
    trials = planned(opened.paths, "trials") or len(results.trials)
    workload = Workload(trials)
    if opened.spec is not None:
        concurrent = planned(opened.paths, "concurrent") or 1
        workload = describe_workload(opened.spec, trials=trials, concurrent=concurrent)
    standing = Standing(workload, opened.objective)
    for record in results.trials:
        standing.update(record, results.updated or 0.0)
    best = standing.best()
    left_s = None
    if results.is_live:
        now = time.time()
        left_s = standing.left_s(now, now - (results.started or now))
    winner = None if best is None else results.trial(best.trial_id)
    return RunOverview(
        run=results.root,
        state=results.state,
        trials=trials,
        states=standing.counts(),
        best=None if best is None else best.trial_id,
        score=None if best is None else best.score,
        diverged=0 if winner is None else winner.diverged,
        metric=opened.objective.metric,
        parameters=None if winner is None else winner.parameters,
        started=results.started,
        updated=results.updated,
        left_s=left_s,
        running=tuple(
            RunningTrial(
                trial_id=record.trial_id,
                parameters=record.parameters,
                score=standing.score(record.trial_id),
                diverged=record.diverged,
                env_steps=record.env_steps,
                env_steps_per_s=metric_value(record.last_report, "env_steps_per_s"),
            )
            for record in results.trials
            if record.state is TrialState.RUNNING
        ),
        pruned=_last_pruned(results.trials),
    )


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
    except (SweeperError, OSError, ValueError) as error:
        return RunOverview(paths.root, DAMAGED, problem=str(error).splitlines()[0])


def planned(paths: RunPaths, name: str) -> int | None:
    """A number in the run's plan, such as ``trials``; None if it can't be read."""
    try:
        return int(json.loads(paths.plan.read_text(encoding="utf-8"))[name])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not essential: the journal has the trials
