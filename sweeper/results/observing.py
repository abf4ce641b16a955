"""Trials as a search algorithm is told of them."""

from __future__ import annotations

import math

from sweeper.metrics import Objective
from sweeper.results.records import SweepResults, TrialRecord, judge_trial
from sweeper.results.scoring import env_steps_of, metric_value
from sweeper.search.base import Observation
from sweeper.states import Stage

__all__ = ["observe_search", "observe_trial"]


def observe_trial(record: TrialRecord, objective: Objective) -> Observation:
    """A trial as a search algorithm is told of it."""
    values = [
        (int(env_steps_of(report) or 0), value)
        for report in record.reports
        if (value := metric_value(report, objective.metric)) is not None and math.isfinite(value)
    ]
    return Observation(
        number=int(record.trial_id[1:]),
        parameters=record.parameters,
        state=record.state,
        values=tuple(values),
        score=judge_trial(record, objective).value,
        started=record.started,
        ended=record.ended,
    )


def observe_search(results: SweepResults, objective: Objective) -> list[Observation]:
    """All trials of a run's search, in their order."""
    return [
        observe_trial(record, objective)
        for record in results.trials
        if record.stage is Stage.SEARCH
    ]
