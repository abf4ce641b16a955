"""What the confirmation came to, for the kinds that show it."""

from __future__ import annotations

from sweeper.evidence.confirmation import BASELINE
from sweeper.evidence.samples import Evidence
from sweeper.evidence.verdict import Verdict
from sweeper.metrics import Objective, examined_metric
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import metric_title

__all__ = ["confirmed_title", "explain_unconfirmed", "finished_only", "incomplete_note", "order"]


def explain_unconfirmed(source: PlotSource) -> str:
    """Why there is no confirmation to show, in a sentence."""
    chosen = source.selection
    if chosen is None:
        return source.empty or "No trial has a score."
    why = chosen.unconfirmed or "The run has no confirmation."
    return f"Nothing to show without a confirmation. {why}"


def finished_only(verdict: Verdict | None) -> Verdict | None:
    """The verdict, if any training run of the confirmation has a value."""
    if verdict is None or not any(one.finished for one in verdict.evidence.values()):
        return None
    return verdict


def order(verdict: Verdict, objective: Objective) -> list[Evidence]:
    """Finalists from the best mean to the worst, those without one last, then the baseline."""
    return sorted(
        verdict.evidence.values(),
        key=lambda one: (
            one.name == BASELINE,
            one.mean is None,
            -objective.merit(one.mean),
            len(one.name),
            one.name,
        ),
    )


def confirmed_title(objective: Objective) -> str:
    """What the values of the confirmation are, for an axis."""
    metric = examined_metric(objective.metric) or objective.metric
    word = (
        metric_title(metric) if metric.endswith("return_mean") else metric_title(objective.metric)
    )
    return word + ("" if objective.mode == "max" else ", less is better")


def incomplete_note(verdict: Verdict) -> tuple[str, ...]:
    """What to know of a confirmation that is not over."""
    if verdict.verdict == "unconfirmed":
        return ("The confirmation is not complete: these are the runs so far.",)
    return ()
