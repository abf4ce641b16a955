"""What a search algorithm and a scheduler learn of a run: earlier launches first, then this one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sweeper.journal import (
    Event,
    LaunchStarted,
    TrialAsked,
    TrialCheckpointed,
    TrialEnded,
    TrialReported,
    TrialRetried,
    TrialStarted,
    read_journal,
)
from sweeper.metrics import Objective
from sweeper.paths import RunPaths
from sweeper.results.builder import ResultsBuilder
from sweeper.results.observing import observe_trial
from sweeper.results.scoring import env_steps_of, metric_value
from sweeper.schedulers.base import Action, Decision, Report, Scheduler
from sweeper.search.base import SearchAlgorithm
from sweeper.states import Stage

__all__ = ["Learners", "report_to", "scheduler_report"]


@dataclass
class Learners:
    """The two that learn from trials; a journal listener while a launch goes on.

    Only trials of the search count. A scheduler hears of this launch's reports from Tune's adapter
    instead, before they are recorded, since it decides on each; but of those with which a trial
    met a criterion of its own it hears from here.

    Args:
        search: chooses configurations.
        scheduler: decides which trials go on.
        objective: whose values both go by.
        results: the state of the run, already updated with each event.
    """

    search: SearchAlgorithm
    scheduler: Scheduler
    objective: Objective
    results: ResultsBuilder
    _parameters: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _running: set[str] = field(default_factory=set)

    def replay(self, paths: RunPaths, continued: Iterable[str] = ()) -> None:
        """Learn from everything that earlier launches recorded.

        Args:
            paths: of the run.
            continued: trials that go on in this launch.
        """
        if self.search.learns and self.search.follows_order:
            self._tell_in_order(paths)
        elif self.search.learns:
            for trial_id in self.results.trial_ids:
                self._tell(trial_id)
        if self.scheduler.remembers:
            launches = _find_started(paths)
            for event in read_journal(paths.journal):
                if isinstance(event, LaunchStarted):
                    self._rest(sorted(self._running))
                    self._reopen(launches.pop(0))
                if isinstance(event, TrialReported) and self._is_decided_on(event):
                    report = replace(self._report(event), is_copyable=_recall_copy(event))
                    self.scheduler.on_report(report)
                self._note(event)
            self._reopen(continued)

    def __call__(self, event: Event) -> None:
        """Learn from an event of this launch."""
        if isinstance(event, TrialReported | TrialEnded) and self.search.learns:
            self._tell(event.trial_id)
        if self.scheduler.remembers:
            self._note(event)

    def _reopen(self, trial_ids: Iterable[str]) -> None:
        for trial_id in trial_ids:
            if self._is_searched(trial_id):
                self.scheduler.on_reopen(trial_id)

    def _is_decided_on(self, event: TrialReported) -> bool:
        """Whether the scheduler was asked: not where the trial had met a criterion of its own."""
        return not (event.stopped_by or event.replaces) and self._is_searched(event.trial_id)

    def _note(self, event: Event) -> None:
        """Have the scheduler learn from an event all but the reports that it decides on."""
        self._note_parameters(event)
        self._note_worker(event)
        self._note_end(event)
        if isinstance(event, TrialReported):
            self._note_copy(event)

    def _note_worker(self, event: Event) -> None:
        """Take in whether a trial has a worker."""
        if isinstance(event, TrialStarted) and self._is_searched(event.trial_id):
            self._running.add(event.trial_id)
            self.scheduler.on_start(event.trial_id)
        elif isinstance(event, TrialEnded):
            self._running.discard(event.trial_id)
        elif isinstance(event, TrialRetried) or (
            isinstance(event, TrialReported) and _gives_up_worker(event)
        ):
            self._rest([event.trial_id])

    def _rest(self, trial_ids: Iterable[str]) -> None:
        for trial_id in trial_ids:
            if trial_id in self._running:
                self._running.discard(trial_id)
                self.scheduler.on_rest(trial_id)

    def _note_end(self, event: Event) -> None:
        if isinstance(event, TrialReported) and event.stopped_by:
            if self._is_searched(event.trial_id):
                self.scheduler.on_final_report(self._report(event))
        elif isinstance(event, TrialEnded) and self._is_searched(event.trial_id):
            self.scheduler.on_end(event.trial_id, event.state)
        elif isinstance(event, TrialCheckpointed) and self._is_searched(event.trial_id):
            env_steps = env_steps_of(event.metrics)
            if env_steps is not None:
                self.scheduler.on_checkpoint(event.trial_id, int(env_steps))

    def _note_parameters(self, event: Event) -> None:
        if isinstance(event, TrialAsked):
            self._parameters[event.trial_id] = event.parameters

    def _note_copy(self, event: TrialReported) -> None:
        """Take in the parameters of a copy; the report itself belongs to the former ones."""
        decision = event.decision or {}
        if decision.get("action") == Action.COPY.value:
            self._parameters[event.trial_id] = decision.get("parameters") or {}

    def _report(self, event: TrialReported) -> Report:
        parameters = self._parameters.get(event.trial_id, {})
        return scheduler_report(event.trial_id, event.metrics, parameters, self.objective)

    def _tell(self, trial_id: str) -> None:
        if self._is_searched(trial_id):
            self.search.tell(observe_trial(self.results.trial(trial_id), self.objective))

    def _tell_in_order(self, paths: RunPaths) -> None:
        """Tell the search of every report and end, as it was told while the launches went on."""
        then = ResultsBuilder(paths.root)
        for event in read_journal(paths.journal):
            then.apply(event)
            if isinstance(event, TrialReported | TrialEnded) and self._is_searched(event.trial_id):
                self.search.tell(observe_trial(then.trial(event.trial_id), self.objective))

    def _is_searched(self, trial_id: str) -> bool:
        return self.results.trial(trial_id).stage is Stage.SEARCH


def _gives_up_worker(event: TrialReported) -> bool:
    """Whether the scheduler decided that the trial goes on later, or from another's checkpoint."""
    return (event.decision or {}).get("action") in (Action.COPY.value, Action.PAUSE.value)


def _recall_copy(event: TrialReported) -> Callable[[str, int], bool]:
    """What the scheduler was told when it asked for checkpoints, by what it decided then."""
    decision = event.decision or {}
    copied = (decision.get("donor"), decision.get("donor_env_steps"))
    return lambda trial_id, env_steps: (trial_id, env_steps) == copied


def _find_started(paths: RunPaths) -> list[list[str]]:
    """The trials that each launch began or took up again."""
    launches: list[list[str]] = []
    for event in read_journal(paths.journal):
        if isinstance(event, LaunchStarted):
            launches.append([])
        elif isinstance(event, TrialStarted) and launches:
            launches[-1].append(event.trial_id)
    return launches


def report_to(
    scheduler: Scheduler,
    trial_id: str,
    metrics: Mapping[str, Any],
    objective: Objective,
    parameters: Mapping[str, Any] | None = None,
    *,
    is_copyable: Callable[[str, int], bool],
) -> Decision:
    """Hand a scheduler a report as it is recorded, diverged replicas already corrected.

    Args:
        scheduler: decides on it.
        trial_id: whose report it is.
        metrics: the flat row.
        objective: whose values the scheduler goes by.
        parameters: what the search chose, nested.
        is_copyable: as in `Report`.
    """
    report = scheduler_report(trial_id, metrics, parameters or {}, objective)
    return scheduler.on_report(replace(report, is_copyable=is_copyable))


def scheduler_report(
    trial_id: str, metrics: Mapping[str, Any], parameters: Mapping[str, Any], objective: Objective
) -> Report:
    """A flat row of metrics as schedulers see it."""
    return Report(
        trial_id=trial_id,
        env_steps=int(env_steps_of(metrics) or 0),
        value=_finite(metric_value(metrics, objective.metric)),
        parameters=parameters,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
