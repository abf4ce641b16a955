"""The median stopping rule, as Tune's `MedianStoppingRule` decides with ``hard_stop``.

Golovin et al., "Google Vizier", KDD 2017: a trial ends if its best value so far is worse than the
median of the other trials' running means up to the same env steps. Only trials that have trained at
least as long count, and only what they reported from the grace period on.

It differs from Tune's class in three points. A trial never yields its place to another while too
few are there to compare with. The last report of a trial that was stopped counts once, not twice.
A trial that trains again after a rollback counts with its newer reports alone, as in the results.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from sweeper.metrics import Objective
from sweeper.schedulers.base import CONTINUE, Action, Decision, Report, Scheduler
from sweeper.schedulers.words import compare

__all__ = ["MedianScheduler"]


@dataclass
class _Curve:
    """What a trial has reported: env steps, ascending, and merits.

    Attributes:
        env_steps: of every report with a value.
        merits: the values, signed so that more is better.
        best: the best of the merits up to each.
        sums: of the merits up to each, from the grace period on.
        early: how many lie before the grace period.
    """

    env_steps: list[int] = field(default_factory=list)
    merits: list[float] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    sums: list[float] = field(default_factory=list)
    early: int = 0

    def add(self, env_steps: int, merit: float, grace_period: int) -> None:
        """Add a report; those at the same env steps or later are void."""
        kept = bisect_left(self.env_steps, env_steps)
        for values in (self.env_steps, self.merits, self.best, self.sums):
            del values[kept:]
        self.early = bisect_left(self.env_steps, grace_period)
        is_early = env_steps < grace_period
        self.early += is_early
        self.best.append(max(merit, self.best[-1]) if self.best else merit)
        self.sums.append((self.sums[-1] if self.sums else 0.0) + (0.0 if is_early else merit))
        self.env_steps.append(env_steps)
        self.merits.append(merit)

    def running_mean(self, env_steps: int) -> float | None:
        """The mean up to some env steps; None if it has not come so far, or had no value there."""
        if self.env_steps[-1] < env_steps:
            return None
        end = bisect_right(self.env_steps, env_steps)
        return self.sums[end - 1] / (end - self.early) if end > self.early else None


class MedianScheduler(Scheduler):
    """Stops a trial whose best value is worse than the median of the others' running means.

    Args:
        objective: whose values are compared.
        grace_period: env steps before a trial can be stopped.
        min_samples_required: so many other trials must have come as far.
        min_time_slice: must be 0: trials never yield.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        grace_period: int,
        min_samples_required: int = 3,
        min_time_slice: int = 0,
    ) -> None:
        super().__init__(objective)
        if min_time_slice:
            raise ValueError("min_time_slice: trials never yield here")
        self.grace_period, self.min_samples_required = grace_period, min_samples_required
        self._curves: dict[str, _Curve] = {}

    @property
    def rung_env_steps(self) -> tuple[int, ...]:
        """Where trials are compared first."""
        return (self.grace_period,)

    def on_report(self, report: Report) -> Decision:
        """Compare the trial's best value with the others, from the grace period on."""
        if report.value is None:
            return CONTINUE
        self._add(report, report.value)
        if report.env_steps < self.grace_period:
            return CONTINUE
        means = [
            mean
            for trial_id, curve in self._curves.items()
            if trial_id != report.trial_id
            and (mean := curve.running_mean(report.env_steps)) is not None
        ]
        if len(means) < self.min_samples_required:
            return CONTINUE
        median, best = statistics.median(means), self._curves[report.trial_id].best[-1]
        if best >= median:
            return CONTINUE
        words = compare(best, median, self.objective)
        others = f"the median of {len(means)} trials' running means"
        return Decision(Action.STOP, f"its best, {words}, {others}")

    def on_final_report(self, report: Report) -> None:
        """Let others be compared with a trial that has ended by itself."""
        if report.value is not None:
            self._add(report, report.value)

    def describe(self) -> str:
        """Who is stopped, and from when on."""
        return (
            f"median stops a trial from {self.grace_period:,} env steps a replica on, if its best "
            "value is worse than the median of the running means of at least "
            f"{self.min_samples_required} others"
        )

    def _add(self, report: Report, value: float) -> None:
        curve = self._curves.setdefault(report.trial_id, _Curve())
        curve.add(report.env_steps, self.objective.merit(value), self.grace_period)
