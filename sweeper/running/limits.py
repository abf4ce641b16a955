"""What ends a launch before its trials do: stop requests, budgets, a full disk.

An orderly end is a *drain*: every running trial is paused at its next report, which saves it, and
no other is started. Once none runs, the experiment stops. Budgets that count trials only close the
queue: running trials go on to their own end.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.formatting import format_duration
from sweeper.journal import Event, TrialCheckpointed, TrialEnded, TrialReported, TrialStarted
from sweeper.metrics import Objective
from sweeper.paths import RunPaths
from sweeper.results.builder import ResultsBuilder
from sweeper.results.exchanges import count_env_steps
from sweeper.results.records import SweepResults, TrialRecord, judge_trial
from sweeper.running.drain import Drain
from sweeper.spec.sections import Budget
from sweeper.states import LaunchEnd, TrialState

__all__ = ["Limits", "Usage"]

_logger = logging.getLogger(__name__)

_TICK_S = 0.5
_DISK_EVERY_S = 5.0
# Room for checkpoints being written and for MLflow's database.
_MIN_FREE_BYTES = 512 * 2**20
_MIN_FREE_PART = 0.02
# A trial is reported as silent after this or ten times the longest silence, whichever is longer.
_SILENCE_S = 300.0


class Usage:
    """What the trials have used of a search's budgets, over all launches.

    Attributes:
        env_steps: of all trials and replicas together.
        without_improvement: trials in a row that ended without a new best score. A pruned trial
            has none: what it had reached by then says little of the score at the end.
    """

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._env_steps: dict[str, int] = {}
        self._taken: dict[str, int] = {}
        self._best = -math.inf
        self.env_steps = 0
        self.without_improvement = 0

    @classmethod
    def of(cls, results: SweepResults, objective: Objective) -> Usage:
        """What a run's trials have used so far."""
        usage = cls(objective)
        for record in results.trials:
            usage.count_exchanges(record)
            is_tried = record.trained_exchanges == record.exchanges
            last = record.last_report if is_tried else record.exchanges[-1].donor_report
            if last:
                usage.count_report(record.trial_id, last)
        ended = [record for record in results.trials if record.state.has_succeeded]
        for record in sorted(ended, key=lambda record: record.ended or 0.0):
            usage.count_end(record)
        return usage

    def count_report(self, trial_id: str, report: Mapping[str, Any]) -> None:
        """Count a trial's env steps; after a rollback they are fewer than before.

        Those that it took over with another trial's weights count for the latter.
        """
        steps = count_env_steps(report) - self._taken.get(trial_id, 0)
        self.env_steps += steps - self._env_steps.get(trial_id, 0)
        self._env_steps[trial_id] = steps

    def count_exchanges(self, record: TrialRecord) -> None:
        """Take in that a trial goes on from another's weights."""
        self._taken[record.trial_id] = sum(one.taken_env_steps for one in record.exchanges)

    def count_end(self, record: TrialRecord) -> None:
        """Count a trial that ended without a failure."""
        merit = self._objective.merit(judge_trial(record, self._objective).value)
        if record.state is TrialState.TERMINATED and merit > self._best:
            self._best = merit
            self.without_improvement = 0
        else:
            self.without_improvement += 1


@dataclass
class Limits:
    """A journal listener that counts what a launch uses, and ends it when a limit is reached.

    Listening only counts; `tick`, which the driver's loop calls often, acts.

    Args:
        results: the state of the run, already updated with each event.
        objective: decides what an improvement is.
        budget: the bounds of the search; its time is the drain's deadline.
        timeout_s: how long a trial may report nothing before it is ended; None: for ever.
        drain: receives the request to end the launch.
    """

    paths: RunPaths
    results: ResultsBuilder
    objective: Objective
    budget: Budget
    timeout_s: float | None
    drain: Drain
    _heard: dict[str, float] = field(default_factory=dict)
    _longest_silence: float = 0.0
    _called_silent: set[str] = field(default_factory=set)
    _ticked: float = 0.0
    _disk_seen: float = 0.0

    def __post_init__(self) -> None:
        self._usage = Usage(self.objective)

    def catch_up(self, results: SweepResults) -> None:
        """Count what earlier launches used."""
        self._usage = Usage.of(results, self.objective)

    def __call__(self, event: Event) -> None:
        """Count what the event means, without acting on it."""
        now = time.monotonic()
        if isinstance(event, TrialReported):
            self._usage.count_report(event.trial_id, event.metrics)
            if event.decision is not None:
                self._usage.count_exchanges(self.results.trial(event.trial_id))
        if isinstance(event, TrialEnded):
            self._heard.pop(event.trial_id, None)
            self._called_silent.discard(event.trial_id)
            if event.state.has_succeeded:
                self._usage.count_end(self.results.trial(event.trial_id))
        elif isinstance(event, TrialStarted | TrialReported | TrialCheckpointed):
            before = self._heard.get(event.trial_id)
            if before is not None:
                self._longest_silence = max(self._longest_silence, now - before)
            self._heard[event.trial_id] = now
            self._called_silent.discard(event.trial_id)

    def tick(
        self, *, close_queue: Callable[[LaunchEnd], None], end_trial: Callable[[str], None]
    ) -> None:
        """Act on limits that are reached; cheap enough for every turn of a loop."""
        now = time.monotonic()
        if now - self._ticked < _TICK_S:
            return
        self._ticked = now
        if self.paths.stop_request.exists() and self.drain.reason is None:
            self.drain.request(LaunchEnd.INTERRUPTED)
            _logger.warning("a stop was requested: %s", self.drain.describe())
        budget = self.budget
        if budget.env_steps is not None and self._usage.env_steps >= budget.env_steps:
            self.drain.request(LaunchEnd.BUDGET_ENV_STEPS)
        patience = budget.no_improvement_trials
        if patience is not None and self._usage.without_improvement >= patience:
            close_queue(LaunchEnd.BUDGET_NO_IMPROVEMENT)
        self._check_disk(now)
        self._check_silence(now, end_trial)

    def _check_disk(self, now: float) -> None:
        if now - self._disk_seen < _DISK_EVERY_S:
            return
        self._disk_seen = now
        usage = shutil.disk_usage(self.paths.root)
        if usage.free < min(_MIN_FREE_BYTES, _MIN_FREE_PART * usage.total):
            self.drain.request(LaunchEnd.DISK_FULL)

    def _check_silence(self, now: float, end_trial: Callable[[str], None]) -> None:
        timeout_s = self.timeout_s
        long_s = max(_SILENCE_S, 10 * self._longest_silence)
        for trial_id in sorted(self._heard.keys() & self.drain.running):
            silent_s = now - self._heard[trial_id]
            if timeout_s is not None and silent_s >= timeout_s:
                self._heard[trial_id] = now
                end_trial(trial_id)
            elif silent_s >= long_s and trial_id not in self._called_silent:
                self._called_silent.add(trial_id)
                _logger.warning(
                    "%s has reported nothing for %s; its log: %s",
                    trial_id,
                    format_duration(silent_s),
                    self.paths.trial_log(trial_id),
                )
