"""A run's trials as tables, for notebooks and for what scripts read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeper.evidence.ties import find_ties
from sweeper.metrics import Objective
from sweeper.results.lineage import lineage_rows
from sweeper.results.records import SweepResults
from sweeper.results.spread import spread_of
from sweeper.search.configuration import flatten_parameters
from sweeper.states import Stage

if TYPE_CHECKING:
    import pandas

__all__ = ["RunTables"]


@dataclass(frozen=True)
class RunTables:
    """The tables of a run.

    Attributes:
        results: all trials, as the journal had them when the run was opened.
        objective: how trials are compared.
    """

    results: SweepResults
    objective: Objective

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The trials as `sweeper results --json` prints them."""
        rows, records = self.results.to_rows(self.objective), self.results.trials
        is_search = all(record.stage is Stage.SEARCH for record in records)
        ties = find_ties(records, self.objective) if is_search else ()
        for row, record in zip(rows, records, strict=True):
            spread = spread_of(record, self.objective)
            row["deviation"] = None if spread is None else spread.deviation
            row["replicas"] = 0 if spread is None else len(spread.values)
            row["tied"] = record.trial_id in ties
        return rows

    @property
    def searched(self) -> tuple[str, ...]:
        """The parameters that the search varies, by their dotted names: columns of `trials`."""
        names = (flatten_parameters(record.parameters) for record in self.results.trials)
        return tuple(dict.fromkeys(name for one in names for name in one))

    @property
    def trials(self) -> pandas.DataFrame:
        """One row per trial: see `results.frames.trials_frame`."""
        from sweeper.results.frames import trials_frame

        return trials_frame(self.results, self.objective)

    @property
    def history(self) -> pandas.DataFrame:
        """One row per trial and report: see `results.frames.history_frame`."""
        from sweeper.results.frames import history_frame

        return history_frame(self.results)

    @property
    def replicas(self) -> pandas.DataFrame:
        """One row per trial, report and replica: see `results.frames.replicas_frame`."""
        from sweeper.results.frames import replicas_frame

        return replicas_frame(self.results)

    @property
    def confirmation(self) -> pandas.DataFrame:
        """One row per configuration and training run: see `results.frames.confirmation_frame`."""
        from sweeper.results.frames import confirmation_frame

        return confirmation_frame(self.results, self.objective)

    @property
    def lineage(self) -> pandas.DataFrame:
        """One row per exchange of a population: who copied whom, when, which values changed."""
        from sweeper.results.frames import lineage_frame

        return lineage_frame(self.results)

    @property
    def lineage_rows(self) -> list[dict[str, Any]]:
        """The same as `sweeper results --lineage --json` prints it."""
        return lineage_rows(self.results)
