"""The states of a trial, and the fixed words for why a launch or a trial ended.

They are texts in the journal and in everything that is printed as JSON: never change one.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["FailureReason", "LaunchEnd", "Stage", "TrialState"]


class TrialState(StrEnum):
    """Where a trial stands; Tune's words, and ``PRUNED`` for what a scheduler stopped."""

    TERMINATED = "TERMINATED"
    PRUNED = "PRUNED"
    ERROR = "ERROR"
    RUNNING = "RUNNING"
    PENDING = "PENDING"
    PAUSED = "PAUSED"

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it; a paused trial can go on."""
        return self in (TrialState.TERMINATED, TrialState.PRUNED, TrialState.ERROR)

    @property
    def has_succeeded(self) -> bool:
        """Whether it is over and did not fail."""
        return self in (TrialState.TERMINATED, TrialState.PRUNED)


class LaunchEnd(StrEnum):
    """Why a launch ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    DISK_FULL = "disk nearly full"
    BUDGET_TIME = "budget.time_s"
    BUDGET_ENV_STEPS = "budget.env_steps"
    BUDGET_TRIALS = "budget.trials"
    BUDGET_NO_IMPROVEMENT = "budget.no_improvement_trials"

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self is LaunchEnd.FINISHED

    @property
    def is_budget(self) -> bool:
        """Whether a budget was used up, so that more of it lets the run go on."""
        return self.startswith("budget.")


class FailureReason(StrEnum):
    """Why a trial failed."""

    CRASHED = "crashed"
    REFUSED = "configuration refused"
    DIVERGED = "diverged"
    ENVIRONMENT = "the environment's fault"
    OUT_OF_MEMORY = "out of memory"
    TIMEOUT = "timeout"
    WORKER_DIED = "the worker died"
    NODE_LOST = "the node was lost"
    NO_SPACE = "no space left"

    @property
    def is_lasting(self) -> bool:
        """Whether another try would fail, too.

        Divergence is the configuration's doing: another try would be a chance that other
        configurations do not get.
        """
        return self in (self.REFUSED, self.DIVERGED, self.ENVIRONMENT)


class Stage(StrEnum):
    """What a trial is trained for."""

    SEARCH = "search"
    CONFIRMATION = "confirmation"
