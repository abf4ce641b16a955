"""Whether the decisions in a journal are those that its reports lead to."""

from __future__ import annotations

from sweeper.journal import TrialReported, read_journal
from sweeper.paths import RunPaths
from sweeper.planning.schedulers import make_scheduler
from sweeper.running.learners import scheduler_report
from sweeper.spec import load_spec

__all__ = ["check_decisions"]


def check_decisions(paths: RunPaths) -> None:
    """A new scheduler that is told what the journal has decides what the journal says."""
    spec = load_spec(paths.spec)
    scheduler = make_scheduler(spec)
    decided = 0
    for event in read_journal(paths.journal):
        if isinstance(event, TrialReported):
            report = scheduler_report(event.trial_id, event.metrics, {}, spec.objective)
            if event.stopped_by:
                scheduler.on_final_report(report)
            else:
                assert scheduler.on_report(report).to_json() == event.decision
                decided += event.decision is not None
    assert decided, "nothing was decided"
