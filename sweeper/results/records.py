"""The results of a run as data: one record per trial, with all its reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.formatting import count_noun
from sweeper.journal import ConfirmationPlanned
from sweeper.json_values import to_json
from sweeper.metrics import ENV_STEPS, Objective
from sweeper.origin import Origin
from sweeper.printable import printable
from sweeper.results.exchanges import Exchange, TrialCheckpoint
from sweeper.results.scoring import Score, env_steps_of, finite_value, score_reports
from sweeper.states import LaunchEnd, Stage, TrialState

__all__ = [
    "Launch",
    "SweepResults",
    "TrialCheckpoint",
    "TrialRecord",
    "count_states",
    "describe_divergence",
    "describe_error",
    "describe_pruning",
    "judge_trial",
    "last_number",
]


@dataclass(frozen=True)
class TrialRecord:
    """One trial: its configuration, its progress, how it ended.

    Attributes:
        trial_id: e.g. ``t0007``.
        reason: what ended or interrupted it; None while it runs.
        error: for ``ERROR`` the exception's last line.
        configuration: the whole point of the param space, nested.
        parameters: the part of it that the search varies, nested.
        seeds: one per replica.
        reports: flat rows of metrics, in the order of training.
        checkpoints: in the order they were made.
        log: the output of its process; None where that is not kept.
        node: where it ran last.
        started: when it first started, in seconds since the epoch.
        ended: time of its last event, if it no longer runs.
        retries: how often it failed and was resumed.
        stage: what it is trained for.
        of: in the confirmation, whom it trains again: a trial's id, or ``baseline``.
        known: what the search knew when it chose the configuration, as in `TrialAsked`.
        is_outdated: whether the confirmation has since been planned under another rule.
        rung: the last one at which a scheduler compared it, from 1; None: at none.
        exchanges: how often, and when, it took over another trial's weights.
        is_copying: whether it has no checkpoint of its own since the last exchange, and so would
            go on from its donor's.
        waits_since: since when it lets other trials of its population go first.
        is_asked: whether its configuration is known; False where the journal has lost the line.
    """

    trial_id: str
    state: TrialState
    reason: str | None = None
    error: str | None = None
    configuration: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    reports: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    checkpoints: tuple[TrialCheckpoint, ...] = field(default=(), repr=False)
    log: Path | None = None
    node: str | None = None
    started: float | None = None
    ended: float | None = None
    retries: int = 0
    stage: Stage = Stage.SEARCH
    of: str = ""
    known: int | None = None
    is_outdated: bool = False
    rung: int | None = None
    exchanges: tuple[Exchange, ...] = ()
    is_copying: bool = False
    waits_since: float | None = None
    is_asked: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", TrialState(self.state))

    @property
    def last_report(self) -> Mapping[str, Any]:
        """The last row of metrics; empty before the first."""
        return self.reports[-1] if self.reports else {}

    @property
    def env_steps(self) -> int | None:
        """Env steps per replica, by the last report."""
        steps = env_steps_of(self.last_report)
        return None if steps is None else int(steps)

    def parameters_at(self, report: int) -> Mapping[str, Any]:
        """What the search, or an exchange, had chosen when the trial made a report, by index.

        -1: what the search chose, before the first.
        """
        for exchange in self.exchanges:
            if report < exchange.first_report:
                return exchange.replaced
        return self.parameters

    @property
    def trained_exchanges(self) -> tuple[Exchange, ...]:
        """The exchanges that it has trained since; all but, at most, the last one."""
        is_untried = self.is_copying and len(self.reports) <= self.exchanges[-1].first_report
        return self.exchanges[:-1] if is_untried else self.exchanges

    @property
    def origin(self) -> Exchange | None:
        """The exchange that the trial goes on from; None if from a checkpoint of its own."""
        return self.exchanges[-1] if self.is_copying else None

    @property
    def diverged(self) -> int:
        """How many replicas are frozen because they diverged, by the last report."""
        return sum(map(bool, self.last_report.get("replica/diverged") or ()))

    @property
    def diverged_because(self) -> str | None:
        """Why the first of them did, where something else than the training is to blame."""
        causes = self.last_report.get("replica/diverged_because") or ()
        return next((str(cause) for cause in causes if cause), None)

    @property
    def time_total_s(self) -> float | None:
        """Seconds of training, by the last report; None if it has no finite number of them."""
        return finite_value(self.last_report, "time_total_s")


@dataclass(frozen=True)
class Launch:
    """One launch of a run.

    Attributes:
        started: in seconds since the epoch, by the driver's clock.
        updated: time of its last event.
        environment: what it trained in, an `EnvironmentIdentity` as JSON; empty in journals of
            earlier versions.
        environment_changes: how that differs from the launch before, where the user allowed it.
    """

    started: float
    updated: float
    environment: Mapping[str, Any] = field(default_factory=dict)
    environment_changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SweepResults:
    """All trials of a run.

    Attributes:
        root: the run's folder.
        trials: those of the search, in the order they were proposed.
        is_live: whether a driver is running them.
        ended_by: how the last launch ended (``finished``, ``interrupted``, …); None if it is
            live or was killed.
        started: time of the first event, seconds since the epoch.
        updated: time of the last event.
        retrained: the trials of the confirmation, in the order they were begun.
        confirmation: whom it trains again, on what; None before it is planned.
        launches: in their order.
        origin: the weights that its trials began with; None: random ones.
    """

    root: Path
    trials: tuple[TrialRecord, ...]
    is_live: bool = False
    ended_by: str | None = None
    started: float | None = None
    updated: float | None = None
    retrained: tuple[TrialRecord, ...] = ()
    confirmation: ConfirmationPlanned | None = None
    launches: tuple[Launch, ...] = ()
    origin: Origin | None = None

    def __repr__(self) -> str:
        """A line: its trials may be thousands."""
        number = count_noun(len(self.trials), "trial")
        return f"<SweepResults {printable(self.root.name)}: {self.state}, {number}>"

    @property
    def state(self) -> str:
        """``running``, ``interrupted``, or why the last launch ended."""
        if self.is_live:
            return "running"
        return self.ended_by or LaunchEnd.INTERRUPTED

    def trial(self, trial_id: str) -> TrialRecord:
        """The record of one trial, of either stage.

        Raises:
            KeyError: there is no such trial.
        """
        for record in (*self.trials, *self.retrained):
            if record.trial_id == trial_id:
                return record
        raise KeyError(trial_id)

    def counts(self) -> dict[TrialState, int]:
        """How many of the search's trials are in each state; states without one are left out."""
        return count_states(self.trials)

    @property
    def searched(self) -> tuple[Mapping[str, Any], ...]:
        """What the search chose for its trials, in the order in which they were asked for."""
        return tuple(record.parameters_at(-1) for record in self.trials)

    @property
    def known(self) -> tuple[int | None, ...]:
        """What the search knew when it chose each of them."""
        return tuple(record.known for record in self.trials)

    def resolve(self, checkpoint: TrialCheckpoint) -> Path:
        """The absolute folder of a checkpoint."""
        return self.root / checkpoint.path

    def to_rows(self, objective: Objective) -> list[dict[str, Any]]:
        """One JSON-ready object per trial, as ``results --json`` prints them."""
        return [
            {
                "trial_id": record.trial_id,
                **({"of": record.of, "seeds": list(record.seeds)} if record.of else {}),
                "state": record.state,
                "reason": record.reason,
                "rung": record.rung,
                "configuration": to_json(record.configuration),
                "score": judge_trial(record, objective).value,
                "diverged": record.diverged,
                ENV_STEPS: record.env_steps,
                "time_total_s": record.time_total_s,
                "error": describe_error(record) or record.error,
                "log": None if record.log is None else str(record.log),
            }
            for record in self.trials
        ]


def count_states(records: Iterable[TrialRecord]) -> dict[TrialState, int]:
    """How many trials are in each state; states without one are left out."""
    counts = Counter(record.state for record in records)
    return {state: counts[state] for state in TrialState if counts[state]}


def judge_trial(record: TrialRecord, objective: Objective) -> Score:
    """The score of a trial's reports.

    A trial in error has none, whatever it reported, and neither has one of which nobody knows
    what was trained.
    """
    if not record.is_asked:
        return Score(None, problem="its configuration is lost: that line of the journal is missing")
    if record.state is TrialState.ERROR:
        return Score(None, problem=f"error: {describe_error(record)}")
    return score_reports(record.reports, objective)


def last_number(records: Iterable[TrialRecord]) -> int:
    """The highest number in the ids of one stage's trials; 0 without any."""
    return max((int(record.trial_id[1:]) for record in records), default=0)


def describe_divergence(record: TrialRecord) -> str | None:
    """How many replicas of a trial are frozen, and why, in one line; None if none is."""
    if not record.diverged:
        return None
    seeds = len(record.seeds) or len(record.last_report["replica/diverged"])
    verb = "is" if record.diverged == 1 else "are"
    cause = record.diverged_because or "weights or loss not finite"
    return f"{record.diverged} of {count_noun(seeds, 'replica')} {verb} frozen: {cause}"


def describe_pruning(record: TrialRecord) -> str | None:
    """``pruned at 30,000 env steps: 41.2 < 120.5, …``, in one line; None for any other state."""
    if record.state is not TrialState.PRUNED:
        return None
    where = "" if record.env_steps is None else f" at {record.env_steps:,} env steps"
    return f"pruned{where}: {record.reason or 'stopped by the scheduler'}"


def describe_error(record: TrialRecord) -> str | None:
    """Why a trial is in error, in one line; None for any other state."""
    if record.state is not TrialState.ERROR:
        return None
    return ": ".join(part for part in (record.reason, record.error) if part) or "unknown"
