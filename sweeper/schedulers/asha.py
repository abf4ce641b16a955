"""Asynchronous successive halving (ASHA), as Tune's `AsyncHyperBandScheduler` decides.

Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020: at each rung the
best 1/reduction_factor of the trials that have come there so far go on. Nobody waits: a trial is
compared with those before it, the first one with none. A value exactly equal to the cut-off goes
on.

It differs from Tune's class in two points. Tune compares a trial that passes two rungs with one
report at the upper one, and with its next report at the lower one; here it is compared at the
upper one only (see `sweeper.schedulers.rungs`). Tune draws a trial's bracket from numpy's global
generator; here it follows from the trial's id, so that a later launch draws the same.
"""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence

from sweeper.metrics import Objective
from sweeper.schedulers.base import CONTINUE, Action, Decision, Report, Scheduler
from sweeper.schedulers.rungs import Ladder, Rung, expected_passes, first_rung, spaced
from sweeper.schedulers.words import compare, join_steps

__all__ = ["AshaScheduler", "HalvingScheduler"]


class HalvingScheduler(Scheduler):
    """Ladders of rungs, each trial on one of them; at a rung a quota goes on.

    The last report of a trial that met a criterion of its own counts at the last rung that it
    reached, as in Tune: others are compared with it. It does not count at rungs beyond, although it
    might have done well there. A trial that fails stays where it came to.

    Args:
        objective: whose values are compared.
        max_t: env steps of a whole trial.
        reduction_factor: one in so many trials goes on.
        ladders: the env steps of the rungs of each ladder; a ladder may have none.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        max_t: int,
        reduction_factor: float,
        ladders: Sequence[tuple[int, ...]],
    ) -> None:
        super().__init__(objective)
        self.max_t, self.reduction_factor = max_t, reduction_factor
        self.ladders = tuple(Ladder(steps) for steps in ladders)
        self._chosen: dict[str, Ladder] = {}

    @abstractmethod
    def choose_ladder(self, trial_id: str) -> int:
        """Which ladder a new trial is put on, by its index; asked once, in order of appearance."""

    @abstractmethod
    def ladder_shares(self) -> tuple[float, ...]:
        """How the trials spread over the ladders, on average; sums to 1."""

    @property
    def rung_env_steps(self) -> tuple[int, ...]:
        """The env steps of all rungs, ascending."""
        return tuple(sorted({rung.env_steps for one in self.ladders for rung in one.rungs}))

    def on_report(self, report: Report) -> Decision:
        """Compare the report at the rung that it has reached, if there is a new one."""
        rung = self._due(report)
        if rung is None or report.value is None:
            return CONTINUE
        objective = self.objective
        cutoff = rung.quantile(1 - 1 / self.reduction_factor)
        merit = objective.merit(report.value)
        rung.record(report.trial_id, merit)
        if cutoff is None:
            return Decision(Action.CONTINUE, f"the first at rung {rung.number}", rung.number)
        words = f"{compare(merit, cutoff, objective)}, the cut-off of rung {rung.number}"
        action = Action.STOP if merit < cutoff else Action.CONTINUE
        return Decision(action, words, rung.number)

    def on_final_report(self, report: Report) -> None:
        """Let others be compared with a trial that has ended by itself."""
        rung = self._due(report)
        if rung is not None and report.value is not None:
            rung.record(report.trial_id, self.objective.merit(report.value))

    def expected_share(self, trials: int) -> float | None:
        """By the quota at each rung, if values come in random order."""
        spent = 0.0
        for ladder, arrivals in self._expected_arrivals(trials):
            before = 0
            ends = [*(rung.env_steps for rung in ladder.rungs), self.max_t]
            for number, end in zip(arrivals, ends, strict=True):
                spent += number * (end - before)
                before = end
        return min(1.0, spent / (trials * self.max_t)) if trials else 1.0

    def expected_ends(self, trials: int) -> float | None:
        """By the quota at each rung, if values come in random order."""
        return sum(arrivals[-1] for _, arrivals in self._expected_arrivals(trials))

    def _expected_arrivals(self, trials: int) -> Iterator[tuple[Ladder, list[float]]]:
        """How many trials come to each rung of each ladder, and to the end."""
        for ladder, part in zip(self.ladders, self.ladder_shares(), strict=True):
            arrivals = [trials * part]
            for _ in ladder.rungs:
                arrivals.append(expected_passes(arrivals[-1], 1 / self.reduction_factor))
            yield ladder, arrivals

    def _due(self, report: Report) -> Rung | None:
        trial_id = report.trial_id
        if trial_id not in self._chosen:
            self._chosen[trial_id] = self.ladders[self.choose_ladder(trial_id)]
        if report.value is None:
            return None
        return self._chosen[trial_id].due(trial_id, report.env_steps)


class AshaScheduler(HalvingScheduler):
    """Rungs at ``grace_period * reduction_factor**k`` below ``max_t``.

    Args:
        objective: whose values are compared.
        max_t: env steps of a whole trial.
        grace_period: the first rung; by default 30 % of ``max_t``.
        reduction_factor: one in so many trials passes a rung; the next is so many times further.
        brackets: ladders, each with its first rung where the one before has its second. Trials
            are spread over them as in Tune: each further ladder gets a share smaller by e.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        max_t: int,
        grace_period: int | None = None,
        reduction_factor: float = 4,
        brackets: int = 1,
    ) -> None:
        first = first_rung(max_t) if grace_period is None else grace_period
        ladders = [
            spaced(first * reduction_factor**skipped, reduction_factor, below=max_t)
            for skipped in range(brackets)
        ]
        super().__init__(objective, max_t=max_t, reduction_factor=reduction_factor, ladders=ladders)

    def choose_ladder(self, trial_id: str) -> int:
        """Draw it with a generator of the trial's own."""
        if len(self.ladders) == 1:
            return 0
        chances = self.ladder_shares()
        generator = random.Random(f"asha bracket of {trial_id}")  # noqa: S311
        return generator.choices(range(len(chances)), weights=chances)[0]

    def ladder_shares(self) -> tuple[float, ...]:
        """Tune's: in proportion to e to the number of rungs."""
        weights = [math.exp(len(one.rungs) - len(self.ladders[0].rungs)) for one in self.ladders]
        return tuple(weight / sum(weights) for weight in weights)

    def describe(self) -> str:
        """Where the rungs are, and who goes on."""
        if not self.rung_env_steps:
            return "asha stops no trial: its first rung would lie at a trial's end"
        begun = "" if len(self.ladders) == 1 else f", over {len(self.ladders)} brackets"
        return (
            f"asha stops trials at {join_steps(self.rung_env_steps)} env steps a replica{begun}: "
            f"the best 1 in {self.reduction_factor:g} of those that came there go on"
        )
