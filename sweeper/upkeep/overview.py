"""How far runs are: the objects that `sweeper status --json` and `sweeper list --json` print."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from sweeper.api import Run, open_run
from sweeper.errors import SweeperError
from sweeper.json_values import to_json
from sweeper.paths import RunPaths, list_runs
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import metric_value
from sweeper.results.standing import Standing, Workload, describe_workload
from sweeper.states import TrialState

__all__ = ["DAMAGED", "describe_run", "list_described", "planned_trials"]

DAMAGED = "damaged"


def describe_run(opened: Run) -> dict[str, Any]:
    """How far a run is.

    ``left_s`` is an estimate, and null where there is nothing to go by or nobody carries the
    run out; ``running`` has the trials that a live run is training.
    """
    results = opened.results
    trials = planned_trials(opened.paths) or len(results.trials)
    workload = Workload(trials)
    if opened.spec is not None:
        concurrent = _planned(opened.paths, "concurrent") or 1
        workload = describe_workload(opened.spec, trials=trials, concurrent=concurrent)
    standing = Standing(workload, opened.objective)
    for record in results.trials:
        standing.update(record, results.updated or 0.0)
    best = standing.best()
    running = [record for record in results.trials if record.state is TrialState.RUNNING]
    left_s = None
    if results.is_live:
        now = time.time()
        left_s = standing.left_s(now, now - (results.started or now))
    return {
        "run": str(results.root),
        "state": results.state,
        "trials": trials,
        "states": standing.counts(),
        "best": None if best is None else best.trial_id,
        "score": None if best is None else best.score,
        "metric": opened.objective.metric,
        "parameters": None if best is None else to_json(results.trial(best.trial_id).parameters),
        "started": results.started,
        "updated": results.updated,
        "left_s": left_s,
        "running": [_describe_trial(record, standing) for record in running],
        "problem": None,
    }


def list_described(storage: Path) -> list[dict[str, Any]]:
    """One object a run under the storage, oldest first; a damaged run is one as well."""
    return [_describe_or_explain(paths) for paths in list_runs(storage)]


def _describe_or_explain(paths: RunPaths) -> dict[str, Any]:
    try:
        return describe_run(open_run(paths.root))
    except (SweeperError, OSError, ValueError) as error:
        return {
            "run": str(paths.root),
            "state": DAMAGED,
            "trials": 0,
            "states": {},
            "best": None,
            "score": None,
            "metric": None,
            "parameters": None,
            "started": None,
            "updated": None,
            "left_s": None,
            "running": [],
            "problem": str(error).splitlines()[0],
        }


def _describe_trial(record: TrialRecord, standing: Standing) -> dict[str, Any]:
    return {
        "trial_id": record.trial_id,
        "parameters": to_json(record.parameters),
        "score": standing.score(record.trial_id),
        "env_steps": record.env_steps,
        "env_steps_per_s": to_json(metric_value(record.last_report, "env_steps_per_s")),
    }


def planned_trials(paths: RunPaths) -> int | None:
    """How many trials a run was to have; None where its plan does not say."""
    return _planned(paths, "trials")


def _planned(paths: RunPaths, name: str) -> int | None:
    try:
        document = json.loads(paths.plan.read_text(encoding="utf-8"))
        return int(document[name])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the number is a comfort; the journal has the rest
