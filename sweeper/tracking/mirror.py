"""Compare one MLflow run with the journal: what it has, and what is still to be written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.journal import (
    Event,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
)
from sweeper.metrics import ENV_STEPS, Objective, is_of_evaluation
from sweeper.results.scoring import env_steps_of, iteration_of
from sweeper.states import Stage, TrialState
from sweeper.tracking.curves import Row, RowReader, final_metrics
from sweeper.tracking.naming import clip_tag, describe_parameters, describe_value
from sweeper.tracking.progress import Cost, MetricValue
from sweeper.tracking.trial_page import TrialPage, trial_name

__all__ = ["EVENTS_TAG", "LAST_TAG", "NOTE_TAG", "STATE_TAG", "RunMirror", "env_steps", "to_ms"]

EVENTS_TAG = "sweeper.events"
LAST_TAG = "sweeper.last_event"
STATE_TAG = "sweeper.state"
NOTE_TAG = "mlflow.note.content"  # the description

_MAX_STEP = 2**62

# Pruning is no failure; the tag `STATE_TAG` tells pruned trials from others.
_STATUS = {
    TrialState.TERMINATED: "FINISHED",
    TrialState.PRUNED: "FINISHED",
    TrialState.ERROR: "FAILED",
    TrialState.PAUSED: "KILLED",
}


@dataclass
class RunMirror:
    """The parent run or a trial's run, fed with its events from the journal.

    The tag `EVENTS_TAG` counts the run's events that MLflow has, and `LAST_TAG` names the last of
    them. So another process can continue the record, and reading the same journal again adds
    nothing. Where the journal is not the one that was counted, because lines of it were lost or
    an older copy was put back, what MLflow has is compared step by step.

    Attributes:
        name: shown by MLflow.
        objective: what ranks the trials; None for the sweep's own run.
        sweep: the run's name, for the commands on a trial's page.
        read_log: the last lines of a trial's log, for a failed one's page.
        run_id: None until the run is created.
        status: in MLflow, as far as known.
        tags: in MLflow, as far as known.
        written: how many of the run's events MLflow has.
        last: the last of them.
        seen: how many events were fed.
        new_params: not yet written, like ``new_tags`` and ``new_metrics``.
        forced: those of ``new_metrics`` that are written although their step has a value.
        new_finals: numbers that are no curves, with their time. They are at step 0, which MLflow
            draws as bars; the newest is shown.
        derived: metrics that come from other runs' events, and so are not counted with this
            run's.
        wanted: the status that the run should have.
        present: of metrics in MLflow by name, the newest value and time of each step, as far as
            they were looked up; None if no other process can have written any.
    """

    name: str
    objective: Objective | None = None
    sweep: str = ""
    read_log: Callable[[str], str] = field(default=lambda _: "", repr=False)
    run_id: str | None = None
    status: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    written: int = 0
    last: str = ""
    seen: int = 0

    new_params: dict[str, str] = field(default_factory=dict)
    new_tags: dict[str, str] = field(default_factory=dict)
    new_metrics: list[MetricValue] = field(default_factory=list)
    forced: set[MetricValue] = field(default_factory=set)
    new_finals: dict[str, tuple[float, int]] = field(default_factory=dict)
    derived: list[MetricValue] = field(default_factory=list)
    present: dict[str, dict[int, tuple[float, int]]] | None = None
    wanted: str | None = None
    end_ms: int | None = None
    start_ms: int = 0

    state: str = TrialState.PENDING
    last_report: TrialReported | None = None
    is_confirmation: bool = False
    trial_id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    _reader: RowReader = field(default_factory=RowReader)
    _of: str = ""
    score: Mapping[str, float] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    _seen_last: str = ""
    _retries: int = 0
    _changes: dict[str, Any] = field(default_factory=dict)
    _seeds: tuple[int, ...] = ()
    # How far the rows in MLflow go: by iterations, and by env steps once it has copied another
    # trial, whose iterations it then goes on from.
    _position: float = -math.inf
    _highest_steps: float = -math.inf
    _has_copied: bool = False
    # What MLflow shows as the last report's evaluation; None if it may be from before a rollback.
    _shown: Mapping[str, float] | None = None
    # Positions at which MLflow shows the evaluation that wound the trial up.
    _wound_up: set[float] = field(default_factory=set)

    def feed(self, event: Event, *, keep_metrics: bool = True) -> bool:
        """Apply the run's next event.

        Args:
            event: in the journal's order, from the first on.
            keep_metrics: False to follow the state only; the event then counts as unwritten.

        Returns:
            Whether the event needs writing.
        """
        self.seen += 1
        if not self.start_ms or (self.run_id is None and isinstance(event, TrialStarted)):
            self.start_ms = to_ms(event.time)
        self._take(event, keep_metrics)
        self._seen_last = f"{event.kind} {event.time!r}"
        if self.seen < self.written:
            return False  # whether MLflow has it shows when all that it counted was read
        if self.seen == self.written:
            if self.last in ("", self._seen_last):  # records of earlier versions don't name it
                self.forget_pending()
                return False
            self.written = 0  # it counted another journal's events
        if keep_metrics:
            self._count()
        # A trial becomes an MLflow run when a worker starts it.
        return not isinstance(event, TrialAsked)

    def note_end(self) -> bool:
        """The journal was read to its end; returns whether MLflow has counted more of it."""
        if not 0 < self.seen < self.written:
            return False
        self.written = 0
        self._count()
        return True

    def _count(self) -> None:
        self.new_tags[EVENTS_TAG], self.new_tags[LAST_TAG] = str(self.seen), self._seen_last

    def forget_pending(self) -> None:
        """Discard what is pending: it is written, or never will be."""
        self.new_params, self.new_tags, self.new_metrics, self.forced = {}, {}, [], set()
        self.new_finals = {}

    def note_written(self) -> None:
        """What was pending is in MLflow now."""
        self.forget_pending()
        self.derived = []

    def rename(self, *, is_champion: bool) -> str | None:
        """The name that a trial's run should have; None if it has it, or its user's own."""
        if not self.trial_id or self.run_id is None:
            return None
        wanted = trial_name(self.trial_id, self.parameters, self._of, is_champion=is_champion)
        now = self.tags.get("mlflow.runName", self.name)
        is_ours = now.split(" ")[0] == self.trial_id
        return wanted if is_ours and now != wanted else None

    @property
    def pending_names(self) -> set[str]:
        """The names of all metrics that are pending."""
        return {metric[0] for metric in (*self.new_metrics, *self.derived)} | set(self.new_finals)

    def missing_metrics(self) -> list[MetricValue]:
        """The pending metrics that MLflow lacks, by what is known of it; each step has one value.

        Where an evaluation replaces another one of the same step, both are in MLflow.
        """
        if self.present is None:
            finals = [(name, *value, 0) for name, value in self.new_finals.items()]
            return [*self.new_metrics, *self.derived, *finals]
        missing = []
        for metric in (*self.new_metrics, *self.derived):
            name, value, stamp, step = metric
            found = self.present.setdefault(name, {}).get(step)
            if found is None or (metric in self.forced and found != (value, stamp)):
                missing.append(metric)
                self.present[name][step] = value, stamp
        return missing + self._missing_finals(self.present)

    def _missing_finals(
        self, present: dict[str, dict[int, tuple[float, int]]]
    ) -> list[MetricValue]:
        missing = []
        for name, (value, stamp) in self.new_finals.items():
            steps = present.setdefault(name, {})
            step = max(steps, default=0)
            if step in steps:  # MLflow shows the value of the largest step, then time
                shown, when = steps[step]
                if shown == value or (math.isnan(shown) and math.isnan(value)):
                    continue
                stamp = max(stamp, when + 1)
            steps[step] = value, stamp
            missing.append((name, value, stamp, step))
        return missing

    def changed_tags(self) -> dict[str, str]:
        """The pending tags that differ from MLflow's."""
        return {name: text for name, text in self.new_tags.items() if self.tags.get(name) != text}

    def _take(self, event: Event, keep_metrics: bool) -> None:
        match event:
            case LaunchStarted() | TrialStarted():
                self._set_state(TrialState.RUNNING, "RUNNING", None)
                if isinstance(event, LaunchStarted) and event.changes:
                    self._changes.update(event.changes)  # MLflow's parameters can't change
                    self.new_tags["sweeper.changes"] = describe_value(self._changes)
            case LaunchEnded():
                # `Record` sets the status, which depends on all trials.
                self.new_tags[STATE_TAG], self.end_ms = event.reason, to_ms(event.time)
            case TrialAsked():
                self._seeds = event.seeds
                self.trial_id, self.parameters, self._of = (
                    event.trial_id,
                    event.parameters,
                    event.of,
                )
                self.new_params.update(describe_parameters(event.configuration))
                self.new_tags["sweeper.seeds"] = describe_value(event.seeds)
                self.new_tags["sweeper.stage"] = event.stage
                self.is_confirmation = event.stage is Stage.CONFIRMATION
                if event.of:
                    self.new_tags["sweeper.of"] = event.of
                self.name = trial_name(event.trial_id, event.parameters, event.of)
                ranked = None if self.is_confirmation else self.objective
                self._reader = RowReader(ranked, event.seeds)
            case TrialReported():
                self._take_report(event, keep_metrics)
            case TrialCheckpointed():
                self.new_tags["sweeper.checkpoint"] = event.path
            case TrialRetried():
                self._retries += 1
                self.new_tags["sweeper.retries"] = str(self._retries)
                self.new_tags["sweeper.error"] = clip_tag(event.error)
            case TrialEnded():
                self._take_end(event, keep_metrics)

    def _take_report(self, event: TrialReported, keep_metrics: bool) -> None:
        causes = event.metrics.get("replica/diverged_because") or ()
        if (cause := next(filter(None, causes), None)) is not None:
            self.new_tags["sweeper.diverged_because"] = clip_tag(str(cause))
        decision = event.decision or {}
        if decision.get("rung") is not None:
            self.new_tags["sweeper.rung"] = str(decision["rung"])
        self.last_report = event
        self._take_values(event, keep_metrics)
        if decision.get("action") == "copy":
            # A tag, because parameters can't be written twice.
            self.new_tags["sweeper.exchange"] = clip_tag(str(decision.get("reason")))
            self._has_copied, self._position = True, self._highest_steps
            self._wound_up.clear()

    def _take_values(self, event: TrialReported, keep_metrics: bool) -> None:
        row = self._reader.read(event.metrics)
        steps = env_steps_of(event.metrics)
        position = steps if self._has_copied else iteration_of(event.metrics)
        is_forced = False
        if position is not None and position <= self._position:
            # MLflow can't replace a value, and two at one step draw a comb. So the first values
            # of a step that is trained again after a rollback stay. Only where an evaluation
            # wound the trial up, the newest value must be the one that the results keep.
            if event.replaces:
                self._wound_up.add(position)
            else:
                self._shown = None
                if position not in self._wound_up:
                    return
                if row.shown:
                    self._wound_up.discard(position)
            values = {} if row.shown == self._shown else self._evaluation_of(row, event)
            is_forced = True
        else:
            if position is not None:
                self._position = position
                self._highest_steps = max(self._highest_steps, steps or 0)
            # What decides comes first: a run's table of metrics has the order of their writing.
            ranks_now = not self._is_ranked_by_evaluation
            values = dict(self._take_score(event)) if ranks_now else {}
            values |= self._reader.without_settings(row.training)
            # An evaluation is logged when it is made. What carries it forward is logged only if
            # MLflow shows another one, as it may after a rollback.
            if row.is_new or row.shown != self._shown:
                values = self._evaluation_of(row, event) | values
        self._shown = row.shown
        if keep_metrics:
            self._add_metrics(event, values)
            if is_forced:
                self.forced.update(self.new_metrics[len(self.new_metrics) - len(values) :])

    @property
    def _is_ranked_by_evaluation(self) -> bool:
        objective = self._reader.objective
        return objective is not None and is_of_evaluation(objective.metric)

    def _evaluation_of(self, row: Row, event: TrialReported) -> dict[str, float]:
        score = self._take_score(event) if self._is_ranked_by_evaluation else {}
        return {**score, **row.evaluation}

    def _take_score(self, event: TrialReported) -> Mapping[str, float]:
        score = self._reader.take(event.metrics)
        self.score = score or self.score
        return score

    def _take_end(self, event: TrialEnded, keep_metrics: bool) -> None:
        self._set_state(event.state, _STATUS.get(event.state, "FAILED"), to_ms(event.time))
        self.new_tags["sweeper.reason"] = clip_tag(event.reason)
        if event.error:
            self.new_tags["sweeper.error"] = clip_tag(event.error)
        if keep_metrics:
            self.new_tags[NOTE_TAG] = clip_tag(self._describe(event))
        if self.last_report:
            self.cost = Cost.of(self.last_report.metrics, len(self._seeds))
            if keep_metrics:
                stamp = to_ms(self.last_report.time)
                finals = final_metrics(self.last_report.metrics, self._seeds)
                self.new_finals = {name: (value, stamp) for name, value in finals.items()}
            # Keep little: there may be thousands of ended trials.
            steps = {ENV_STEPS: env_steps(self.last_report.metrics)}
            self.last_report = replace(self.last_report, metrics=steps)

    def _describe(self, event: TrialEnded) -> str:
        last = self.last_report
        page = TrialPage(
            trial_id=event.trial_id,
            sweep=self.sweep,
            parameters=self.parameters,
            end=event,
            of=self._of,
            metric=None if self._reader.objective is None else self._reader.objective.metric,
            score=self.score,
            env_steps=None if last is None else env_steps(last.metrics),
            replicas=len(self._seeds),
            log=self.read_log(event.trial_id) if event.state is TrialState.ERROR else "",
        )
        return page.to_markdown()

    def _add_metrics(self, report: TrialReported, values: Mapping[str, float]) -> None:
        stamp, step = to_ms(report.time), env_steps(report.metrics)
        self.new_metrics += [(name, value, stamp, step) for name, value in values.items()]

    def _set_state(self, state: str, status: str, end_ms: int | None) -> None:
        self.state, self.wanted, self.end_ms = state, status, end_ms
        self.new_tags[STATE_TAG] = state

    def interrupt(self, reason: str, now_ms: int) -> None:
        """End a run that has no end in the journal; it can resume from its checkpoint."""
        self._set_state(TrialState.PAUSED, "KILLED", now_ms)
        self.new_tags["sweeper.reason"] = clip_tag(reason)


def env_steps(row: Mapping[str, Any]) -> int:
    """A row's step in MLflow, whose databases hold 64 bits; 0 if it has none."""
    return int(min(max(env_steps_of(row) or 0, 0), _MAX_STEP))


def to_ms(seconds: float) -> int:
    """Convert seconds since the epoch to MLflow's unit."""
    return int(seconds * 1000)
