"""A sweep over a table of real results, in env steps instead of time, without Ray.

The search algorithm and the scheduler are the project's own, behind the same two ports and told
the same as in a real sweep: every report with its env steps and the objective's value, and how each
trial ended. Only training is replaced by reading the table.

A search algorithm proposes any point of the param space. The simulated trial is then the nearest
configuration of the table that no trial has had yet, and the search algorithm is told of that one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from race import ReplicaReport
from result_table import ResultTable

from sweeper.metrics import ENV_STEPS, Objective
from sweeper.results.observing import observe_trial
from sweeper.results.ranking import Candidate
from sweeper.results.records import TrialRecord, judge_trial
from sweeper.running.learners import scheduler_report
from sweeper.schedulers.base import Action, Scheduler
from sweeper.search.base import SearchAlgorithm
from sweeper.states import TrialState

__all__ = ["Sweep", "simulate"]


@dataclass(frozen=True)
class Sweep:
    """What a simulated sweep came to.

    Attributes:
        incumbents: the numbers in the table of the configurations that would win after each of
            the budgets. Several have the same score at the same env steps: the project then takes
            the first trial, which is chance. None where no trial has a score yet.
        trials: the configurations in the order of their trials.
        env_steps: of each of these trials, of each replica.
    """

    incumbents: tuple[tuple[int, ...], ...]
    trials: tuple[int, ...]
    env_steps: tuple[int, ...]


@dataclass
class _Trial:
    """A trial that runs.

    Attributes:
        rows: all that it would report.
        evaluations: the env steps of the rows with a new evaluation.
    """

    record: TrialRecord
    rows: Sequence[Mapping[str, Any]]
    evaluations: frozenset[int]
    has_failed: bool

    @property
    def env_steps(self) -> int:
        """Of its last report."""
        return self.record.env_steps or 0

    @property
    def next_env_steps(self) -> int:
        """Of its next report."""
        return int(self.rows[len(self.record.reports)][ENV_STEPS])

    @property
    def is_at_end(self) -> bool:
        """Whether the table has no more of it."""
        return len(self.record.reports) == len(self.rows)

    def advance(self) -> None:
        """Go on to the next report."""
        reports = tuple(self.rows[: len(self.record.reports) + 1])
        self.record = replace(self.record, reports=reports)


@dataclass
class _Sweep:
    table: ResultTable
    search: SearchAlgorithm
    scheduler: Scheduler
    replicas: Sequence[int]
    positions: NDArray[np.float64]
    free: NDArray[np.bool_]
    is_used_up: bool = False
    trials: list[_Trial] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    ranks: dict[int, tuple[float, ...]] = field(default_factory=dict)

    def begin(self) -> _Trial | None:
        """Ask for the next trial; None when the search or the table has no more."""
        if self.is_used_up or not self.free.any():
            return None
        sample = self.search.ask(len(self.trials) + 1)
        if sample is None:
            self.is_used_up = True  # a run does not ask again, either
            return None
        place = self.table.locate(sample.parameters)
        far = np.where(self.free, ((self.positions - place) ** 2).sum(axis=1), math.inf)
        number = int(far.argmin())
        self.free[number] = False
        curve = self.table.curves[number]
        record = TrialRecord(
            trial_id=f"t{len(self.trials) + 1:04d}",
            state=TrialState.RUNNING,
            parameters=curve.parameters,
            configuration=curve.parameters,
            seeds=tuple(self.replicas),
        )
        trial = _Trial(
            record,
            curve.reports(self.replicas, self.table.objective.metric),
            frozenset(curve.env_steps.tolist()),
            curve.has_failed,
        )
        self.trials.append(trial)
        self.numbers.append(number)
        self._tell(trial)  # the search may have proposed another point
        return trial

    def step(self, trial: _Trial) -> bool:
        """Let a trial report once, and say whether it goes on."""
        objective = self.table.objective
        trial.advance()
        record = trial.record
        report = _report(record, objective)
        if trial.is_at_end and trial.has_failed:
            return self._end(trial, TrialState.ERROR)
        if trial.is_at_end:
            self.scheduler.on_final_report(report)
            return self._end(trial, TrialState.TERMINATED)
        if self.scheduler.on_report(report).action is Action.STOP:
            return self._end(trial, TrialState.PRUNED)
        if trial.env_steps in trial.evaluations:
            self._tell(trial)
        return True

    def _end(self, trial: _Trial, state: TrialState) -> bool:
        trial.record = replace(trial.record, state=state)
        self.scheduler.on_end(trial.record.trial_id, state)
        self._tell(trial)
        return False

    def _tell(self, trial: _Trial) -> None:
        objective = self.table.objective
        index = int(trial.record.trial_id[1:]) - 1
        verdict = judge_trial(trial.record, objective)
        self.ranks.pop(index, None)  # one that failed has lost its score
        if verdict.value is not None and verdict.report is not None:
            candidate = Candidate(trial.record, verdict.value, verdict.report)
            # As finalists are chosen: those that ran to their own end come first. Without the id.
            self.ranks[index] = (not candidate.ran_to_end, *candidate.rank(objective)[1:-1])
        if self.search.learns:
            self.search.tell(observe_trial(trial.record, objective))

    def incumbents(self) -> tuple[int, ...]:
        """The configurations that would win if the sweep ended now."""
        best = min(self.ranks.values(), default=None)
        return tuple(self.numbers[index] for index, rank in self.ranks.items() if rank == best)


def _report(record: TrialRecord, objective: Objective) -> ReplicaReport:
    """The last report as schedulers see it, and for a race with the replicas' values."""
    last = record.last_report
    seen = scheduler_report(record.trial_id, last, record.parameters, objective)
    values = tuple(last.get(f"replica/{objective.metric}", ()))
    return ReplicaReport(seen.trial_id, seen.env_steps, seen.value, seen.parameters, values)


def simulate(
    table: ResultTable,
    build_search: Callable[[Objective], SearchAlgorithm],
    build_scheduler: Callable[[Objective], Scheduler],
    *,
    budgets: Sequence[int],
    workers: int = 1,
    replicas: Sequence[int] | None = None,
) -> Sweep:
    """Sweep over a table.

    Args:
        table: what is searched.
        build_search: makes a new search algorithm for an objective.
        build_scheduler: makes a new scheduler for an objective.
        budgets: env steps of one replica of all trials together, increasing; the sweep ends at the
            last, or when the table is used up.
        workers: trials that run at the same time; each takes as long as its env steps.
        replicas: the seeds that the sweep sees; by default all.
    """
    sweep = _Sweep(
        table,
        build_search(table.objective),
        build_scheduler(table.objective),
        tuple(range(table.replicas)) if replicas is None else tuple(replicas),
        table.positions(),
        np.ones(len(table.curves), dtype=bool),
    )
    incumbents: list[tuple[int, ...]] = []
    spent = 0
    # Of reports at the same time the worker decides. [time, worker, trial's index]
    queue: list[tuple[int, int, int]] = []

    def start(now: int, worker: int) -> None:
        trial = sweep.begin()
        if trial is not None:
            heapq.heappush(queue, (now + trial.next_env_steps, worker, len(sweep.trials) - 1))

    for worker in range(workers):
        start(0, worker)
    while queue and len(incumbents) < len(budgets):
        now, worker, index = heapq.heappop(queue)
        trial = sweep.trials[index]
        before = trial.env_steps
        goes_on = sweep.step(trial)
        spent += trial.env_steps - before
        while len(incumbents) < len(budgets) and spent >= budgets[len(incumbents)]:
            incumbents.append(sweep.incumbents())
        if goes_on:
            heapq.heappush(queue, (now + trial.next_env_steps - trial.env_steps, worker, index))
        else:
            start(now, worker)
    if sweep.trials:
        incumbents += [sweep.incumbents()] * (len(budgets) - len(incumbents))
    return Sweep(
        tuple(incumbents), tuple(sweep.numbers), tuple(trial.env_steps for trial in sweep.trials)
    )
