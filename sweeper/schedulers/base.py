"""The port for schedulers: what to do with a trial that has just reported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

from sweeper.metrics import Objective
from sweeper.states import TrialState

__all__ = ["CONTINUE", "Action", "Decision", "Scheduler"]


class Action(Enum):
    """What happens to the trial."""

    CONTINUE = "continue"
    STOP = "stop"


@dataclass(frozen=True)
class Decision:
    """What to do with a trial, and why, in words for the journal."""

    action: Action
    reason: str = ""


CONTINUE = Decision(Action.CONTINUE)


class Scheduler(ABC):
    """Decides at each report whether a trial goes on.

    Pure: it knows no Ray and no files. Tune's adapter (`sweeper.running.tune.scheduling`) calls it
    in the driver's thread. A later launch of the run makes a new one and replays the journal's
    events through the same methods, in their order. So a decision may depend only on the arguments
    of the constructor and on earlier calls. A subclass takes its options as keyword arguments.

    Args:
        objective: says whether more of a value is better.
    """

    # Whether decisions depend on earlier calls; if not, the replay is skipped.
    remembers: bool = True

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    @abstractmethod
    def on_report(self, trial_id: str, env_steps: int, value: float | None) -> Decision:
        """A trial that has not met a stop criterion of its own has reported.

        Args:
            trial_id: which one; the first report is how a scheduler learns of a trial.
            env_steps: real env steps of each replica.
            value: the objective's, finite; None while the trial has none.
        """

    def on_end(self, trial_id: str, state: TrialState) -> None:  # noqa: B027 - not all need it
        """A trial is over, or paused until a later launch; by default ignored."""
