"""Choose how a launch shows its progress: a live table in a notebook or on a terminal, or lines."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan
from sweeper.results.builder import ResultsBuilder
from sweeper.running.launch import ProgressFactory
from sweeper.views.lines import LineProgress
from sweeper.views.live import LiveProgress
from sweeper.views.notebook import NotebookProgress, is_notebook
from sweeper.views.watch import LaunchWatch

__all__ = ["choose_progress", "make_progress"]


def make_progress(plan: SweepPlan, paths: RunPaths, results: ResultsBuilder) -> Any:
    """Make the live table if this is a notebook or stderr a terminal that supports it, else lines.

    With the log level info or debug it is lines, too: Ray then writes to stdout, into the table.
    """
    watch = LaunchWatch(plan, results)
    if is_notebook():
        return NotebookProgress(watch)
    can_draw = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    if can_draw and logging.getLogger().getEffectiveLevel() > logging.INFO:
        return LiveProgress(watch)
    lines = LineProgress(watch, paths)
    lines.start()
    return lines


def choose_progress(progress: bool | ProgressFactory | None) -> ProgressFactory | None:
    """What watches a launch.

    Args:
        progress: what makes it; True: `make_progress`, False: nothing, None: the live table of a
            notebook, and elsewhere nothing.
    """
    if callable(progress):
        return progress
    return make_progress if progress or (progress is None and is_notebook()) else None
