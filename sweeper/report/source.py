"""What a report is made of: one run, read, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sweeper.errors import UserError
from sweeper.evidence.record import Selection
from sweeper.metrics import Objective
from sweeper.paths import RunPaths, is_run, run_reference
from sweeper.plots.source import PlotSource
from sweeper.results.records import SweepResults
from sweeper.run_files import read_json, read_text
from sweeper.spec import ExperimentSpec

__all__ = ["ReportSource"]


@dataclass(frozen=True)
class ReportSource:
    """A run, as its report shows it.

    Attributes:
        results: all trials.
        judged_by: how they are compared; None if that can't be read.
        spec: None for a Tune experiment, which has none, and where it can't be read.
        selection: the winner; None if nobody won.
        failure: why nobody did, in a sentence; None if somebody did.
        plots: what its plots are made from; None if that can't be read.
        problems: what of the run's records can't be read, a sentence each.
        now: when the report is written, in seconds since the epoch.
    """

    results: SweepResults
    judged_by: Objective | None
    spec: ExperimentSpec | None
    selection: Selection | None
    failure: str | None
    plots: PlotSource | None
    problems: tuple[str, ...]
    now: float

    @property
    def objective(self) -> Objective:
        """How the trials are compared.

        Raises:
            UserError: the run's spec can't be read, which says so.
        """
        if self.judged_by is None:
            raise UserError(
                "the run's spec can't be read, which says what its trials are judged by"
            )
        return self.judged_by

    @property
    def paths(self) -> RunPaths:
        """The run's files."""
        return RunPaths(self.results.root)

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return self.results.root.name

    @property
    def is_tune(self) -> bool:
        """Whether it is a Tune experiment, which sweeper did not make."""
        return not is_run(self.results.root)

    @cached_property
    def reference(self) -> str:
        """What a command that is typed here takes for the run."""
        return run_reference(self.results.root)

    @property
    def param_space(self) -> Mapping[str, Any]:
        """Nested, with its distributions; empty without a spec."""
        return {} if self.spec is None else self.spec.param_space

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """What ``environment.json`` records of versions and machine.

        Raises:
            OSError: it is missing, can't be read or is no regular file.
            ValueError: it holds something else.
        """
        document = read_json(self.paths.environment)
        if not isinstance(document, dict):
            raise ValueError("it is not what a launch writes")
        return document

    def read_spec(self) -> str:
        """The spec as run, as text.

        Raises:
            OSError: as `environment`.
            ValueError: it is not UTF-8.
        """
        return read_text(self.paths.spec)
