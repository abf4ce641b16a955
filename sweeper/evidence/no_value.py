"""Why no trial of a run has a value to be judged by, and what to do about it."""

from __future__ import annotations

from sweeper.evidence.selection import NothingToSelect, select
from sweeper.metrics import Objective
from sweeper.paths import RunPaths
from sweeper.results.records import SweepResults
from sweeper.states import TrialState

__all__ = ["explain_no_value"]


def explain_no_value(results: SweepResults, objective: Objective) -> str | None:
    """The reason and the remedy in a sentence; None if a trial has a value.

    Args:
        results: of a run, or of any Tune experiment.
        objective: whose metric the trials are judged by.
    """
    try:
        select(results, objective)
    except NothingToSelect as nothing:
        trials = results.trials
        if trials and all(trial.state is TrialState.ERROR for trial in trials):
            first = trials[0]
            log = RunPaths(results.root).trial_log(first.trial_id)
            return f"every trial failed; the first, {first.trial_id}: {first.error}; its log: {log}"
        # Such a trial is paused if the launch was ending: the next one tries it again.
        if (failed := next((trial for trial in trials if trial.error), None)) is not None:
            log = RunPaths(results.root).trial_log(failed.trial_id)
            return f"{nothing}; {failed.trial_id} failed: {failed.error}; its log: {log}"
        metric = objective.metric
        is_unreported = any(one.reason.startswith("never reported") for one in nothing.excluded)
        if is_unreported and metric.startswith(("episode_return_", "episode_len_")):
            steps = max((trial.env_steps or 0 for trial in trials), default=0)
            return (
                f"no trial has a value of {metric}: in none did every replica end an episode "
                f"within the trial's {steps:,.0f} env steps; with evaluation: {{}} trials are "
                "judged by whole episodes; or give them more env steps, or fewer "
                "num_envs_per_env_runner"
            )
        return str(nothing)
    return None
