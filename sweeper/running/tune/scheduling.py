"""Tune's side of a launch's scheduler and of its orderly end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler as TuneFIFOScheduler
from ray.tune.schedulers import TrialScheduler as TuneScheduler
from ray.tune.stopper import Stopper

from sweeper.metrics import Objective
from sweeper.results.divergence import DivergenceCorrection
from sweeper.running.drain import Drain
from sweeper.running.learners import report_to
from sweeper.running.tune.relay import StageRelay
from sweeper.running.tune.unsaved import Unsaved
from sweeper.schedulers.base import CONTINUE, Action, Decision

__all__ = ["DrainStopper", "SchedulerAdapter"]


@dataclass(eq=False)
class SchedulerAdapter(Unsaved, TuneFIFOScheduler):  # type: ignore[misc]
    """Asks the stage's scheduler; once the drain is on, pauses and so saves whoever reports.

    A trial that the search's budget ends is evaluated before it is paused.

    Args:
        relay: knows the stage.
        objective: whose values the scheduler goes by.
        correction: what diverged replicas count for, as in the journal.
        has_checkpoint: whether a trial's checkpoint at so many env steps can be gone on from.

    Attributes:
        decisions: the last one on each trial, by the trial's id.
    """

    relay: StageRelay
    objective: Objective
    correction: DivergenceCorrection
    drain: Drain
    has_checkpoint: Callable[[str, int], bool] = lambda *_: False
    decisions: dict[str, Decision] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:  # noqa: ARG002
        """Ask the scheduler, then the drain."""
        trial_id = trial.trial_id
        decision = self._decide(trial, result)
        self.decisions[trial_id] = decision
        if decision.action in (Action.STOP, Action.COPY):
            return str(TuneScheduler.STOP)
        if decision.action is Action.PAUSE and not self.drain.reason:
            # Tune's own pause would keep the trial: here it goes back to the queue.
            return str(TuneScheduler.STOP)
        if not self.drain.reason:
            return str(TuneScheduler.CONTINUE)
        if self.drain.is_to_evaluate(trial_id):
            # Carried out before the step that Tune asks for next.
            trial.temporary_state.ray_actor.wind_up.remote()
            return str(TuneScheduler.CONTINUE)
        self.drain.pausing.add(trial_id)
        return str(TuneScheduler.PAUSE)

    def _decide(self, trial: Trial, result: dict[str, Any]) -> Decision:
        if result.get("replaces"):
            return CONTINUE  # decided on when it was reported first
        scheduler = self.relay.stage.scheduler
        metrics = self.correction.apply(result) if scheduler.remembers else result
        parameters = trial.evaluated_params or {}
        return report_to(
            scheduler,
            trial.trial_id,
            metrics,
            self.objective,
            parameters,
            is_copyable=self.has_checkpoint,
        )

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:  # noqa: ARG002
        """Always None: Tune starts pending trials itself, and paused ones must stay paused.

        Tune's own method goes through all trials of the launch at every turn of its loop.
        """
        return None


@dataclass(eq=False)
class DrainStopper(Stopper):  # type: ignore[misc]
    """Ends the experiment once the drain is over. Trials end by themselves, see `SweepTrial`."""

    drain: Drain

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        """Never: no trial is stopped from here."""
        return False

    def stop_all(self) -> bool:
        """Whether every running trial is saved."""
        return self.drain.is_over()
