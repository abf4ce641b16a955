"""What a run came to, as data: one record a trial, with all its reports; tables of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sweeper.json_values import to_json
from sweeper.metrics import ENV_STEPS, Objective
from sweeper.results.scoring import Score, env_steps_of, metric_value, score_reports
from sweeper.states import LaunchEnd, TrialState

__all__ = [
    "SweepResults",
    "TrialCheckpoint",
    "TrialRecord",
    "describe_error",
    "judge_trial",
]


class TrialCheckpoint(NamedTuple):
    """A checkpoint as recorded; it may have been deleted since.

    Attributes:
        path: relative to the run folder with forward slashes, or absolute.
        metrics: the scalar metrics of the report it belongs to; empty where that is not known.
    """

    path: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class TrialRecord:
    """One trial: what it was, how far it came, how it ended.

    Attributes:
        trial_id: e.g. ``t0007``.
        state: where it stands.
        reason: what ended or interrupted it; None while it goes on.
        error: for ``ERROR`` the exception's last line.
        configuration: the whole point of the param space, nested.
        parameters: the part of it that the search varies, nested.
        seeds: one a replica.
        reports: flat rows of metrics, in the order of training.
        checkpoints: in the order they were made.
        log: what its process printed; None where that is not kept.
        node: where it ran last.
        started: when it was first taken up, seconds since the epoch.
        ended: when it was last heard of, if it does not run any more.
        retries: how often it failed and went on.
    """

    trial_id: str
    state: TrialState
    reason: str | None = None
    error: str | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    reports: tuple[Mapping[str, Any], ...] = ()
    checkpoints: tuple[TrialCheckpoint, ...] = ()
    log: Path | None = None
    node: str | None = None
    started: float | None = None
    ended: float | None = None
    retries: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", TrialState(self.state))

    @property
    def last_report(self) -> Mapping[str, Any]:
        """The last row of metrics; empty before the first."""
        return self.reports[-1] if self.reports else {}

    @property
    def env_steps(self) -> int | None:
        """Real env steps a replica, by the last report."""
        steps = env_steps_of(self.last_report)
        return None if steps is None or not math.isfinite(steps) else int(steps)

    @property
    def time_total_s(self) -> float | None:
        """Seconds of training, by the last report."""
        return metric_value(self.last_report, "time_total_s")


@dataclass(frozen=True)
class SweepResults:
    """All trials of a run, in the order they were asked for.

    Attributes:
        root: the run's folder.
        trials: one record a trial.
        is_live: a process is carrying the run out right now.
        ended_by: how the last launch ended (``finished``, ``interrupted``, …); None if it is
            live or was killed.
        started: time of the first event, seconds since the epoch.
        updated: time of the last event.
    """

    root: Path
    trials: tuple[TrialRecord, ...]
    is_live: bool = False
    ended_by: str | None = None
    started: float | None = None
    updated: float | None = None

    @property
    def state(self) -> str:
        """``running``, ``interrupted``, or the reason that the last launch ended for."""
        if self.is_live:
            return "running"
        return self.ended_by or LaunchEnd.INTERRUPTED

    def trial(self, trial_id: str) -> TrialRecord:
        """The record of one trial.

        Raises:
            KeyError: there is no such trial.
        """
        for record in self.trials:
            if record.trial_id == trial_id:
                return record
        raise KeyError(trial_id)

    def counts(self) -> dict[TrialState, int]:
        """How many trials are in each state, states without any left out."""
        counts = dict.fromkeys(TrialState, 0)
        for record in self.trials:
            counts[record.state] += 1
        return {state: count for state, count in counts.items() if count}

    def resolve(self, checkpoint: TrialCheckpoint) -> Path:
        """The absolute folder of a checkpoint."""
        return self.root / checkpoint.path

    def to_rows(self, objective: Objective) -> list[dict[str, Any]]:
        """One JSON-ready object a trial, as ``results --json`` prints them.

        Non-finite numbers become the strings ``nan``, ``inf``, ``-inf``; a trial without a
        score has null.
        """
        return [
            {
                "trial_id": record.trial_id,
                "state": record.state,
                "configuration": to_json(record.configuration),
                "score": judge_trial(record, objective).value,
                ENV_STEPS: record.env_steps,
                "time_total_s": to_json(record.time_total_s),
                "error": describe_error(record),
                "log": None if record.log is None else str(record.log),
            }
            for record in self.trials
        ]


def judge_trial(record: TrialRecord, objective: Objective) -> Score:
    """The score that a trial's reports earn; one in error has none, whatever it reported."""
    if record.state is TrialState.ERROR:
        return Score(None, problem=f"error: {describe_error(record)}")
    return score_reports(record.reports, objective)


def describe_error(record: TrialRecord) -> str | None:
    """Why a trial is in error, in a line; None for any other state."""
    if record.state is not TrialState.ERROR:
        return None
    return ": ".join(part for part in (record.reason, record.error) if part) or "unknown"
