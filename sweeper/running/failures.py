"""Why a trial failed, and whether trying it again can help."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sweeper.errors import ConfigurationRefusedError, RunError
from sweeper.formatting import last_line
from sweeper.states import FailureReason
from sweeper.veil import veil

__all__ = ["Failure", "Retries", "Retry", "describe_failure", "explain_tune_failure"]

_MAX_DELAY_S = 60.0
_MAX_ERROR = 300

# What Tune puts before each failure in a trial's error file (ray/tune/experiment/trial.py).
_FAILURE_HEAD = re.compile(r"^Failure # \d+ .*$", re.MULTILINE)
# The class of an error of ours, whose message says everything.
_OUR_CLASS = re.compile(r"^sweeper\.[\w.*]+Error: ")
# Tune keeps only the text: Ray's own errors are known by their words (ray/exceptions.py), others
# by their class.
_MARKS = (
    (ConfigurationRefusedError.__name__, FailureReason.REFUSED),
    ("TrialDivergedError", FailureReason.DIVERGED),
    ("EnvironmentFailedError", FailureReason.ENVIRONMENT),
    # The operating system's words, in a checkpoint's error, a log's or the environment's.
    ("No space left on device", FailureReason.NO_SPACE),
    ("Disk quota exceeded", FailureReason.NO_SPACE),
    ("running low on memory", FailureReason.OUT_OF_MEMORY),
    ("OutOfMemoryError", FailureReason.OUT_OF_MEMORY),
    ("MemoryError", FailureReason.OUT_OF_MEMORY),
    ("its node has died", FailureReason.NODE_LOST),
    ("NodeDiedError", FailureReason.NODE_LOST),
    ("The actor died", FailureReason.WORKER_DIED),
    ("The actor is dead", FailureReason.WORKER_DIED),
    ("The actor never ran", FailureReason.WORKER_DIED),
    ("The actor experienced an error", FailureReason.WORKER_DIED),
    (" is unavailable: ", FailureReason.WORKER_DIED),
    ("ActorDiedError", FailureReason.WORKER_DIED),
    ("ActorUnavailableError", FailureReason.WORKER_DIED),
)


@dataclass(frozen=True)
class Failure:
    """One failure of a trial.

    Attributes:
        reason: its kind.
        error: the exception's last line.
        iteration: the last training iteration that was reported before it.
    """

    reason: FailureReason
    error: str
    iteration: float | None = None


@dataclass(frozen=True)
class Retry:
    """How a failed trial is tried again.

    Attributes:
        delay_s: how long to wait before.
        alone: run it while no other trial runs.
    """

    delay_s: float
    alone: bool = False


def explain_tune_failure(error: BaseException) -> str:
    """Why a launch's experiment failed, from the exception that Tune let through."""
    text = str(error)
    if isinstance(error, RunError):
        return text
    if "GCS" in text or "gcs_server" in text:
        return (
            "Ray's process for the cluster's state (the GCS) has died or does not answer; a new "
            "launch starts another one"
        )
    return f"Ray Tune failed: {last_line(veil(text)) or type(error).__name__}"


def describe_failure(text: str, iteration: float | None = None) -> Failure:
    """The newest failure in what Tune wrote of a trial's failures, the newest last.

    This is where the words of an environment, or of any other code, enter the journal.
    """
    newest = _FAILURE_HEAD.split(text)[-1]
    line = _OUR_CLASS.sub("", last_line(veil(newest)))
    error = line[:_MAX_ERROR] or "no error text was left"
    reasons = (reason for mark, reason in _MARKS if mark in newest)
    return Failure(next(reasons, FailureReason.CRASHED), error, iteration)


@dataclass
class Retries:
    """Decides, failure by failure, whether a trial is tried again in this launch.

    Not tried again are: a configuration that the algorithm refuses, or that diverged; an
    environment that returned what it must not; a failure that repeats itself, with the same words
    after the same iteration; and one failure more than ``limit``. A trial that ran out of memory
    is tried once more on its own, whatever the limit. A lost node counts only if the trial has got
    no further since it lost another one.

    Args:
        limit: retries of one trial.
    """

    limit: int
    _failures: dict[str, list[Failure]] = field(default_factory=dict)
    _lost_at: dict[str, float | None] = field(default_factory=dict)

    def decide(self, trial_id: str, failure: Failure) -> Retry | None:
        """How the trial is tried again; None if it is not."""
        if failure.reason is FailureReason.NODE_LOST:
            before, now = self._lost_at.get(trial_id, -1.0), failure.iteration
            self._lost_at[trial_id] = now
            if now != before:
                return Retry(1.0)
        earlier = self._failures.setdefault(trial_id, [])
        count = len(earlier)
        again = failure in earlier
        earlier.append(failure)
        delay_s = min(_MAX_DELAY_S, 2.0**count)
        if failure.reason.is_lasting:
            return None
        if failure.reason is FailureReason.OUT_OF_MEMORY:
            was_alone = any(one.reason is FailureReason.OUT_OF_MEMORY for one in earlier[:-1])
            return None if was_alone else Retry(delay_s, alone=True)
        # A worker that died gives the same words each time, whatever the cause.
        if again and failure.reason is FailureReason.CRASHED:
            return None
        return Retry(delay_s) if count < self.limit else None
