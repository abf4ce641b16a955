"""Select a run's winner: the best trial, its checkpoint and its agent.

The rules, and where each is written:

1. A trial is a candidate if it has a finite score and is not in error (`records.judge_trial`,
   `scoring.score_reports`). A trial that did not run to its own end (pruned, paused, still
   running) counts with its reports so far and is marked ``partial``. Every other trial is
   excluded, with a reason.
2. Where finalists were trained again, and nothing of that is missing, the best mean of the new
   training runs wins (`verdict.judge`). Until then, and without a confirmation, the best score
   wins; of equal scores the one at fewer env steps, then the lower trial id. A pruned trial wins
   only if all were (`ranking.Candidate.rank`).
3. The trial's checkpoint is its last one for ``last`` and ``auc``. For ``best`` it is the one
   made after the report that earned the score, else the one with the best recorded metric, of
   equals the nearest to that report (`ranking.best_checkpoint`). Only checkpoints still on disk
   count (`_choose_checkpoint`).
4. The agent is the replica of the winner's confirmation that did best in the episodes there; what
   it is worth is said by others, which it played afterwards (`_choose_agent`). Without a
   confirmation it is the replica with the best value of the metric at the trial's checkpoint
   (`_best_replica`). Of equals the first in the order of the seeds.

So the winner depends neither on the order of the trials nor on NaN, and on a worse trial only where
a replica of a better one has diverged: that counts as the worst value that any replica of the run
has reported, which may be the worse trial's.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sweeper.errors import RunError, UserError
from sweeper.evidence.confirmation import (
    BASELINE,
    describe_missing,
    holds_for,
    ran_to_its_end,
)
from sweeper.evidence.judgement import judge_confirmation
from sweeper.evidence.record import (
    Candidate,
    ChosenAgent,
    ConfirmedOn,
    Exclusion,
    Selection,
    load_selection,
    write_selection,
)
from sweeper.evidence.ties import find_ties
from sweeper.evidence.unconfirmed import explain_incomplete
from sweeper.formatting import count_noun
from sweeper.metrics import IS_NEW_EVALUATION, Objective, canonical_metric, examined_metric
from sweeper.results.ranking import Candidate as Ranked
from sweeper.results.ranking import best_checkpoint, best_replica, id_key
from sweeper.results.records import (
    SweepResults,
    TrialCheckpoint,
    TrialRecord,
    describe_divergence,
    judge_trial,
)
from sweeper.results.scoring import is_comparable, iteration_of, metric_value
from sweeper.results.spread import spread_of

__all__ = [
    "Exclusion",
    "NothingToSelect",
    "Selection",
    "check_metric",
    "load_selection",
    "select",
    "write_selection",
]


class NothingToSelect(RunError):  # noqa: N818  (a state of the run, not an accident)
    """No trial of the run is a candidate.

    Attributes:
        excluded: every trial, with the reason.
    """

    def __init__(self, message: str, excluded: tuple[Exclusion, ...]) -> None:
        super().__init__(message)
        self.excluded = excluded


def select(
    results: SweepResults,
    objective: Objective,
    *,
    exists: Callable[[Path], bool] = Path.is_dir,
    solved_at: float | None = None,
    unconfirmed: str | None = None,
) -> Selection:
    """Select the winner of a run by the rules of this module.

    Args:
        results: of a finished, interrupted or live run.
        objective: how trials are judged.
        exists: whether the folder of a checkpoint still exists.
        solved_at: the return from which a training run counts as having solved the task.
        unconfirmed: why the run has no confirmation, in a sentence, should it have none.

    Raises:
        NothingToSelect: no trial is a candidate.
    """
    verdicts = [(trial, judge_trial(trial, objective)) for trial in results.trials]
    excluded = [
        Exclusion(trial.trial_id, verdict.problem or "no score")
        for trial, verdict in sorted(verdicts, key=lambda item: id_key(item[0].trial_id))
        if verdict.value is None
    ]
    ranked = sorted(
        (
            Ranked(trial, verdict.value, verdict.report)
            for trial, verdict in verdicts
            if verdict.value is not None and verdict.report is not None
        ),
        key=lambda candidate: candidate.rank(objective),
    )
    if not ranked:
        raise _nothing_to_select(tuple(excluded))
    verdict, retrained = judge_confirmation(
        results, objective, solved_at=solved_at, unjudged=len(excluded)
    )
    winner = ranked[0]
    if verdict is not None and verdict.verdict == "unconfirmed":
        if verdict.champion != winner.trial.trial_id:  # it is not among those trained again
            finalists = [one for name, one in verdict.evidence.items() if name != BASELINE]
            unconfirmed = explain_incomplete(describe_missing(retrained), finalists)
            verdict = None
    elif verdict is not None:
        winner = next(one for one in ranked if one.trial.trial_id == verdict.champion)
    excluded += [
        Exclusion(one.of, f"its confirmation failed: {one.failure}")
        for one in retrained
        if one.failure is not None and one.of not in (BASELINE, winner.trial.trial_id)
    ]
    # The best of the others by the search, even if that is better.
    rivals = [one for one in ranked if winner.is_pruned or not one.is_pruned]
    runner_up = next((one for one in rivals if one is not winner), None)
    checkpoint, note = _choose_checkpoint(
        winner, objective, lambda item: exists(results.resolve(item))
    )
    replica = _best_replica(winner, checkpoint, objective)
    trial, spread = winner.trial, spread_of(winner.trial, objective)
    is_confirmed = verdict is not None and verdict.verdict != "unconfirmed"
    return Selection(
        trial_id=trial.trial_id,
        state=trial.state,
        configuration=trial.configuration,
        metric=objective.metric,
        mode=objective.mode,
        score_kind=objective.score,
        score=winner.score,
        env_steps=None if math.isinf(winner.env_steps) else int(winner.env_steps),
        partial=not winner.ran_to_end,
        checkpoint=None if checkpoint is None else str(results.resolve(checkpoint)),
        checkpoint_note=note,
        replica=replica,
        seed=trial.seeds[replica] if replica < len(trial.seeds) else None,
        candidates=len(ranked),
        runner_up=None if runner_up is None else runner_up.trial.trial_id,
        runner_up_score=None if runner_up is None else runner_up.score,
        diverged=trial.diverged,
        divergence=describe_divergence(trial),
        excluded=tuple(excluded),
        deviation=None if spread is None else spread.deviation,
        replicas=0 if spread is None else len(spread.values),
        judged=tuple(_judged(results, ranked, objective)),
        search_choice=ranked[0].trial.trial_id,
        rule=_describe_rule(ranked, is_confirmed=is_confirmed),
        unconfirmed=unconfirmed if verdict is None else None,
        verdict=verdict,
        confirmed_on=_confirmed_on(results) if verdict is not None else None,
        agent=_choose_agent(results, trial.trial_id, objective, exists) if is_confirmed else None,
        pruned=len(ranked) - len(rivals),
    )


def _judged(
    results: SweepResults, ranked: Sequence[Ranked], objective: Objective
) -> Iterator[Candidate]:
    tied = find_ties([one.trial for one in ranked], objective)
    planned = results.confirmation
    finalists = planned.finalists if planned and holds_for(planned, objective) else ()
    for one in ranked:
        trial, spread = one.trial, spread_of(one.trial, objective)
        yield Candidate(
            trial_id=trial.trial_id,
            state=trial.state,
            score=one.score,
            deviation=None if spread is None else spread.deviation,
            replicas=0 if spread is None else len(spread.values),
            env_steps=None if math.isinf(one.env_steps) else int(one.env_steps),
            partial=not one.ran_to_end,
            is_tied=trial.trial_id in tied,
            is_finalist=trial.trial_id in finalists,
        )


def _describe_rule(ranked: Sequence[Ranked], *, is_confirmed: bool) -> str:
    """Which rule put the winner before the others."""
    if is_confirmed:
        return "the best mean of its confirmation runs"
    if len(ranked) == 1:
        return "the only candidate"
    first, second = ranked[:2]
    if first.is_pruned != second.is_pruned:
        return "the only one that was not stopped early"
    if first.score != second.score:
        return "the best score of the search"
    if first.env_steps != second.env_steps:
        return "of equal scores the one at fewer env steps"
    return "of equal scores the lower trial id"


def _confirmed_on(results: SweepResults) -> ConfirmedOn | None:
    planned = results.confirmation
    if planned is None:
        return None
    baseline = planned.baseline
    return ConfirmedOn(
        finalists=planned.finalists,
        seeds=planned.seeds,
        episodes=planned.episodes,
        baseline=str(baseline["name"]) if baseline else None,
        baseline_configuration=baseline["configuration"] if baseline else None,
    )


def _choose_agent(
    results: SweepResults, trial_id: str, objective: Objective, exists: Callable[[Path], bool]
) -> ChosenAgent | None:
    """The best replica of a finalist's confirmation; None if its checkpoint is gone."""
    metric = examined_metric(objective.metric)
    found: list[ChosenAgent] = []
    for record in sorted(results.retrained, key=lambda one: id_key(one.trial_id)):
        row = record.last_report
        index, values = row.get("agent/replica"), row.get(f"replica/{metric}") or ()
        if not ran_to_its_end(record):
            continue
        if record.of != trial_id or record.is_outdated or index is None:
            continue
        if index >= min(len(record.seeds), len(values)) or not is_comparable(values[index]):
            continue  # damaged
        kept = [one for one in record.checkpoints if exists(results.resolve(one))]
        if not kept:
            continue
        returns, lengths = (
            _comparable(row.get(f"agent/episode_{name}")) for name in ("returns", "lengths")
        )
        found.append(
            ChosenAgent(
                trial_id=record.trial_id,
                replica=index,
                seed=record.seeds[index],
                checkpoint=str(results.resolve(kept[-1])),
                chosen_by=values[index],
                returns=returns,
                value=_statistic(metric, returns, lengths),
                env_steps=record.env_steps,
            )
        )
    # The first of equals.
    return max(found, key=lambda one: objective.merit(one.chosen_by), default=None)


def _comparable(values: Sequence[Any] | None) -> tuple[float, ...]:
    """What each episode came to; nothing if one of them came to nothing that can be compared."""
    found = values or ()
    return tuple(map(float, found)) if all(map(is_comparable, found)) else ()


def _statistic(
    metric: str | None, returns: Sequence[float], lengths: Sequence[float]
) -> float | None:
    name = (metric or "").rpartition("/")[2]
    values = lengths if name == "episode_len_mean" else returns
    if not values:
        return None
    if name in ("episode_return_min", "episode_return_max"):
        return float(min(values) if name.endswith("min") else max(values))
    return math.fsum(values) / len(values)


def check_metric(results: SweepResults, metric: str) -> None:
    """Check that a run has reported a metric, or nothing yet.

    Raises:
        UserError: the trials reported other metrics only.
    """
    names = {name for trial in results.trials for report in trial.reports for name in report}
    names = {name for name in names - {IS_NEW_EVALUATION} if not name.startswith("replica/")}
    if names and not {metric, canonical_metric(metric)} & names:
        nearest = difflib.get_close_matches(metric, names, n=1)
        hint = f" (nearest: {nearest[0]})" if nearest else ""
        raise UserError(
            f"no trial reported {metric!r}{hint}; reported were: {', '.join(sorted(names))}"
        )


def _nothing_to_select(excluded: tuple[Exclusion, ...]) -> NothingToSelect:
    if not excluded:
        return NothingToSelect("no champion: the run has no trials", excluded)
    reasons = Counter(item.reason for item in excluded).most_common()
    named = "; ".join(f"{reason} ({count_noun(number, 'trial')})" for reason, number in reasons[:3])
    rest = f"; and {count_noun(len(reasons) - 3, 'other reason')}" if len(reasons) > 3 else ""
    what = f"none of {count_noun(len(excluded), 'trial')} has a score"
    return NothingToSelect(f"no champion: {what}: {named}{rest}", excluded)


def _choose_checkpoint(
    winner: Ranked, objective: Objective, exists: Callable[[TrialCheckpoint], bool]
) -> tuple[TrialCheckpoint | None, str | None]:
    kept = [checkpoint for checkpoint in winner.trial.checkpoints if exists(checkpoint)]
    if not kept:
        return None, "no checkpoint is left"
    if objective.score != "best":
        return kept[-1], _lag_note(winner.trial, kept[-1])
    chosen = best_checkpoint(kept, objective, earned_at=iteration_of(winner.row))
    if iteration_of(chosen.metrics) == iteration_of(winner.row) is not None:
        return chosen, None
    value = metric_value(chosen.metrics, objective.metric)
    worth = "an unknown value" if value is None else f"{objective.metric} {value:.6g}"
    return chosen, (
        f"no checkpoint was kept at the report that earned the score; this one had {worth}"
    )


def _lag_note(trial: TrialRecord, checkpoint: TrialCheckpoint) -> str | None:
    made, last = iteration_of(checkpoint.metrics), iteration_of(trial.last_report)
    if made is None:
        return "it is not known which report the checkpoint belongs to; it is the last one"
    if last is None or made >= last:
        return None
    return f"made at iteration {made:g}; the trial went on to iteration {last:g}"


def _best_replica(winner: Ranked, checkpoint: TrialCheckpoint | None, objective: Objective) -> int:
    row = winner.row
    made = None if checkpoint is None else iteration_of(checkpoint.metrics)
    if made is not None:
        row = next((item for item in winner.trial.reports if iteration_of(item) == made), row)
    return best_replica(row, objective)
