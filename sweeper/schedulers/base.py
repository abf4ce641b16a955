"""The port for schedulers: what to do with a trial that has just reported."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sweeper.metrics import Objective
from sweeper.states import TrialState

__all__ = ["CONTINUE", "Action", "Decision", "Report", "Scheduler"]


class Action(Enum):
    """What happens to the trial."""

    CONTINUE = "continue"
    STOP = "stop"
    COPY = "copy"  # it takes over another trial's checkpoint, and goes on
    PAUSE = "pause"  # it is saved and goes on once others have had their turn


def _always(trial_id: str, env_steps: int) -> bool:  # noqa: ARG001
    return True


@dataclass(frozen=True)
class Report:
    """A row of metrics, as a scheduler sees it.

    Attributes:
        trial_id: which trial; its first report is how a scheduler learns of a trial.
        env_steps: real env steps of each replica.
        value: the objective's, over all replicas, finite; None while the trial has none.
        parameters: what the search chose, nested.
        is_copyable: whether the checkpoint of a trial at so many env steps is whole, to be asked
            before a `COPY`; in a replay, whether it was when the report was decided on.
    """

    trial_id: str
    env_steps: int
    value: float | None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_copyable: Callable[[str, int], bool] = field(default=_always, kw_only=True)


@dataclass(frozen=True)
class Decision:
    """What to do with a trial, and why, in words for the journal.

    Attributes:
        action: what happens to the trial.
        reason: one line; empty where nothing was decided.
        rung: the number of the rung that was decided at, from 1; also of one that was passed.
        donor: for ``COPY``, the trial whose checkpoint is taken over.
        parameters: for ``COPY``, what takes the place of the trial's parameters, nested.
        donor_env_steps: for ``COPY``, the env steps of the donor's checkpoint.
        scores: for ``COPY``, the values that were compared, the trial's and the donor's.
    """

    action: Action
    reason: str = ""
    rung: int | None = None
    donor: str | None = None
    parameters: Mapping[str, Any] | None = None
    donor_env_steps: int | None = None
    scores: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any] | None:
        """What the journal has of it; None if the trial just goes on."""
        if self == CONTINUE:
            return None
        given = {
            "reason": self.reason or None,
            "rung": self.rung,
            "donor": self.donor,
            "parameters": self.parameters,
            "donor_env_steps": self.donor_env_steps,
            "scores": None if self.scores is None else list(self.scores),
        }
        set_ones = {name: value for name, value in given.items() if value is not None}
        return {"action": self.action.value, **set_ones}


CONTINUE = Decision(Action.CONTINUE)


class Scheduler(ABC):
    """Decides at each report whether a trial goes on.

    Pure: it knows no Ray and no files. Tune's adapter (`sweeper.running.tune.scheduling`) calls it
    in the driver's thread. A later launch of the run makes a new one and replays the journal's
    events through the same methods, in their order. So a decision may depend only on the arguments
    of the constructor and on the calls so far. A subclass takes its options as keyword arguments.

    Args:
        objective: says whether more of a value is better.
    """

    # Whether decisions depend on earlier calls; if not, the replay is skipped.
    remembers: bool = True

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    @abstractmethod
    def on_report(self, report: Report) -> Decision:
        """A trial that has not met a stop criterion of its own has reported.

        After a rollback a trial reports again what it has reported before.
        """

    def on_final_report(self, report: Report) -> None:  # noqa: B027 - not all need it
        """A trial has met a stop criterion of its own with this report; by default ignored."""

    def on_start(self, trial_id: str) -> None:  # noqa: B027 - not all need it
        """A worker takes the trial up, for the first time or again; by default ignored."""

    def on_rest(self, trial_id: str) -> None:  # noqa: B027 - not all need it
        """The trial has lost its worker, and waits to be taken up again; by default ignored."""

    def on_checkpoint(self, trial_id: str, env_steps: int) -> None:  # noqa: B027 - not all need it
        """A checkpoint of the trial at so many env steps is complete; by default ignored."""

    @property
    def rung_env_steps(self) -> tuple[int, ...]:
        """At which env steps trials are compared, ascending; empty if at none in particular."""
        return ()

    def describe(self) -> str:
        """When it stops which trials, in one line for the plan; empty if it stops none."""
        return ""

    def expected_share(self, trials: int) -> float | None:  # noqa: ARG002
        """The share of the env steps of so many whole trials that will be taken; None: unknown."""
        return None

    def expected_ends(self, trials: int) -> float | None:  # noqa: ARG002
        """How many of so many trials come to their own end; None: unknown."""
        return None

    def on_end(self, trial_id: str, state: TrialState) -> None:  # noqa: B027 - not all need it
        """A trial is over, or paused until a later launch; by default ignored."""

    def on_reopen(self, trial_id: str) -> None:  # noqa: B027 - not all need it
        """A launch begins in which a trial goes on, even if it was over; by default ignored."""
