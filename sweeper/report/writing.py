"""Write a run's report: every section for itself, so that one that fails leaves the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from sweeper.agents.outputs import check_output
from sweeper.errors import SweeperError, UserError
from sweeper.markup import Html, joined, tag
from sweeper.paths import RunPaths, write_atomically
from sweeper.report.advice import show_advice
from sweeper.report.charts import show_charts
from sweeper.report.configuration import show_configuration
from sweeper.report.costs import show_cost
from sweeper.report.evidence import show_evidence
from sweeper.report.exclusions import show_exclusions
from sweeper.report.headline import describe_moment, head
from sweeper.report.page import Section, build_page
from sweeper.report.reproduction import show_reproduction
from sweeper.report.source import ReportSource
from sweeper.report.trials import show_trials
from sweeper.results.builder import load_results
from sweeper.veil import veil

__all__ = ["build_report", "write_damaged", "write_report"]

_logger = logging.getLogger(__name__)

_SECTIONS: tuple[tuple[str, str, Callable[[ReportSource], Html]], ...] = (
    ("evidence", "Evidence", show_evidence),
    ("configuration", "Configuration", show_configuration),
    ("charts", "Charts", show_charts),
    ("advice", "Advice", show_advice),
    ("trials", "Trials", show_trials),
    ("excluded", "Excluded", show_exclusions),
    ("cost", "Cost", show_cost),
    ("reproduce", "Reproduce", show_reproduction),
)


def build_report(source: ReportSource) -> str:
    """The report as one HTML file."""
    sections = [
        Section(anchor, title, _guarded(title, show, source)) for anchor, title, show in _SECTIONS
    ]
    has_charts = any('class="chart"' in one.content.text for one in sections)
    return build_page(
        f"{source.name} - sweeper",
        _guarded("The head", head, source),
        sections,
        written=describe_moment(source.now),
        has_charts=has_charts,
    )


def _guarded(title: str, show: Callable[[ReportSource], Html], source: ReportSource) -> Html:
    """A section, or why it can't be shown.

    A run folder may be damaged or come from anybody. What can be read of it is to be seen.
    """
    try:
        return show(source)
    except Exception as error:
        _logger.debug("the section %s can't be made", title, exc_info=True)
        known = isinstance(error, SweeperError | OSError | ValueError)
        why = veil(str(error) if known else f"{type(error).__name__}: {error}")
        named = tag("h1", source.name) if show is head else None
        return joined(named, tag("p", f"{title} can't be shown: {why}", class_="note"))


def write_damaged(paths: RunPaths, why: str, file: Path | None = None) -> Path:
    """Write what can be shown of a run whose spec can't be read.

    Args:
        paths: of the run.
        why: it can't, in words.
        file: as for `write_report`.

    Raises:
        UserError: as `write_report`.
    """
    source = ReportSource(
        results=load_results(paths),
        judged_by=None,
        spec=None,
        selection=None,
        failure="Nobody can be chosen, for it is not known what the trials are judged by.",
        plots=None,
        problems=(why,),
        now=time.time(),
    )
    return write_report(source, file)


def write_report(source: ReportSource, file: Path | None = None) -> Path:
    """Write the report whole, in the place of an earlier one.

    Args:
        source: the run.
        file: where to; by default ``report.html`` in the run folder, and for a Tune experiment
            ``report-NAME.html`` in the working directory.

    Returns:
        The file, absolute.

    Raises:
        UserError: it can't be written.
    """
    if file is None:
        file = Path(f"report-{source.name}.html") if source.is_tune else source.paths.report
    file = file.absolute()
    check_output(file, (".html",))
    text = build_report(source)
    try:
        # Renamed to its name: a link of that name is replaced, not followed.
        write_atomically(file, text, syncs=False)
    except OSError as error:
        raise UserError(f"{file} can't be written: {error.strerror or error}") from error
    return file
