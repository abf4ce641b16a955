"""From a plan to Ray Tune: the param space, the search algorithm, the scheduler, the Tuner.

Tune is given a search *algorithm* rather than a searcher, because only the former may choose
trial ids and the checkpoint that a trial starts from (`ray.tune.search.search_generator`
generates ids of its own). It hands out trials one by one, never more than may run at once, so
that a configuration is asked for as late as possible and nothing waits in Tune's queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray import tune
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Experiment, Trial
from ray.tune.experiment.experiment import _convert_to_experiment_list
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import SearchAlgorithm
from ray.tune.stopper import Stopper

from sweeper.errors import UserError
from sweeper.plan import SweepPlan
from sweeper.space import Distribution, Sample
from sweeper.trainables.replicas import ConfigurationRefusedError

__all__ = ["Drain", "TrialQueue", "build_tuner", "is_refused", "read_error", "to_tune"]


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
                "expand the plan with sweeper.expand instead"
            )
        if value.kind in ("choice", "grid_search"):
            return getattr(tune, value.kind)(list(value.args))
        return getattr(tune, value.kind)(*value.args)
    if isinstance(value, Mapping):
        return {key: _to_tune(item, f"{path}.{key}") for key, item in value.items()}
    return value


@dataclass
class Drain:
    """The orderly end of a launch, asked for from a signal handler or by a budget.

    While it is on, every running trial is paused at its next report, which saves it, and no
    other is started; once none runs, the experiment stops.

    Attributes:
        reason: why the launch ends early, or None while it does not.
        deadline: monotonic time at which the search's own budget asks for the end.
        running: ids of the trials that have a worker and may still be saved.
    """

    deadline: float | None = None
    reason: str | None = None
    running: set[str] = field(default_factory=set)

    def request(self, reason: str) -> None:
        """Ask for the end; the first reason stays."""
        if self.reason is None:
            self.reason = reason

    def is_over(self) -> bool:
        """Whether the experiment may stop: asked for, and every running trial is saved."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.request("budget.time_s")
        return self.reason is not None and not self.running

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts into a file that nothing of ours reads."""
        return {}


class _DrainingFIFOScheduler(FIFOScheduler):  # type: ignore[misc]
    """First in, first out, until the drain is on: then whoever reports is paused and saved."""

    def __init__(self, drain: Drain) -> None:
        super().__init__()
        self._drain = drain

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        decision = super().on_trial_result(tune_controller, trial, result)
        if self._drain.reason and decision == TrialScheduler.CONTINUE:
            return str(TrialScheduler.PAUSE)
        return str(decision)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        return None if self._drain.reason else super().choose_trial_to_run(tune_controller)


class _DrainStopper(Stopper):  # type: ignore[misc]
    """Ends the experiment once the drain is over. Trials end by themselves, see `SweepTrial`."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._drain.is_over()


class TrialQueue(SearchAlgorithm):  # type: ignore[misc]
    """Hands Tune one trial after the other, under our ids.

    Args:
        samples: the configurations, drawn lazily.
        on_ask: called with the id and the sample before Tune learns of the trial.
        max_concurrent: trials that may be alive at once.
        checkpoints: the storage in which the trials' folders lie.
        retries: times that a failed trial goes on from its last checkpoint.
        drain: nothing is handed out once it is on.
    """

    def __init__(
        self,
        samples: Iterator[Sample],
        *,
        on_ask: Callable[[str, Sample], None],
        max_concurrent: int,
        checkpoints: StorageContext,
        retries: int,
        drain: Drain,
    ) -> None:
        self._samples = samples
        self._on_ask = on_ask
        self._max_concurrent = max_concurrent
        self._checkpoints = checkpoints
        self._retries = retries
        self._drain = drain
        self._next = self._draw()
        self._asked = 0
        self._alive: set[str] = set()
        self._experiment: dict[str, Any] = {}

    def add_configurations(self, experiments: Experiment | list[Experiment]) -> None:
        """Keep what Tune made of the trainable and its resources."""
        self._experiment = _convert_to_experiment_list(experiments)[0].spec

    def next_trial(self) -> Trial | None:
        """The next trial, or None while as many are alive as may be."""
        if self.is_finished() or len(self._alive) >= self._max_concurrent or self._next is None:
            return None
        sample, self._next = self._next, self._draw()
        self._asked += 1
        trial_id = f"t{self._asked:04d}"
        self._on_ask(trial_id, sample)
        self._alive.add(trial_id)
        return _QueuedTrial(
            self._experiment["run"],
            config=dict(sample.parameters),
            trial_id=trial_id,
            storage=self._checkpoints,
            evaluated_params=dict(sample.parameters),
            experiment_tag=trial_id,
            placement_group_factory=self._experiment.get("resources_per_trial"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            max_failures=self._retries,
            trial_name_creator=_trial_id_of,
            trial_dirname_creator=_trial_id_of,
        )

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: ARG002
    ) -> None:
        """Make room for the next trial."""
        self._alive.discard(trial_id)

    def is_finished(self) -> bool:
        """Whether no trial is left; at once when the launch is to end, or Tune would wait."""
        return bool(self._finished or self._next is None or self._drain.reason)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts into a file that nothing of ours reads."""
        return {}

    def _draw(self) -> Sample | None:
        return next(self._samples, None)


class _QueuedTrial(Trial):  # type: ignore[misc]
    """A trial that is not tried again where that can't help."""

    def should_recover(self) -> bool:
        return bool(super().should_recover()) and not is_refused(read_error(self))


def read_error(trial: Trial) -> str:
    """All that Tune wrote of a trial's failures, newest last; empty if nothing is left.

    `Trial.get_error` reads the copy in the storage, which is not there yet when Tune's
    callbacks run.
    """
    try:
        return Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):
        return ""


def is_refused(error: str) -> bool:
    """Whether the algorithm refused the configuration, as it would every time."""
    return ConfigurationRefusedError.__name__ in error


def _trial_id_of(trial: Trial) -> str:
    return str(trial.trial_id)


def build_tuner(
    trainable: type[tune.Trainable],
    *,
    queue: TrialQueue,
    drain: Drain,
    callback: tune.Callback,
    folder: Path,
) -> tune.Tuner:
    """A Tuner that runs the queue's trials and writes its own state under ``folder``."""
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=queue,
            scheduler=_DrainingFIFOScheduler(drain),
            reuse_actors=True,
            trial_dirname_creator=_trial_id_of,
        ),
        run_config=tune.RunConfig(
            name=folder.name,
            storage_path=str(folder.parent),
            stop=_DrainStopper(drain),
            callbacks=[callback],
            verbose=0,
            # The trials say themselves when a checkpoint is due, their last step included.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
