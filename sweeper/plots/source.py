"""What plots are made from: one frozen value, of any run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sweeper.errors import UserError
from sweeper.evidence.selection import Selection
from sweeper.hints import did_you_mean, show
from sweeper.metrics import Objective, canonical_metric
from sweeper.results.ranking import id_key, rank_trial
from sweeper.results.records import SweepResults, TrialRecord, judge_trial
from sweeper.results.scoring import is_comparable
from sweeper.search.configuration import flatten_parameters
from sweeper.search.distributions import Distribution, distributions

__all__ = ["PlotSource", "Scored"]


@dataclass(frozen=True)
class Scored:
    """A trial and what it is worth.

    Attributes:
        record: the trial.
        score: finite.
    """

    record: TrialRecord
    score: float


@dataclass(frozen=True, kw_only=True)
class PlotSource:
    """A run, as plots see it.

    Attributes:
        name: of the run.
        results: its trials.
        objective: how they are compared.
        param_space: nested, with its distributions; None if unknown, as for a Tune experiment.
        selection: the winner; None if no trial has a score.
        scheduler: its name in the spec; None if unknown.
        scheduler_options: all of them, resolved, as `schedulers.registry.build_scheduler` takes
            them; empty if unknown.
        solved_at: the return from which the task counts as solved.
    """

    name: str
    results: SweepResults
    objective: Objective
    param_space: Mapping[str, Any] | None = None
    selection: Selection | None = None
    scheduler: str | None = None
    scheduler_options: Mapping[str, Any] = field(default_factory=dict)
    solved_at: float | None = None

    @property
    def trials(self) -> tuple[TrialRecord, ...]:
        """Those of the search."""
        return self.results.trials

    @cached_property
    def scored(self) -> tuple[Scored, ...]:
        """The trials with a score, in their order."""
        found = []
        for record in self.trials:
            value = judge_trial(record, self.objective).value
            if value is not None and is_comparable(value):
                found.append(Scored(record, value))
        return tuple(found)

    @cached_property
    def ranked(self) -> tuple[TrialRecord, ...]:
        """All trials, the best first; those without a score last."""
        return tuple(sorted(self.trials, key=lambda one: rank_trial(one, self.objective)))

    @cached_property
    def searched(self) -> Mapping[str, Distribution | None]:
        """The searched parameters by dotted name, in the space's order.

        Without a space: whatever differs between trials, with None for its distribution.
        """
        if self.param_space is not None:
            return {".".join(path): leaf for path, leaf in distributions(self.param_space)}
        values: dict[str, list[Any]] = {}
        for record in self.trials:
            for name, value in flatten_parameters(record.parameters).items():
                values.setdefault(name, []).append(value)
        return {
            name: None
            for name, found in values.items()
            if len({show(one) for one in found}) > 1 or len(found) < len(self.trials)
        }

    def with_metric(self, metric: str | None) -> PlotSource:
        """The same run, its trials judged by another metric; by the same for None.

        Raises:
            UserError: no trial reported it.
        """
        if metric is None or canonical_metric(metric) == self.objective.metric:
            return self
        name = canonical_metric(metric)
        self.check_metric(name)
        return replace(self, objective=replace(self.objective, metric=name))

    def check_metric(self, metric: str) -> None:
        """Check that a trial has reported a metric, or that none has reported anything.

        Raises:
            UserError: the trials reported others only.
        """
        records = (*self.results.trials, *self.results.retrained)
        known = {
            name
            for record in records
            for report in record.reports
            for name, value in report.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        if known and metric not in known:
            listed = ", ".join(sorted(known)[:30])
            raise UserError(
                f"no trial of {self.name} reported {show(metric)}"
                f"{did_you_mean(metric, known, 0.4)}; reported were: {listed}"
            )

    def pick_trials(self, names: Sequence[str]) -> list[TrialRecord]:
        """The trials of either stage by their ids.

        Raises:
            UserError: there is no such trial.
        """
        records = {one.trial_id: one for one in (*self.results.trials, *self.results.retrained)}
        unknown = [name for name in names if name not in records]
        if unknown:
            some = sorted(records, key=id_key)
            listed = ", ".join(some[:8]) + (f" … {some[-1]}" if len(some) > 8 else "")
            raise UserError(
                f"{self.name} has no trial {show(unknown[0])}"
                f"{did_you_mean(unknown[0], records)}; "
                + (f"it has {listed}" if some else "it has no trials")
            )
        return [records[name] for name in dict.fromkeys(names)]

    def pick_parameters(self, names: Sequence[str]) -> list[str]:
        """The searched parameters by their dotted names, or the last part of them.

        Raises:
            UserError: it was not searched.
        """
        known = list(self.searched)
        found = []
        for name in names:
            ends = [one for one in known if one == name or one.endswith(f".{name}")]
            exact = name if name in known else ends[0] if len(ends) == 1 else None
            if exact is None:
                listed = f"searched were {', '.join(known)}" if known else "nothing was searched"
                if len(ends) > 1:
                    listed = f"it may be {' or '.join(ends)}"
                raise UserError(
                    f"{self.name} has no searched parameter {show(name)}"
                    f"{'' if ends else did_you_mean(name, known)}; {listed}"
                )
            found.append(exact)
        return list(dict.fromkeys(found))

    @property
    def empty(self) -> str | None:
        """Why no trial can be shown, in a sentence; None if one has a score."""
        if not self.trials:
            return (
                "The run has no trials yet." if self.results.is_live else "The run has no trials."
            )
        if self.scored:
            return None
        problems = [judge_trial(one, self.objective).problem or "no score" for one in self.trials]
        most = max(dict.fromkeys(problems), key=problems.count)
        number = len(self.trials)
        of = (
            "The only trial has no score" if number == 1 else f"None of {number} trials has a score"
        )
        return f"{of} yet: {most}." if self.results.is_live else f"{of}: {most}."

    @property
    def live_note(self) -> tuple[str, ...]:
        """What to know of a run that is not over."""
        if self.results.is_live:
            return ("The run is still going on: this is how it stood when it was opened.",)
        return ()
