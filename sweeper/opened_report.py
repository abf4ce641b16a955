"""The report of an opened run."""

from __future__ import annotations

import time
from pathlib import Path

from sweeper.evidence.no_value import explain_no_value
from sweeper.evidence.selection import Selection
from sweeper.metrics import Objective
from sweeper.opened_plots import build_source
from sweeper.report.source import ReportSource
from sweeper.report.writing import write_report
from sweeper.results.records import SweepResults
from sweeper.spec import ExperimentSpec

__all__ = ["write_opened"]


def write_opened(
    results: SweepResults,
    objective: Objective,
    spec: ExperimentSpec | None,
    selection: Selection | None,
    *,
    notes: tuple[str, ...] = (),
    path: str | Path | None = None,
) -> Path:
    """Write a run's report; returns the file.

    Args:
        results: of the run.
        objective: how its trials are compared.
        spec: of the run; None for a Tune experiment, which has none.
        selection: the winner; None if nobody won.
        notes: problems with the run's records.
        path: where to, as for `report.writing.write_report`.

    Raises:
        UserError: it can't be written.
    """
    source = ReportSource(
        results=results,
        judged_by=objective,
        spec=spec,
        selection=selection,
        failure=None if selection is not None else explain_no_value(results, objective),
        plots=build_source(results, objective, spec, selection),
        problems=notes,
        now=time.time(),
    )
    return write_report(source, None if path is None else Path(path))
