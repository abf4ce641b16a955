"""Whether the decisions in a journal are those that its events lead to."""

from __future__ import annotations

from typing import Any

import pytest

from sweeper.journal import TrialReported, read_journal
from sweeper.paths import RunPaths
from sweeper.planning.schedulers import make_scheduler
from sweeper.results.builder import ResultsBuilder
from sweeper.running.learners import Learners
from sweeper.schedulers.base import Decision, Report
from sweeper.search.enumeration import Enumeration
from sweeper.spec import load_spec

__all__ = ["check_decisions"]


def check_decisions(paths: RunPaths) -> None:
    """A later launch's scheduler, which is told what the journal has, decides what that says."""
    spec, results = load_spec(paths.spec), ResultsBuilder(paths.root)
    events = list(read_journal(paths.journal))
    for event in events:
        results.apply(event)
    searched = {record.trial_id for record in results.snapshot().trials}
    scheduler = make_scheduler(spec, population=len(searched))
    decided: list[dict[str, Any] | None] = []
    decide = scheduler.on_report

    def on_report(report: Report) -> Decision:
        decision = decide(report)
        decided.append(decision.to_json())
        return decision

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scheduler, "on_report", on_report)
        search = Enumeration({}, num_samples=0, seed=0, objective=spec.objective)
        Learners(search, scheduler, spec.objective, results).replay(paths)
    recorded = [
        event.decision
        for event in events
        if isinstance(event, TrialReported)
        and event.trial_id in searched
        and not (event.stopped_by or event.replaces)
    ]
    assert decided == recorded
    assert any(recorded), "nothing was decided"
