"""Population-based training: bad trials go on from good ones' weights, with other values.

Jaderberg et al. 2017, "Population Based Training of Neural Networks". Tune has a version of its
own; its mutations leave the declared ranges, and it depends on the order of arrival.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sweeper.hints import join_words, show
from sweeper.metrics import Objective
from sweeper.schedulers.base import CONTINUE, Action, Decision, Report, Scheduler
from sweeper.schedulers.mutation import Mutation
from sweeper.search.configuration import find_changes
from sweeper.search.distributions import Path
from sweeper.states import TrialState

__all__ = ["MIN_POPULATION", "PBTScheduler"]

# With fewer, a quarter is no trial at all, and the worst of three is often only unlucky.
MIN_POPULATION = 4
# What is left of a population after failures must still have a middle.
_MIN_COMPARED = 3


@dataclass
class _Member:
    """What is known of a trial.

    Attributes:
        env_steps: at its last report, or of the checkpoint that it has taken over.
        parameters: of its last report.
        scores: its value at the first report at or after each exchange, by the exchange's number.
        reached: the last exchange that it has reached.
        decided: the last exchange that was decided for it.
        saved: env steps of its newest checkpoint; None while it has none of its present weights.
        is_running: whether it has a worker.
        is_over: whether it has ended for good.
    """

    env_steps: int = 0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    scores: dict[int, float] = field(default_factory=dict)
    reached: int = 0
    decided: int = 0
    saved: int | None = None
    is_running: bool = False
    is_over: bool = False

    def value_at(self, exchange: int) -> float | None:
        """The value at the exchange, or at the first later one; None if there is none."""
        later = [number for number in self.scores if number >= exchange]
        return self.scores[min(later)] if later else None


class PBTScheduler(Scheduler):
    """Compares the population at every exchange; the worst trials copy one of the best.

    Exchange k lies at k times ``perturbation_interval`` env steps. Nobody waits for it: a trial is
    compared at its first report at which enough others have reached the exchange, too, by the
    values that all of them had there. An exchange is skipped if that is still not so when the
    trial has gone on to the next but one. Only a checkpoint made at the exchange or later is
    copied, so a trial waits for its donor's to be complete.

    A trial that reaches an exchange pauses while one that is behind has no worker, so that the
    population advances together however few trials run at a time. That may be fewer than was
    planned: of a cluster's workers nobody knows beforehand how many are free.

    Every random choice comes from ``SeedSequence([seed, trial, exchange])``.

    Args:
        objective: what the trials are compared by.
        seed: of the search.
        param_space: nested; leaves are constants or distributions.
        population: how many trials there are in all.
        perturbation_interval: env steps from one exchange to the next.
        burn_in_period: env steps before the first exchange.
        quantile_fraction: the share that copies, and the share that is copied.
        resample_probability: as in `Mutation`.
        perturbation_factors: as in `Mutation`.
        is_held: as in `Mutation`.
        allows: as in `Mutation`.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        seed: int,
        param_space: Mapping[str, Any],
        population: int,
        perturbation_interval: int,
        burn_in_period: int = 0,
        quantile_fraction: float = 0.25,
        resample_probability: float = 0.25,
        perturbation_factors: tuple[float, float] = (1.2, 0.8),
        is_held: Callable[[Path], bool] = lambda _: False,
        allows: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    ) -> None:
        super().__init__(objective)
        self._seed, self._population = seed, population
        self._interval, self._share = perturbation_interval, quantile_fraction
        self._first = max(1, math.ceil(burn_in_period / perturbation_interval))
        self._mutation = Mutation(
            param_space, is_held, resample_probability, perturbation_factors, allows
        )
        self._members: dict[str, _Member] = {}

    def on_report(self, report: Report) -> Decision:
        """Let the trial go on, pause, or copy a better one."""
        before = self._member(report.trial_id).reached
        member = self._take(report)
        exchange = report.env_steps // self._interval
        if exchange < self._first:
            return CONTINUE
        decision = None
        # One that was still open when the trial reached the next; older ones are skipped.
        for number in range(exchange, max(self._first, exchange - 1, member.decided + 1) - 1, -1):
            decision = decision or self._decide(report, number)
        if decision is not None and decision.action is Action.COPY:
            return decision
        if exchange > before and self._is_ahead(exchange):
            where = f"waits at {report.env_steps:,} env steps for the others"
            return Decision(Action.PAUSE, where, rung=exchange)
        return decision or CONTINUE

    def on_final_report(self, report: Report) -> None:
        """Take in the value of a trial that is about to end."""
        self._take(report)

    def on_start(self, trial_id: str) -> None:
        """From now on nobody pauses for the trial."""
        self._member(trial_id).is_running = True

    def on_rest(self, trial_id: str) -> None:
        """From now on those ahead of the trial pause for it."""
        self._member(trial_id).is_running = False

    def on_checkpoint(self, trial_id: str, env_steps: int) -> None:
        """From now on the trial can be copied there."""
        self._member(trial_id).saved = env_steps

    def on_end(self, trial_id: str, state: TrialState) -> None:
        """A trial that has ended is neither compared nor copied."""
        member = self._member(trial_id)
        member.is_over, member.is_running = state.is_over, False

    def expected_share(self, trials: int) -> float | None:  # noqa: ARG002
        """All of them: no trial is stopped."""
        return 1.0

    def expected_ends(self, trials: int) -> float | None:
        """All of them."""
        return trials

    def on_reopen(self, trial_id: str) -> None:
        """From now on the trial is waited for again: the run was extended."""
        if trial_id in self._members:
            self._members[trial_id].is_over = False

    def _member(self, trial_id: str) -> _Member:
        return self._members.setdefault(trial_id, _Member())

    def _take(self, report: Report) -> _Member:
        member = self._member(report.trial_id)
        member.is_over = False
        member.env_steps, member.parameters = report.env_steps, report.parameters
        exchange = report.env_steps // self._interval
        member.reached = max(member.reached, exchange)
        if report.value is not None:
            # After a rollback the trial reports again; what was compared stays.
            member.scores.setdefault(exchange, report.value)
        return member

    def _decide(self, report: Report, exchange: int) -> Decision | None:
        """What becomes of the trial at the exchange; None while that is open."""
        trial_id = report.trial_id
        member = self._members[trial_id]
        values = self._rank(exchange)
        if trial_id not in values:
            return None
        order, own = list(values), values[trial_id]
        count = max(1, int(self._share * len(order)))
        at = f"at {exchange * self._interval:,} env steps"
        rank = f"ranks {len(order) - order.index(trial_id)} of {len(order)} {at}"
        merit = self.objective.merit
        better = [other for other in order[-count:] if merit(values[other]) > merit(own)]
        if trial_id not in order[:count] or not better:
            member.decided = exchange
            return Decision(Action.CONTINUE, rank, rung=exchange)
        saved = {other: self._members[other].saved or 0 for other in better}
        ready = [other for other in better if saved[other] >= exchange * self._interval]
        if not ready:
            return None
        entropy = [self._seed, _number(trial_id), exchange]
        generator = np.random.default_rng(np.random.SeedSequence(entropy))
        donor = _pick(ready, saved, report, generator)
        if donor is None:
            member.decided = exchange
            whose = join_words(ready, "or")
            gone = f"{rank}; no checkpoint of {whose} is whole any more, so nothing is copied"
            return Decision(Action.CONTINUE, gone, rung=exchange)
        given, env_steps = self._members[donor].parameters, saved[donor]
        parameters = self._mutation.mutate(given, generator)
        changes = [
            f"{name} {_show(old)} to {_show(new)}"
            for name, (old, new) in find_changes(given, parameters).items()
        ]
        member.decided = member.reached = max(exchange, env_steps // self._interval)
        member.env_steps, member.saved = env_steps, None
        member.scores = {at: one for at, one in member.scores.items() if at <= member.decided}
        return Decision(
            Action.COPY,
            f"{rank} with {own:.6g}; copies {donor} ({values[donor]:.6g}, its checkpoint at "
            f"{env_steps:,}), {', '.join(changes) or 'nothing changed'}",
            rung=exchange,
            donor=donor,
            parameters=parameters,
            donor_env_steps=env_steps,
            scores=(own, values[donor]),
        )

    def _rank(self, exchange: int) -> dict[str, float]:
        """The values at the exchange by trial, the worst first; empty while too few are known."""
        present = {name: one for name, one in self._members.items() if not one.is_over}
        values = {
            name: value
            for name, one in present.items()
            if (value := one.value_at(exchange)) is not None
        }
        valueless = sum(
            one.reached >= exchange and name not in values for name, one in present.items()
        )
        wanted = max(math.ceil(self._population / 2), math.ceil(1 / self._share))
        if len(values) < max(_MIN_COMPARED, min(wanted, self._living - valueless)):
            return {}
        # Of equals the later trial is the worse one.
        later_first = sorted(values, key=_number, reverse=True)
        order = sorted(later_first, key=lambda name: self.objective.merit(values[name]))
        return {name: values[name] for name in order}

    def _is_ahead(self, exchange: int) -> bool:
        """Whether a trial at the exchange gives up its place to those that are behind."""
        return self._population > len(self._members) or any(
            one.reached < exchange and not one.is_running and not one.is_over
            for one in self._members.values()
        )

    @property
    def _living(self) -> int:
        """How many trials have not ended, those that have not begun among them."""
        return self._population - sum(one.is_over for one in self._members.values())


def _pick(
    trials: Sequence[str],
    saved: Mapping[str, int],
    report: Report,
    generator: np.random.Generator,
) -> str | None:
    """One of the trials, each as likely, whose checkpoint is whole; None if that of none is."""
    left = list(trials)
    while left:
        donor = left.pop(int(generator.integers(len(left))))
        if report.is_copyable(donor, saved[donor]):
            return donor
    return None


def _number(trial_id: str) -> int:
    return int(trial_id.removeprefix("t"))


def _show(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else show(value)
