"""First in, first out: every trial runs to its own end."""

from __future__ import annotations

from sweeper.schedulers.base import CONTINUE, Decision, Report, Scheduler

__all__ = ["FIFOScheduler"]


class FIFOScheduler(Scheduler):
    """Never stops a trial."""

    remembers = False

    def on_report(self, report: Report) -> Decision:  # noqa: ARG002
        """Always go on."""
        return CONTINUE

    def expected_share(self, trials: int) -> float | None:  # noqa: ARG002
        """All of them."""
        return 1.0

    def expected_ends(self, trials: int) -> float | None:
        """All of them."""
        return trials
