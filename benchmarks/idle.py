"""Trials that train nothing, for sweeps whose own overhead is measured."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["ENV_STEPS", "make_trials_idle"]

ENV_STEPS = 1000  # per iteration
_LEARNER = dict.fromkeys(("policy_loss", "vf_loss", "entropy", "mean_kl_loss", "total_loss"), 0.5)


def make_trials_idle(iteration_s: float = 0.0) -> None:
    """Have all sweeps of this process run trials that train nothing.

    Args:
        iteration_s: seconds that an iteration of `ENV_STEPS` sleeps.
    """
    from sweeper.running.tune import stage

    if not hasattr(stage, "trial_class"):
        raise RuntimeError("trials are made elsewhere by now, and these would train")
    stage.trial_class = functools.partial(_idle_trial_class, iteration_s=iteration_s)


def _idle_trial_class(settings: Any, run_root: Path, *, iteration_s: float) -> Any:
    """Replaces `sweeper.trainables.trial.trial_class`; local classes are pickled by value."""
    from sweeper.trainables.contract import ReplicaProgress
    from sweeper.trainables.trial import SweepTrial

    env_steps, learner = ENV_STEPS, _LEARNER

    class IdleTrainer:
        env_steps = 0

        def train(self) -> list[ReplicaProgress]:
            time.sleep(iteration_s)
            self.env_steps += env_steps
            return [ReplicaProgress(self.env_steps, (20.0, 21.0), (20, 21), learner)]

        def evaluate(self) -> list[None]:
            return [None]

        def save(self, folder: Path) -> dict[str, Any]:  # noqa: ARG002
            return {"env_steps": self.env_steps}

        def restore(self, folder: Path, state: Mapping[str, Any]) -> None:  # noqa: ARG002
            self.env_steps = state["env_steps"]

        def close(self) -> None: ...

    class IdleTrial(SweepTrial):
        def _built(self) -> Any:
            self._trainer = self._trainer or IdleTrainer()
            return self._trainer

    IdleTrial.settings = settings
    IdleTrial.log_root = str(run_root)
    return IdleTrial
