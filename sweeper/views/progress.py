"""Choose how a launch shows its progress: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan
from sweeper.results.builder import ResultsBuilder
from sweeper.views.lines import LineProgress
from sweeper.views.live import LiveProgress
from sweeper.views.watch import LaunchWatch

__all__ = ["make_progress"]


def make_progress(plan: SweepPlan, paths: RunPaths, results: ResultsBuilder) -> Any:
    """Make the live table if stderr is a terminal that supports it, else lines.

    With the log level info or debug it is lines, too: Ray then writes to stdout, into the table.
    """
    watch = LaunchWatch(plan, results)
    can_draw = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    if can_draw and logging.getLogger().getEffectiveLevel() > logging.INFO:
        return LiveProgress(watch)
    lines = LineProgress(watch, paths)
    lines.start()
    return lines
