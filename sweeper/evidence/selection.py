"""Select a run's winner: the best trial, its checkpoint and its replica.

The rules, and where each is written:

1. A trial is a candidate if it has a finite score and is not in error (`records.judge_trial`,
   `scoring.score_reports`). A trial that did not run to its own end (pruned, paused, still
   running) counts with its reports so far. Every other trial is excluded, with a reason.
2. The best score wins; of equal scores the one at fewer env steps, then the lower trial id. A
   trial that did not run to its own end wins only if none did, and is then marked ``partial``
   (`ranking.Candidate.rank`).
3. The checkpoint is the winner's last one for ``last`` and ``auc``. For ``best`` it is the one
   made after the report that earned the score, else the one with the best recorded metric, of
   equals the nearest to that report (`ranking.best_checkpoint`). Only checkpoints still on disk
   count (`_choose_checkpoint`).
4. The agent is the replica with the best value of the metric at that checkpoint; of equals the
   first in the order of the seeds (`_best_replica`).

So the winner depends neither on the order of the trials, nor on worse trials, nor on NaN.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.errors import RunError, UserError
from sweeper.formatting import count_noun
from sweeper.json_values import decode_json, encode_json, to_json
from sweeper.metrics import Objective, canonical_metric
from sweeper.paths import write_atomically
from sweeper.results.ranking import Candidate, best_checkpoint, id_key
from sweeper.results.records import (
    SweepResults,
    TrialCheckpoint,
    TrialRecord,
    describe_divergence,
    judge_trial,
)
from sweeper.results.scoring import iteration_of, metric_value

__all__ = [
    "Exclusion",
    "NothingToSelect",
    "Selection",
    "check_metric",
    "load_selection",
    "select",
    "write_selection",
]


@dataclass(frozen=True)
class Exclusion:
    """A trial that could not win, and the reason."""

    trial_id: str
    reason: str


class NothingToSelect(RunError):  # noqa: N818  (a state of the run, not an accident)
    """No trial of the run is a candidate.

    Attributes:
        excluded: every trial, with the reason.
    """

    def __init__(self, message: str, excluded: tuple[Exclusion, ...]) -> None:
        super().__init__(message)
        self.excluded = excluded


@dataclass(frozen=True)
class Selection:
    """The winner of a run, and how it won.

    Attributes:
        configuration: its whole point of the param space, nested.
        metric: the metric that was compared.
        mode: ``max`` or ``min``.
        score_kind: ``last``, ``best`` or ``auc``.
        env_steps: of the report that earned the score; None if not reported.
        partial: whether the trial did not run to its own end.
        checkpoint: absolute path; None if none is left.
        checkpoint_note: what is unusual about it, e.g. that it was not made at the score.
        replica: index of the best replica.
        seed: that replica's seed; None if the run recorded no seeds.
        candidates: how many trials have a score.
        runner_up: the second-best trial; if the winner ran to its own end, of those that did.
        diverged: how many replicas of the winner are frozen; the score counts them as the run's
            worst.
        divergence: that in words; None if none is frozen.
        unfinished: candidates that could not win, whatever their scores, because the winner ran to
            its own end and they did not.
    """

    trial_id: str
    state: str
    configuration: Mapping[str, Any]
    metric: str
    mode: str
    score_kind: str
    score: float
    env_steps: int | None
    partial: bool
    checkpoint: str | None
    checkpoint_note: str | None
    replica: int
    seed: int | None
    candidates: int
    runner_up: str | None = None
    runner_up_score: float | None = None
    diverged: int = 0
    divergence: str | None = None
    excluded: tuple[Exclusion, ...] = field(default=())
    unfinished: int = 0

    @property
    def verdict_text(self) -> str:
        """The outcome in sentences, with its limits."""
        scored = f"{self.metric} {self.score:.6g} ({_SCORE_WORDS[self.score_kind]})"
        if self.runner_up is None or self.runner_up_score is None:
            alone = "one that ran to its own end" if self.unfinished else "candidate"
            sentences = [f"{self.trial_id} has {scored}; it is the only {alone}."]
        else:
            gap = abs(self.score - self.runner_up_score)
            lead = f"{gap:.6g} better than" if gap else "equal to"
            sentences = [
                f"{self.trial_id} has the best of {self.candidates - self.unfinished} scores, "
                f"{scored}, {lead} {self.runner_up}."
            ]
        if self.unfinished:
            others = count_noun(self.unfinished, "trial")
            sentences.append(f"{others} that did not run to their own end could not win.")
        if self.partial:
            sentences.append(f"It did not run to its own end ({self.state}).")
        if self.divergence is not None:
            sentences.append(f"{self.divergence}; frozen ones count as the run's worst.")
        if self.excluded:
            sentences.append(f"{count_noun(len(self.excluded), 'trial')} could not be judged.")
        sentences.append(
            "Unconfirmed: the best of several noisy scores is likely too high; training it "
            "again on fresh seeds would tell."
        )
        return " ".join(sentences)

    def to_best_json(self, run: str | Path, agent_path: Path | None) -> dict[str, Any]:
        """The object that ``best --json`` prints, for a run and its champion's folder."""
        return {
            "run": str(run),
            "trial_id": self.trial_id,
            "configuration": to_json(self.configuration),
            "metric": self.metric,
            "mode": self.mode,
            "score": self.score,
            "diverged": self.diverged,
            "checkpoint": self.checkpoint,
            "agent": None if agent_path is None else str(agent_path),
            "env_steps": self.env_steps,
            "excluded": [dataclasses.asdict(exclusion) for exclusion in self.excluded],
            "verdict": "unconfirmed",
            "verdict_text": self.verdict_text,
        }


_SCORE_WORDS = {
    "last": "last reported",
    "best": "best reported, which is optimistic",
    "auc": "mean over env steps",
}


def select(
    results: SweepResults, objective: Objective, *, exists: Callable[[Path], bool] = Path.is_dir
) -> Selection:
    """Select the winner of a run by the rules of this module.

    Args:
        results: of a finished, interrupted or live run.
        objective: how trials are judged.
        exists: whether the folder of a checkpoint still exists.

    Raises:
        NothingToSelect: no trial is a candidate.
    """
    verdicts = [(trial, judge_trial(trial, objective)) for trial in results.trials]
    excluded = tuple(
        Exclusion(trial.trial_id, verdict.problem or "no score")
        for trial, verdict in sorted(verdicts, key=lambda item: id_key(item[0].trial_id))
        if verdict.value is None
    )
    ranked = sorted(
        (
            Candidate(trial, verdict.value, verdict.report)
            for trial, verdict in verdicts
            if verdict.value is not None and verdict.report is not None
        ),
        key=lambda candidate: candidate.rank(objective),
    )
    if not ranked:
        raise _nothing_to_select(excluded)
    winner = ranked[0]
    rivals = [one for one in ranked if one.ran_to_end or not winner.ran_to_end]
    runner_up = rivals[1] if len(rivals) > 1 else None
    checkpoint, note = _choose_checkpoint(
        winner, objective, lambda item: exists(results.resolve(item))
    )
    replica = _best_replica(winner, checkpoint, objective)
    trial = winner.trial
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
        excluded=excluded,
        unfinished=len(ranked) - len(rivals),
    )


def write_selection(path: Path, selection: Selection) -> None:
    """Write a selection as JSON."""
    document = encode_json(dataclasses.asdict(selection))
    write_atomically(path, json.dumps(document, indent=2) + "\n")


def load_selection(path: Path) -> Selection:
    """Read what `write_selection` wrote.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        document = decode_json(json.loads(path.read_text(encoding="utf-8")))
        excluded = tuple(Exclusion(**item) for item in document.pop("excluded"))
        return Selection(**document, excluded=excluded)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is no selection: {error}") from error


def check_metric(results: SweepResults, metric: str) -> None:
    """Check that a run has reported a metric, or nothing yet.

    Raises:
        UserError: the trials reported other metrics only.
    """
    names = {name for trial in results.trials for report in trial.reports for name in report}
    names = {name for name in names if not name.startswith("replica/")}
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
    winner: Candidate, objective: Objective, exists: Callable[[TrialCheckpoint], bool]
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


def _best_replica(
    winner: Candidate, checkpoint: TrialCheckpoint | None, objective: Objective
) -> int:
    row = winner.row
    made = None if checkpoint is None else iteration_of(checkpoint.metrics)
    if made is not None:
        row = next((item for item in winner.trial.reports if iteration_of(item) == made), row)
    values = row.get(f"replica/{objective.metric}")
    if not isinstance(values, Sequence) or isinstance(values, str):
        return 0
    # A diverged replica is recorded with a substitute value; it is chosen only if all diverged.
    diverged = row.get("replica/diverged") or ()
    merits = [
        (
            not (index < len(diverged) and diverged[index]),
            objective.merit(value if isinstance(value, int | float) else None),
        )
        for index, value in enumerate(values)
    ]
    return merits.index(max(merits)) if merits else 0
