"""Build a run's results from its journal, all at once or event by event."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweeper.journal import (
    ConfirmationPlanned,
    Event,
    LaunchEnded,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialEvent,
    TrialReported,
    TrialRetried,
    TrialStarted,
    read_journal,
)
from sweeper.locks import is_locked
from sweeper.origin import Origin
from sweeper.paths import RunPaths
from sweeper.results.exchanges import Exchange, read_exchange, replace_parameters
from sweeper.results.records import Launch, SweepResults, TrialCheckpoint, TrialRecord
from sweeper.results.scoring import env_steps_of, iteration_of
from sweeper.states import LaunchEnd, Stage, TrialState

__all__ = ["ResultsBuilder", "is_process_alive", "load_results", "results_from_events"]


@dataclass
class _OpenTrial:
    """A trial whose record is being built: it lacks what grows with every report.

    Reports and checkpoints of a rollback replace earlier ones, but none of those from before the
    last exchange: there the iterations are another trial's. `settled` counts them.
    """

    begun: TrialRecord
    changes: dict[str, Any] = field(default_factory=dict)
    reports: list[Mapping[str, Any]] = field(default_factory=list)
    checkpoints: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    stopped_by: str | None = None
    pruned_because: str | None = None
    updated: float | None = None
    settled: tuple[int, int] = (0, 0)

    @property
    def record(self) -> TrialRecord:
        """The record so far."""
        if self.changes:
            self.begun, self.changes = replace(self.begun, **self.changes), {}
        return self.begun

    def change(self, **fields: Any) -> None:
        """Set fields of the record; the copy that this takes is made once for several events."""
        self.changes.update(fields)

    def freeze(self, **fields: Any) -> TrialRecord:
        """The record with further fields, which are no part of what is being built."""
        return replace(self.begun, **{**self.changes, **fields})

    @property
    def end(self) -> tuple[TrialState, str] | None:
        """How its last report says that it is over, and why; None if it goes on."""
        if self.stopped_by:
            return TrialState.TERMINATED, self.stopped_by
        return (TrialState.PRUNED, self.pruned_because) if self.pruned_because else None

    def copy(self, exchange: Exchange) -> None:
        """Go on from another trial's checkpoint, with other values."""
        while self.reports and (env_steps_of(self.reports[-1]) or 0) > exchange.donor_env_steps:
            self.reports.pop()
        self.settled = len(self.reports), len(self.checkpoints)
        exchange = replace(exchange, first_report=len(self.reports))
        old = self.record
        configuration = replace_parameters(old.configuration, old.parameters, exchange.parameters)
        self.change(configuration=configuration, parameters=exchange.parameters)
        self.change(exchanges=(*old.exchanges, exchange), is_copying=True)
        self.change(state=TrialState.PENDING)

    def reopen(self) -> None:
        """Forget what the last report said of its end: the trial goes on all the same."""
        self.stopped_by = self.pruned_because = None

    def cut_off(self) -> None:
        """Set how the trial ended; its driver has gone without writing that."""
        end = self.end
        if end is not None:
            self.change(state=end[0], reason=end[1])
        else:
            self.change(state=TrialState.PAUSED, reason=LaunchEnd.INTERRUPTED)


class ResultsBuilder:
    """Builds results from events, one at a time, so that a live view can follow a run.

    `apply` takes constant time; `snapshot` rebuilds only the records that have changed.

    Attributes:
        launch: the last launch, if it has not written its end.
        confirmation: whom the confirmation trains again; None before it is planned.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root or Path()
        self._trials: dict[str, _OpenTrial] = {}
        self._records: dict[str, TrialRecord] = {}
        self._open: set[str] = set()
        self.launch: LaunchStarted | None = None
        self.confirmation: ConfirmationPlanned | None = None
        self._ended_by: str | None = None
        self._origin: Origin | None = None
        self._started: float | None = None
        self._updated: float | None = None
        self._launches: list[tuple[LaunchStarted, float]] = []

    @property
    def trial_ids(self) -> tuple[str, ...]:
        """Every trial that an event has named, of either stage, in order of appearance."""
        return tuple(self._trials)

    def apply(self, event: Event) -> None:
        """Add the next event."""
        self._started = event.time if self._started is None else self._started
        self._updated = event.time
        if isinstance(event, TrialEvent):
            self._apply_to_trial(event.trial_id, event)
        elif isinstance(event, LaunchStarted):
            self._cut_off_open_trials()
            self.launch, self._ended_by = event, None
            self._launches.append((event, event.time))
            self._origin = Origin.from_json(event.origin) or self._origin
        elif isinstance(event, ConfirmationPlanned):
            self._plan_confirmation(event)
        elif isinstance(event, LaunchEnded):
            self._cut_off_open_trials()
            self.launch, self._ended_by = None, event.reason
        if self._launches:
            self._launches[-1] = (self._launches[-1][0], event.time)

    def trial(self, trial_id: str) -> TrialRecord:
        """The current record of one trial, taking the run as live.

        Raises:
            KeyError: no event has named the trial.
        """
        record = self._records.get(trial_id)
        if record is None:
            record = self._records[trial_id] = self._freeze(trial_id)
        return record

    def snapshot(self, *, is_live: bool = True) -> SweepResults:
        """The results so far.

        Args:
            is_live: whether the driver still runs; if not, open trials are interrupted.
        """
        live = is_live and self.launch is not None
        if not live:
            self._cut_off_open_trials()
        records = [self.trial(trial_id) for trial_id in self._trials]
        return SweepResults(
            root=self._root,
            trials=tuple(one for one in records if one.stage is Stage.SEARCH),
            retrained=tuple(one for one in records if one.stage is Stage.CONFIRMATION),
            confirmation=self.confirmation,
            origin=self._origin,
            is_live=live,
            ended_by=self._ended_by,
            started=self._started,
            updated=self._updated,
            launches=tuple(
                Launch(one.time, updated, one.environment, one.environment_changes)
                for one, updated in self._launches
            ),
        )

    def _apply_to_trial(self, trial_id: str, event: TrialEvent) -> None:
        trial = self._trials.get(trial_id)
        if trial is None:
            log = RunPaths(self._root).trial_log(trial_id)
            is_search = trial_id.startswith("t")
            stage = Stage.SEARCH if is_search else Stage.CONFIRMATION
            record = TrialRecord(trial_id, TrialState.PENDING, log=log, stage=stage, is_asked=False)
            trial = self._trials[trial_id] = _OpenTrial(record)
        self._records.pop(trial_id, None)
        match event:
            case TrialReported():
                _append_report(trial, event)
                self._apply_decision(trial, event)
            case TrialCheckpointed():
                # Written again after a crash: it is the newest now.
                trial.checkpoints.pop(event.path, None)
                trial.checkpoints[event.path] = event.metrics
                if trial.record.is_copying:
                    trial.change(is_copying=False)
            case TrialAsked():
                trial.change(
                    configuration=event.configuration,
                    parameters=event.parameters,
                    seeds=event.seeds,
                    stage=event.stage,
                    of=event.of,
                    known=event.known,
                    is_asked=True,
                )
                self._open.add(trial_id)
            case TrialStarted():
                first = event.time if trial.record.started is None else trial.record.started
                trial.change(
                    state=TrialState.RUNNING,
                    reason=None,
                    error=None,
                    node=event.node,
                    started=first,
                    waits_since=None,
                )
                trial.reopen()
                self._open.add(trial_id)
            case TrialRetried():
                # Pending until it is started again. Even if its last report met a stop criterion,
                # it failed after that.
                trial.change(state=TrialState.PENDING, retries=trial.record.retries + 1)
                trial.reopen()
            case TrialEnded():
                trial.change(state=event.state, reason=event.reason, error=event.error)
                self._open.discard(trial_id)
        trial.updated = event.time

    def _plan_confirmation(self, event: ConfirmationPlanned) -> None:
        before, self.confirmation = self.confirmation, event
        if before is None or (before.stop, before.episodes) == (event.stop, event.episodes):
            return
        for trial_id, trial in self._trials.items():
            if trial.record.stage is Stage.CONFIRMATION:
                trial.change(is_outdated=True)
                self._records.pop(trial_id, None)

    def _apply_decision(self, trial: _OpenTrial, event: TrialReported) -> None:
        decision = event.decision or {}
        if decision.get("rung") is not None:
            trial.change(rung=decision["rung"])
        donor = self._trials.get(str(decision.get("donor")))
        if donor is not None:
            exchange = read_exchange(
                event,
                parameters=trial.record.parameters,
                donor_parameters=donor.record.parameters,
                donor_reports=donor.reports,
                donor_checkpoints=donor.checkpoints,
                donor_exchanges=len(donor.record.exchanges),
            )
            if exchange is not None:
                trial.copy(exchange)
        if decision.get("action") in ("copy", "pause"):
            trial.change(waits_since=event.time)
        if decision.get("action") == "pause":
            trial.change(state=TrialState.PAUSED, reason=str(decision.get("reason")))

    def _cut_off_open_trials(self) -> None:
        for trial_id in self._open:
            self._trials[trial_id].cut_off()
            self._records.pop(trial_id, None)
        self._open.clear()

    def _freeze(self, trial_id: str) -> TrialRecord:
        trial = self._trials[trial_id]
        is_open, end = trial_id in self._open, trial.end
        ends = {"state": end[0], "reason": end[1]} if is_open and end is not None else {}
        return trial.freeze(
            **ends,
            reports=tuple(trial.reports),
            checkpoints=tuple(TrialCheckpoint(*item) for item in trial.checkpoints.items()),
            ended=None if is_open else trial.updated,
        )


def load_results(paths: RunPaths) -> SweepResults:
    """Load the results of a run, live or not, from its journal alone.

    Damaged lines are skipped with a warning.

    Raises:
        JournalError: the journal is missing.
    """
    return results_from_events(read_journal(paths.journal, strict=False), paths.root)


def results_from_events(events: Iterable[Event], root: Path) -> SweepResults:
    """Build results from events; the run is live if its last launch's driver is."""
    builder = ResultsBuilder(root)
    with _collector_paused():
        for event in events:
            builder.apply(event)
    launch = builder.launch
    return builder.snapshot(is_live=launch is not None and _is_driver_alive(launch, root))


def _is_driver_alive(launch: LaunchStarted, root: Path) -> bool:
    """Whether the driver of a launch that has written no end still runs."""
    locked = is_locked(RunPaths(root).lock)
    if locked is not None:
        return locked
    # Without locks the process id must do, which means something on its own host only.
    is_here = launch.host in ("", socket.gethostname())
    return is_here and is_process_alive(launch.pid, started_before=launch.time)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which would walk all rows again and again.

    Nothing here makes cycles. It takes a quarter of the time on a journal of 50,000 reports.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def is_process_alive(pid: int, *, started_before: float) -> bool:
    """Whether the process that had an id on this host at a given time still runs.

    Args:
        pid: the process id.
        started_before: that time, in seconds since the epoch; a process that started later has
            reused the id.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except PermissionError:
        pass
    try:
        # proc(5): state and start time (in clock ticks since boot) are fields 3 and 22; field 2,
        # the name, may hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
        age_s = uptime_s - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return True  # no /proc: there is only the id to judge by
    # A minute of tolerance, because the clock may have been set in between.
    return fields[0] not in ("Z", "X") and time.time() - age_s <= started_before + 60.0


def _append_report(trial: _OpenTrial, event: TrialReported) -> None:
    """Add a report; after a rollback it replaces those of the same iteration and later."""
    _roll_back_exchange(trial, event.metrics)
    iteration = iteration_of(event.metrics)
    is_first = len(trial.reports) <= trial.settled[0]
    last = None if is_first else iteration_of(trial.reports[-1])
    if iteration is not None and last is not None and last >= iteration:
        if event.replaces and last == iteration:
            trial.reports.pop()  # a checkpoint made after it stays valid
        else:
            _roll_back(trial, iteration)
    trial.reports.append(event.metrics)
    trial.stopped_by, trial.pruned_because = event.stopped_by, event.pruned_because


def _roll_back(trial: _OpenTrial, iteration: float) -> None:
    """Drop the reports and checkpoints that were made at ``iteration`` or later."""
    reports, checkpoints = trial.settled
    while len(trial.reports) > reports and _is_reached(iteration, trial.reports[-1]):
        trial.reports.pop()
    while len(trial.checkpoints) > checkpoints and _is_reached(
        iteration, next(reversed(trial.checkpoints.values()))
    ):
        trial.checkpoints.popitem()


def _roll_back_exchange(trial: _OpenTrial, metrics: Mapping[str, Any]) -> None:
    """Drop reports from before an exchange whose checkpoint was lost: the trial redoes them."""
    steps, (reports, checkpoints) = env_steps_of(metrics), trial.settled
    if not reports or steps is None or (env_steps_of(trial.reports[reports - 1]) or 0) < steps:
        return
    while trial.reports and (env_steps_of(trial.reports[-1]) or 0) >= steps:
        trial.reports.pop()
    trial.settled = len(trial.reports), checkpoints


def _is_reached(iteration: float, metrics: Mapping[str, Any]) -> bool:
    made_at = iteration_of(metrics)
    return made_at is not None and made_at >= iteration
