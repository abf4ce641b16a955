"""From the confirmation's training runs to the verdict."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sweeper.evidence.confirmation import (
    BASELINE,
    Retrained,
    Undecided,
    collect_retrained,
    describe_missing,
    holds_for,
    is_current,
    look_sizes,
)
from sweeper.evidence.verdict import Sample, Verdict, judge, undecided
from sweeper.metrics import Objective
from sweeper.results.ranking import rank_trial
from sweeper.results.records import SweepResults, TrialRecord, judge_trial
from sweeper.results.scoring import is_comparable
from sweeper.results.spread import spread_of

__all__ = ["find_undecided", "judge_confirmation"]


def find_undecided(objective: Objective) -> Undecided:
    """Who needs more seeds, by the group-sequential test."""

    def find(retrained: Sequence[Retrained], looks: tuple[int, ...]) -> Collection[str]:
        finalists, baseline = _split([_to_sample(one) for one in retrained])
        if not finalists:
            return ()
        return undecided(finalists, baseline, looks=looks, mode=objective.mode)

    return find


def judge_confirmation(
    results: SweepResults, objective: Objective, *, solved_at: float | None, unjudged: int = 0
) -> tuple[Verdict | None, tuple[Retrained, ...]]:
    """The verdict of a run's confirmation, and what it rests on.

    Args:
        results: of the run.
        objective: by which the champion is chosen; the confirmation must have been made for it.
        solved_at: the return from which a training run counts as having solved the task.
        unjudged: how many trials of the search have no score.

    Returns:
        None and nothing if the run has no confirmation for this objective, or its search has gone
        on since.
    """
    planned = results.confirmation
    if planned is None or not holds_for(planned, objective) or not is_current(results):
        return None, ()
    retrained = tuple(collect_retrained(results, find_undecided(objective)))
    scores = {
        record.trial_id: judge_trial(record, objective).value
        for record in results.trials
        if record.trial_id in planned.finalists
    }
    if None in scores.values():
        return None, retrained  # a finalist has lost its score, so the search has gone on
    runs = {
        record.trial_id: _search_runs(record, objective)
        for record in results.trials
        if record.trial_id in scores
    }
    # An area under a curve, or episodes of exploring agents, are not what the confirmation tells.
    is_score_comparable = objective.score != "auc"
    is_told_alike = is_score_comparable and objective.metric.startswith("evaluation/")
    samples = [
        replace(
            _to_sample(one),
            search_score=scores.get(one.of),
            search_runs=runs.get(one.of, ()) if is_told_alike else (),
            is_score_comparable=is_score_comparable,
        )
        for one in retrained
    ]
    ranks = {
        record.trial_id: rank_trial(record, objective)
        for record in results.trials
        if record.trial_id in scores
    }
    finalists, baseline = _split(samples)
    if not finalists:
        return None, retrained
    sizes = look_sizes(planned)
    verdict = judge(
        finalists,
        baseline,
        mode=objective.mode,
        metric=objective.metric,
        solved_at=solved_at,
        looks=sizes if len(sizes) > 1 else None,
        missing=describe_missing(retrained),
        search_choice=min(ranks, key=ranks.__getitem__),
        unjudged=unjudged,
    )
    return verdict, retrained


def _search_runs(record: TrialRecord, objective: Objective) -> tuple[float, ...]:
    """What a finalist's replicas came to in the search.

    Without those that diverged: they stand there with another run's value.
    """
    spread, judged = spread_of(record, objective), judge_trial(record, objective)
    if spread is None or judged.report is None or not all(map(is_comparable, spread.values)):
        return ()
    flags = record.reports[judged.report].get("replica/diverged") or ()
    diverged = {place for place, is_diverged in enumerate(flags) if is_diverged}
    return tuple(value for place, value in enumerate(spread.values) if place not in diverged)


def _to_sample(retrained: Retrained) -> Sample:
    return Sample(
        name=retrained.of,
        values=retrained.values,
        env_steps=retrained.env_steps,
        diverged=retrained.diverged,
        failure=retrained.failure,
    )


def _split(samples: Sequence[Sample]) -> tuple[list[Sample], Sample | None]:
    finalists = [sample for sample in samples if sample.name != BASELINE]
    return finalists, next((sample for sample in samples if sample.name == BASELINE), None)
