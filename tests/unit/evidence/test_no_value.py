"""A run in which no trial has a value says why, and what to do."""

from __future__ import annotations

from pathlib import Path

from sweeper.evidence.no_value import explain_no_value
from sweeper.metrics import Objective
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.states import TrialState

STEPS = "num_env_steps_sampled_lifetime"


def run_of(*values: float | None, state: str = "TERMINATED", error: str = "") -> SweepResults:
    trials = tuple(
        TrialRecord(
            f"t{number:04d}",
            TrialState(state),
            configuration={},
            parameters={},
            reports=({STEPS: 4096, "episode_return_mean": value},),
            error=error or None,
        )
        for number, value in enumerate(values, start=1)
    )
    return SweepResults(Path("/runs/x"), trials)


def test_a_run_with_a_value_has_nothing_to_explain() -> None:
    assert explain_no_value(run_of(None, 3.0), Objective()) is None


def test_trials_without_the_end_of_an_episode_get_the_remedy() -> None:
    assert explain_no_value(run_of(None, None), Objective()) == (
        "no trial has a value of episode_return_mean: in none did every replica end an episode "
        "within the trial's 4,096 env steps; with evaluation: {} trials are judged by whole "
        "episodes; or give them more env steps, or fewer num_envs_per_env_runner"
    )


def test_values_that_are_not_finite_are_named() -> None:
    assert explain_no_value(run_of(float("nan")), Objective()) == (
        "no champion: none of 1 trial has a score: last episode_return_mean is NaN (1 trial)"
    )


def test_failed_trials_are_named_with_the_first_ones_log() -> None:
    failed = run_of(None, None, state="ERROR", error="OSError: gone")
    assert explain_no_value(failed, Objective()) == (
        "every trial failed; the first, t0001: OSError: gone; its log: /runs/x/trials/t0001/log.txt"
    )


def test_a_trial_that_failed_while_the_launch_ended_is_named_though_it_is_paused() -> None:
    paused = run_of(None, state="PAUSED", error="OSError: gone")
    assert explain_no_value(paused, Objective()) == (
        "no champion: none of 1 trial has a score: never reported episode_return_mean (1 trial); "
        "t0001 failed: OSError: gone; its log: /runs/x/trials/t0001/log.txt"
    )
    (row,) = paused.to_rows(Objective())
    assert (row["state"], row["error"]) == ("PAUSED", "OSError: gone")
