"""First in, first out: every trial runs to its own end."""

from __future__ import annotations

from sweeper.schedulers.base import CONTINUE, Decision, Scheduler

__all__ = ["FIFOScheduler"]


class FIFOScheduler(Scheduler):
    """Never stops a trial."""

    remembers = False

    def on_report(self, trial_id: str, env_steps: int, value: float | None) -> Decision:  # noqa: ARG002
        """Always go on."""
        return CONTINUE
