"""From a plan to Ray Tune: its param space in Tune's words, and the Tuner of a launch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from sweeper.errors import UserError
from sweeper.planning.plan import SweepPlan
from sweeper.running.drain import Drain
from sweeper.running.tune.queue import name_trial
from sweeper.running.tune.relay import StageRelay
from sweeper.running.tune.scheduling import DrainStopper, SchedulerAdapter
from sweeper.search.distributions import Distribution

__all__ = ["build_tuner", "to_tune"]


def to_tune(plan: SweepPlan) -> dict[str, Any]:
    """The plan's param space as Tune takes it, for whoever drives Tune by hand.

    Returns:
        A nested dict of constants and ``tune`` distributions.

    Raises:
        UserError: a parameter is conditional, which Tune's spaces can't say.
    """
    return {name: _to_tune(value, name) for name, value in plan.spec.param_space.items()}


def _to_tune(value: Any, path: str) -> Any:
    if isinstance(value, Distribution):
        if value.when:
            raise UserError(
                f"param_space.{path}: `when` has no counterpart in Tune's param spaces; "
                "draw the configurations with sweeper.search.expansion.expand instead"
            )
        if value.kind in ("choice", "grid_search"):
            return getattr(tune, value.kind)(list(value.args))
        return getattr(tune, value.kind)(*value.args)
    if isinstance(value, Mapping):
        return {key: _to_tune(item, f"{path}.{key}") for key, item in value.items()}
    return value


def build_tuner(
    trainable: type[tune.Trainable],
    *,
    relay: StageRelay,
    scheduler: SchedulerAdapter,
    drain: Drain,
    callbacks: Sequence[tune.Callback],
    folder: Path,
) -> tune.Tuner:
    """A Tuner that runs the relay's trials and writes its own state under ``folder``."""
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=relay,
            scheduler=scheduler,
            reuse_actors=True,
            trial_dirname_creator=name_trial,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            stop=DrainStopper(drain),
            callbacks=list(callbacks),
            verbose=0,
            # Which then prints nothing; in a notebook Tune's default shows an empty table.
            progress_reporter=tune.CLIReporter(),
            # The trials say themselves when a checkpoint is due, their last step included.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
