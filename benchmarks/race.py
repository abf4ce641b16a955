"""A scheduler that was tried: a trial ends when its replicas are worse than another's beyond doubt.

It found less than ASHA for the same env steps (`docs/choosing.md`), so sweeper does not have it.

ASHA keeps a quota, whatever the noise: among equally good trials it stops most of them, and among
many bad ones it keeps some. Here, at each rung, a trial is held against every trial that came
there before, by Welch's t-test (one-sided, unequal variances) over the replicas' values. It ends
if one of them is better at a level that the number of comparisons makes strict.

**One level for the whole sweep.** ``alpha`` bounds the chance that the sweep stops a trial that is
in truth as good as every other at each rung, the best one above all. There are ``rungs`` rungs, and
at each it is compared with the m trials before it, so each comparison is made at
``alpha / (rungs * m)`` (Bonferroni's bound over its own comparisons). Others' comparisons do not
count: they can't stop it.

The test takes replicas' values for about normal. With values that are either success or failure
it is too sure when all replicas of a trial fail alike: five of five do so by chance in 13 % of
cases where one in three succeeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy.special import stdtr

from sweeper.formatting import format_number
from sweeper.metrics import Objective
from sweeper.schedulers.base import CONTINUE, Action, Decision, Report, Scheduler
from sweeper.schedulers.rungs import Ladder, Rung, first_rung, spaced

__all__ = ["RaceScheduler", "ReplicaReport", "Sample", "welch_p"]


@dataclass(frozen=True)
class ReplicaReport(Report):
    """A report that has the values of the replicas, too.

    Attributes:
        replicas: one value per seed; empty where the trial has none yet.
    """

    replicas: tuple[float, ...] = ()


class RaceScheduler(Scheduler):
    """At each rung, stops the trials that are worse than another there beyond doubt.

    A trial whose replicas' values are not all there, or that has a single replica, is withheld: it
    is neither stopped nor compared with.

    Args:
        objective: whose values are compared.
        max_t: env steps of a whole trial.
        grace_period: the first rung; by default 30 % of ``max_t``.
        reduction_factor: the next rung is so many times further.
        alpha: the chance, over the whole sweep, to stop a trial that is as good as any.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        max_t: int,
        grace_period: int | None = None,
        reduction_factor: float = 2,
        alpha: float = 0.05,
    ) -> None:
        super().__init__(objective)
        first = first_rung(max_t) if grace_period is None else grace_period
        self.alpha = alpha
        self.ladder = Ladder(spaced(first, reduction_factor, below=max_t))
        self._samples: dict[int, dict[str, Sample]] = {
            rung.number: {} for rung in self.ladder.rungs
        }

    @property
    def rung_env_steps(self) -> tuple[int, ...]:
        """The env steps of all rungs, ascending."""
        return tuple(rung.env_steps for rung in self.ladder.rungs)

    def on_report(self, report: Report) -> Decision:
        """Hold the trial against those that came to the rung before it."""
        if not isinstance(report, ReplicaReport) or (rung := self._due(report)) is None:
            return CONTINUE
        others = dict(self._samples[rung.number])
        mine = self._record(report, rung)
        if not others:
            return Decision(Action.CONTINUE, f"the first at rung {rung.number}", rung.number)
        level = self.alpha / (len(self.ladder.rungs) * len(others))
        p, rival = min((welch_p(mine, theirs), name) for name, theirs in others.items())
        is_worse = p < level
        sign = 1 if self.objective.mode == "max" else -1
        means = [format_number(sign * one.mean) for one in (mine, others[rival])]
        words = (
            f"{means[0]} against {means[1]} of {rival} at rung {rung.number}, "
            f"p {p:.2g} {'<' if is_worse else '>='} {level:.2g}"
        )
        action = Action.STOP if is_worse else Action.CONTINUE
        return Decision(action, words, rung.number)

    def on_final_report(self, report: Report) -> None:
        """Let others be compared with a trial that has ended by itself."""
        if isinstance(report, ReplicaReport) and (rung := self._due(report)) is not None:
            self._record(report, rung)

    def _due(self, report: ReplicaReport) -> Rung | None:
        if len(report.replicas) < 2:
            return None
        return self.ladder.due(report.trial_id, report.env_steps)

    def _record(self, report: ReplicaReport, rung: Rung) -> Sample:
        sample = Sample.of([self.objective.merit(value) for value in report.replicas])
        rung.record(report.trial_id, sample.mean)
        self._samples[rung.number][report.trial_id] = sample
        return sample


class Sample(NamedTuple):
    """The values of a trial's replicas in short.

    Attributes:
        number: at least 2.
        mean: of the values.
        squared_error: of the mean: the values' variance by their number.
    """

    number: int
    mean: float
    squared_error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Sample:
        """Sum up some values."""
        number = len(values)
        mean = math.fsum(values) / number
        squares = math.fsum((value - mean) ** 2 for value in values)
        return cls(number, mean, squares / (number - 1) / number)


def welch_p(mine: Sample, theirs: Sample) -> float:
    """The p-value that the mean behind ``mine`` is not below the one behind ``theirs``.

    Welch's t-test with Satterthwaite's degrees of freedom, one-sided. Values that do not vary at
    all leave no doubt: 0 if mine are lower, else 1.
    """
    gap, total = mine.mean - theirs.mean, mine.squared_error + theirs.squared_error
    if total <= 0 or not math.isfinite(total):
        return 0.0 if gap < 0 and total <= 0 else 1.0
    parts = [(one.squared_error / total) ** 2 / (one.number - 1) for one in (mine, theirs)]
    return float(stdtr(1 / sum(parts), gap / math.sqrt(total)))
