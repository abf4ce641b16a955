"""Scores for people, never without their spread and the number of replicas behind it."""

from __future__ import annotations

from collections.abc import Iterator

from sweeper.evidence.failed_runs import describe_reason
from sweeper.evidence.learning import Learning
from sweeper.evidence.record import ChosenAgent, Selection
from sweeper.evidence.samples import Evidence
from sweeper.formatting import count_noun, format_number, format_score
from sweeper.metrics import Objective, examined_metric
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.results.spread import spread_of
from sweeper.states import Stage

__all__ = [
    "describe_agent",
    "describe_evidence",
    "describe_runs",
    "describe_score",
    "diverged_words",
    "evidence_rows",
    "learning_rows",
    "objective_of",
    "spread_words",
]

_MAX_RUNS = 30


def spread_words(deviation: float | None, replicas: int) -> str:
    """`` ±179 over 3 replicas``; empty where no spread is known."""
    if deviation is None:
        return ""
    return f" ±{format_number(deviation)} over {count_noun(replicas, 'replica')}"


def objective_of(record: TrialRecord, objective: Objective) -> Objective:
    """What a trial is judged by: in the confirmation by the episodes there."""
    metric = examined_metric(objective.metric)
    if record.stage is Stage.SEARCH or metric is None:
        return objective
    return Objective(metric, objective.mode)


def describe_score(record: TrialRecord, objective: Objective) -> str:
    """``396.7 ±179 over 3 replicas``."""
    own = objective_of(record, objective)
    spread = spread_of(record, own)
    words = "" if spread is None else spread_words(spread.deviation, len(spread.values))
    return format_score(judge_trial(record, own).value, record.diverged) + words


def evidence_rows(selection: Selection) -> Iterator[tuple[str, str]]:
    """What is known of the champion beside its score, as names and values."""
    evidence, made = selection.evidence, selection.confirmed_on
    if evidence is not None and made is not None and evidence.runs:
        yield "on fresh seeds", describe_evidence(evidence)
        if evidence.prediction is not None:
            low, high = map(format_number, (evidence.prediction.low, evidence.prediction.high))
            yield "one more run", f"{low} to {high} ({evidence.prediction.level:.0%})"
        yield f"{selection.trial_id}'s runs", describe_runs(evidence)
        if selection.baseline is not None and selection.baseline.runs:
            words = "defaults" if made.baseline == "defaults" else str(made.baseline)
            yield "baseline", f"{describe_evidence(selection.baseline)}, {words}"
            yield "baseline's runs", describe_runs(selection.baseline)
    if selection.agent is not None:
        yield "saved agent", describe_agent(selection.agent, selection.trial_id)


def learning_rows(learning: Learning | None) -> Iterator[tuple[str, str]]:
    """How fast the champion's runs learned, as names and values."""
    if learning is None:
        return
    number, reached = len(learning.areas), learning.reached
    words = f"at least once in training, {len(reached)} of {count_noun(number, 'run')}"
    if reached:
        ends = " to ".join(dict.fromkeys(format_number(end) for end in (reached[0], reached[-1])))
        median = learning.median_steps
        middle = "" if median is None else f", half of all {number} by {format_number(median)}"
        words += f", after {ends} env steps{middle}"
    yield f"reached {format_number(learning.threshold)}", f"{words} ({learning.metric})"
    document = learning.to_json()
    deviation = document["area_deviation"]
    spread = "" if deviation is None else f" ±{format_number(deviation)}"
    yield (
        "mean in training",
        f"{format_number(document['area'])}{spread} over {count_noun(number, 'run')}: the mean of "
        f"{learning.metric} over env steps",
    )


def describe_evidence(evidence: Evidence) -> str:
    """``377.9 (137.9 to 617.8) over 5 runs``: a configuration's mean."""
    if evidence.mean is None:
        return f"all {count_noun(len(evidence.runs), 'run')} failed{describe_reason(evidence)}"
    interval = f"no interval: {evidence.interval_reason}"
    if evidence.interval is not None:
        low, high = map(format_number, (evidence.interval.low, evidence.interval.high))
        interval = f"{low} to {high}, {evidence.interval.level:.0%}"
    runs = f"{count_noun(len(evidence.finished), 'run')}{diverged_words(evidence.diverged)}"
    return f"{format_number(evidence.mean)} ({interval}) over {runs}"


def describe_runs(evidence: Evidence) -> str:
    """Every run's value; of one that diverged the worst, which it counts as."""
    values = [
        "failed"
        if value is None
        else f"{format_number(value)}{' (diverged)' if place in evidence.diverged_runs else ''}"
        for place, value in enumerate(evidence.runs)
    ]
    more = len(values) - _MAX_RUNS
    return ", ".join(values[:_MAX_RUNS]) + (f" and {more} more" if more > 0 else "")


def diverged_words(number: int) -> str:
    """`` (2 diverged)``; empty where no run did."""
    return f" ({number} diverged)" if number else ""


def describe_agent(agent: ChosenAgent, champion: str) -> str:
    """The agent's own value, and whose it is: one replica's, not its configuration's mean."""
    where = f"the best of {champion}'s runs (seed {agent.seed} of {agent.trial_id})"
    if agent.value is None:
        return where
    episodes = count_noun(len(agent.returns), "fresh episode")
    return f"{format_number(agent.value)} over {episodes}: {where}; expect less of a new one"
