"""From a plan to Ray Tune: the param space, the search algorithm, the scheduler, the Tuner.

Tune is given a search *algorithm* rather than a searcher, because only the former may choose
trial ids and the checkpoint that a trial starts from (`ray.tune.search.search_generator`
generates ids of its own). It hands out trials one by one, never more than may run at once, so
that a configuration is asked for as late as possible and nothing waits in Tune's queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Experiment, Trial
from ray.tune.experiment.experiment import _convert_to_experiment_list
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import SearchAlgorithm
from ray.tune.stopper import Stopper

from sweeper.errors import UserError
from sweeper.planning.plan import SweepPlan
from sweeper.running.limits import Drain
from sweeper.running.resume.state import Continuation
from sweeper.running.tune.nodes import can_hold
from sweeper.search.distributions import Distribution
from sweeper.search.expansion import Sample
from sweeper.states import LaunchEnd

_NODE_LABEL = "ray.io/node-id"  # which Ray gives every node

__all__ = ["TrialQueue", "build_tuner", "read_error", "to_tune"]


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


class _DrainingFIFOScheduler(FIFOScheduler):  # type: ignore[misc]
    """First in, first out, until the drain is on: then whoever reports is paused and saved.

    A trial that the search's budget ends is evaluated before.
    """

    def __init__(self, drain: Drain) -> None:
        super().__init__()
        self._drain = drain

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        decision = super().on_trial_result(tune_controller, trial, result)
        if self._drain.reason and decision == TrialScheduler.CONTINUE:
            if self._drain.is_to_evaluate(trial.trial_id):
                # Carried out before the step that Tune asks for next.
                trial.temporary_state.ray_actor.wind_up.remote()
                return str(TrialScheduler.CONTINUE)
            self._drain.pausing.add(trial.trial_id)
            return str(TrialScheduler.PAUSE)
        return str(decision)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:  # noqa: ARG002
        """Nobody: pending trials are started without being chosen, and paused ones stay so.

        Tune's own goes through all trials that there ever were, at every turn of its loop.
        """
        return None


class _DrainStopper(Stopper):  # type: ignore[misc]
    """Ends the experiment once the drain is over. Trials end by themselves, see `SweepTrial`."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._drain.is_over()


@dataclass(frozen=True)
class _Waiting:
    """A trial that is to be taken up again."""

    continuation: Continuation
    not_before: float = 0.0
    alone: bool = False


class _PlacedTrial(Trial):  # type: ignore[misc]
    """A trial that is kept off some nodes, as long as there is room elsewhere."""

    avoided: frozenset[str] = frozenset()
    placement_group_factory: Any

    def create_placement_group_factory(self) -> None:
        """Take what the trainable asks for, with the nodes that it is not to be on."""
        super().create_placement_group_factory()
        asked = self.placement_group_factory
        rest = [
            node["Resources"]
            for node in (ray.nodes() if self.avoided else ())
            if node["Alive"] and node["NodeID"] not in self.avoided
        ]
        if can_hold(asked.bundles, rest):
            selector = {_NODE_LABEL: f"!in({','.join(sorted(self.avoided))})"}
            self.placement_group_factory = tune.PlacementGroupFactory(
                asked.bundles,
                strategy=asked.strategy,
                bundle_label_selector=[selector] * len(asked.bundles),
            )


class TrialQueue(SearchAlgorithm):  # type: ignore[misc]
    """Hands Tune one trial after the other, under our ids.

    Trials that go on come first, then new ones. A trial that failed and is tried again is put
    back here, rather than left to Tune, and becomes a new Tune trial of the same id: so it may
    have to wait, and is taken up from the checkpoint that the journal names.

    Args:
        samples: the configurations that were not asked for yet, drawn lazily.
        on_ask: called with the id and the sample before Tune learns of the trial.
        max_concurrent: trials that may be alive at once.
        checkpoints: the storage in which the trials' folders lie.
        drain: nothing is handed out once it is on.
        asked: how many configurations were asked for before.
        max_trials: no more configurations than these are asked for, earlier ones included.
        continuations: trials that go on, in their order.
        avoided: the nodes that a trial is to be kept off, by its id.
    """

    def __init__(
        self,
        samples: Iterator[Sample],
        *,
        on_ask: Callable[[str, Sample], None],
        max_concurrent: int,
        checkpoints: StorageContext,
        drain: Drain,
        asked: int = 0,
        max_trials: int | None = None,
        continuations: Sequence[Continuation] = (),
        avoided: Callable[[str], frozenset[str]] = lambda _: frozenset(),
    ) -> None:
        self._samples = samples
        self._on_ask = on_ask
        self._max_concurrent = max_concurrent
        self._checkpoints = checkpoints
        self._drain = drain
        self._asked = asked
        self._max_trials = max_trials
        self._waiting = [_Waiting(continuation) for continuation in continuations]
        self._avoided = avoided
        self._closed: LaunchEnd | None = None
        self._next = self._draw()
        self._alive: set[str] = set()
        self._alone: str | None = None
        self._experiment: dict[str, Any] = {}

    @property
    def closed(self) -> LaunchEnd | None:
        """Why no further configuration was asked for; None if all were, or will be."""
        return self._closed

    @property
    def is_used_up(self) -> bool:
        """Whether every configuration was asked for, and every trial handed out."""
        return self._closed is None and self._next is None and not self._waiting

    def close(self, reason: LaunchEnd) -> None:
        """Ask for no further configuration; trials that were begun go on to their end."""
        if self._next is not None:
            self._closed, self._next = reason, None

    def put_back(
        self, continuation: Continuation, *, delay_s: float = 0.0, alone: bool = False
    ) -> None:
        """Have a trial taken up again, after a delay, or while no other runs."""
        not_before = time.monotonic() + delay_s
        self._waiting.append(_Waiting(continuation, not_before, alone))

    def add_configurations(self, experiments: Experiment | list[Experiment]) -> None:
        """Keep what Tune made of the trainable and its resources."""
        self._experiment = _convert_to_experiment_list(experiments)[0].spec

    def next_trial(self) -> Trial | None:
        """The next trial, or None while as many are alive as may be."""
        if self.is_finished() or len(self._alive) >= self._max_concurrent or self._alone:
            return None
        again = self._take_waiting()
        if again is not None:
            return self._continue(again)
        if any(waiting.alone for waiting in self._waiting):
            return None  # the others end first
        if self._next is None:
            return None
        sample = self._next
        self._asked += 1
        self._next = self._draw()
        trial_id = f"t{self._asked:04d}"
        self._on_ask(trial_id, sample)
        return self._make(trial_id, sample.parameters)

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: ARG002
    ) -> None:
        """Make room for the next trial."""
        self._alive.discard(trial_id)
        if self._alone == trial_id:
            self._alone = None

    def is_finished(self) -> bool:
        """Whether no trial is left; at once when the launch is to end, or Tune would wait."""
        if self._finished or self._drain.reason:
            return True
        return self._next is None and not self._waiting

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its parts into a file that nothing of ours reads."""
        return {}

    def _take_waiting(self) -> _Waiting | None:
        now = time.monotonic()
        for index, waiting in enumerate(self._waiting):
            if waiting.not_before <= now and not (waiting.alone and self._alive):
                return self._waiting.pop(index)
        return None

    def _continue(self, waiting: _Waiting) -> Trial:
        again = waiting.continuation
        if waiting.alone:
            self._alone = again.trial_id
        trial = self._make(again.trial_id, again.parameters)
        trial.storage.current_checkpoint_index = again.last_checkpoint
        # A trial that ends before its first new report is judged by its last one.
        trial.run_metadata.last_result = dict(again.last_report)
        if again.checkpoint is not None:
            # With its metrics, for Tune takes iteration and time from them; `restore_path`
            # would have both start again.
            trial.run_metadata.checkpoint_manager.register_checkpoint(
                _TrainingResult(
                    tune.Checkpoint(str(again.checkpoint), trial.storage.storage_filesystem),
                    dict(again.metrics),
                )
            )
        return trial

    def _make(self, trial_id: str, parameters: Mapping[str, Any]) -> Trial:
        self._alive.add(trial_id)
        trial = _PlacedTrial(
            self._experiment["run"],
            config=dict(parameters),
            trial_id=trial_id,
            storage=self._checkpoints,
            evaluated_params=dict(parameters),
            experiment_tag=trial_id,
            placement_group_factory=self._experiment.get("resources_per_trial"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            max_failures=0,
            trial_name_creator=_trial_id_of,
            trial_dirname_creator=_trial_id_of,
        )
        trial.avoided = self._avoided(trial_id)
        return trial

    def _draw(self) -> Sample | None:
        if self._max_trials is not None and self._asked >= self._max_trials:
            if next(self._samples, None) is not None:
                self._closed = LaunchEnd.BUDGET_TRIALS
            return None
        return next(self._samples, None)


def read_error(trial: Trial) -> str:
    """All that Tune wrote of a trial's failures, newest last; empty if nothing is left.

    `Trial.get_error` reads the copy in the storage, which is not there yet when Tune's
    callbacks run.
    """
    try:
        return Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):
        return ""


def _trial_id_of(trial: Trial) -> str:
    return str(trial.trial_id)


def build_tuner(
    trainable: type[tune.Trainable],
    *,
    queue: TrialQueue,
    drain: Drain,
    callbacks: Sequence[tune.Callback],
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
            callbacks=list(callbacks),
            verbose=0,
            # The trials say themselves when a checkpoint is due, their last step included.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
