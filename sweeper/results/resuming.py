"""Which command goes on with a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sweeper.paths import run_reference
from sweeper.states import LaunchEnd, TrialState

__all__ = ["resume_command"]

# After a used-up budget, `sweeper resume` needs more of it.
_RESUME_OPTIONS: Mapping[str, str] = {
    LaunchEnd.BUDGET_TIME: " --time SECONDS",
    LaunchEnd.BUDGET_ENV_STEPS: " --stop budget.env_steps=N",
}


def resume_command(root: Path, state: str, counts: Mapping[TrialState, int]) -> str | None:
    """The command that continues a run; None if it is live or has nothing left to do."""
    can_resume = state == LaunchEnd.INTERRUPTED or counts.get(TrialState.PAUSED)
    if state == "running" or not can_resume:
        return None
    return f"sweeper resume {run_reference(root)}{_RESUME_OPTIONS.get(state, '')}"
