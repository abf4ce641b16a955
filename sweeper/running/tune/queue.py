"""The queue of a stage's trials, which Ray Tune is handed one after the other, under our ids.

It never hands out more than may run at once: a configuration is asked for as late as possible, and
nothing waits in Tune's own queue. `relay` stands between it and Tune.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune.experiment import Experiment, Trial
from ray.tune.experiment.experiment import _convert_to_experiment_list
from ray.tune.registry import get_trainable_cls

from sweeper.running.drain import Drain
from sweeper.running.resume.state import Continuation
from sweeper.running.tune.nodes import count_room
from sweeper.running.tune.trial_storage import checkpoint_of
from sweeper.search.base import SearchAlgorithm
from sweeper.search.expansion import Sample
from sweeper.states import LaunchEnd
from sweeper.trainables.contract import TrialSettings
from sweeper.trainables.trial import SETTINGS

__all__ = ["TrialQueue", "name_trial"]

_NODE_LABEL = "ray.io/node-id"  # which Ray gives every node


@dataclass(frozen=True)
class _Waiting:
    """A trial that is to be taken up again.

    Attributes:
        alone: it runs while no other does.
        goes_next: it lets nobody go first, although it had waited for others.
        after: trials that had been handed out before it was put back, and had no worker yet.
    """

    continuation: Continuation
    not_before: float = 0.0
    alone: bool = False
    goes_next: bool = False
    after: frozenset[str] = frozenset()

    @property
    def is_last(self) -> bool:
        """Whether it lets the others of its population go first."""
        return self.continuation.waits_since is not None and not self.goes_next


class _PlacedTrial(Trial):  # type: ignore[misc]
    """A trial that is kept off some nodes, as long as there is room elsewhere.

    Attributes:
        trainable: what it runs. Tune would fetch and unpickle it for every trial.
        avoided: the nodes.
    """

    trainable: type | None = None
    avoided: frozenset[str] = frozenset()
    placement_group_factory: Any

    def get_trainable_cls(self) -> type | None:
        """What the trial runs."""
        return self.trainable

    def create_placement_group_factory(self) -> None:
        """Take what the trainable asks for, away from the avoided nodes."""
        super().create_placement_group_factory()
        asked = self.placement_group_factory
        rest = [
            node["Resources"]
            for node in (ray.nodes() if self.avoided else ())
            if node["Alive"] and node["NodeID"] not in self.avoided
        ]
        if count_room(asked.bundles, rest, most=1):
            selector = {_NODE_LABEL: f"!in({','.join(sorted(self.avoided))})"}
            self.placement_group_factory = tune.PlacementGroupFactory(
                asked.bundles,
                strategy=asked.strategy,
                bundle_label_selector=[selector] * len(asked.bundles),
            )


@dataclass(eq=False)
class TrialQueue:
    """Interrupted trials first, then new ones from the search algorithm.

    A trial that failed and is tried again is put back here rather than left to Tune, and becomes
    a new Tune trial of the same id. So it can wait, and it starts from the checkpoint that the
    journal names. The same happens to a trial that goes on from another's checkpoint, and to one
    that lets the others of its population go first: these wait behind all new trials, and until
    all that were handed out before have a worker. Tune would give a free one to whoever came last.

    A trial that has to run alone does so to its end. Just put back for that, it goes next. Where
    it lets its population go first, the others run until all of them wait, too, or have ended.

    Args:
        search: chooses configurations; it has been told of earlier launches' trials.
        trials: how many configurations there are in all.
        on_ask: called with the id and the sample before Tune learns of the trial.
        max_concurrent: trials that may be alive at once.
        find_room: how many more trials the cluster has room for; None: as many as may be alive.
            One more is handed out, since what waits is what an autoscaler goes by.
        checkpoints: the storage that holds the trials' folders.
        drain: nothing is handed out once it is on.
        asked: how many configurations earlier launches asked for.
        max_trials: at most so many configurations are asked for, earlier ones included.
        continuations: trials that go on, in their order.
        find_avoided: the nodes that a trial must be kept off, by its id.
        prefix: of the trials' ids.
    """

    search: SearchAlgorithm
    trials: int
    on_ask: Callable[[str, Sample], None]
    max_concurrent: int
    checkpoints: StorageContext
    drain: Drain
    asked: int = 0
    max_trials: int | None = None
    continuations: Sequence[Continuation] = ()
    find_avoided: Callable[[str], frozenset[str]] = lambda _: frozenset()
    find_room: Callable[[], int] | None = None
    prefix: str = "t"
    _closed: LaunchEnd | None = None
    _alive: set[str] = field(default_factory=set)
    _alone: str | None = None
    _lone: set[str] = field(default_factory=set)
    _experiment: dict[str, Any] = field(default_factory=dict)
    _trainable: type | None = None
    _settings: TrialSettings | None = None

    def __post_init__(self) -> None:
        self._limit = self.trials if self.max_trials is None else min(self.trials, self.max_trials)
        self._waiting = [_Waiting(continuation) for continuation in self.continuations]
        self._waiting.sort(key=lambda waiting: waiting.continuation.waits_since or 0.0)

    @property
    def closed(self) -> LaunchEnd | None:
        """Why no further configuration was asked for; None if all were, or will be."""
        if self._closed is None and self._limit <= self.asked < self.trials:
            return LaunchEnd.BUDGET_TRIALS
        return self._closed

    @property
    def is_used_up(self) -> bool:
        """Whether every configuration was asked for, and every trial handed out."""
        return self.asked >= self.trials and not self._waiting

    def close(self, reason: LaunchEnd) -> None:
        """Ask for no further configuration; trials that were begun go on to their end."""
        if self._closed is None and self._has_more:
            self._closed = reason

    def put_back(
        self, continuation: Continuation, *, delay_s: float = 0.0, alone: bool = False
    ) -> None:
        """Have a trial taken up again, after a delay.

        Args:
            continuation: how it goes on.
            delay_s: how long it waits at least.
            alone: from now on it runs while no other does, whatever it is put back for later.
        """
        if alone:
            self._lone.add(continuation.trial_id)
        self._waiting.append(
            _Waiting(
                continuation,
                not_before=time.monotonic() + delay_s,
                alone=continuation.trial_id in self._lone,
                goes_next=alone,
                after=frozenset(self._alive - self.drain.running),
            )
        )

    def begin(self, experiment: Experiment | list[Experiment], settings: TrialSettings) -> None:
        """Make Tune's trials from now on.

        Args:
            experiment: what Tune made of the trainable and its resources.
            settings: what this queue's trials share.
        """
        self._experiment = _convert_to_experiment_list(experiment)[0].spec
        self._trainable = get_trainable_cls(self._experiment["run"])
        self._settings = settings

    def next_trial(self, resting: int = 0) -> Trial | None:
        """The next trial, or None while as many are alive as may be.

        Args:
            resting: workers that keep their resources for another trial.
        """
        if self.is_finished or self._alone or not self._has_room(resting):
            return None
        again = self._take_waiting(is_last=False)
        if again is not None:
            return self._continue(again)
        # One that has to run alone waits until no other runs, and no other begins before it.
        if any(waiting.alone and not waiting.is_last for waiting in self._waiting):
            return None
        if self._has_more:
            return self._begin()
        again = self._take_waiting(is_last=True)
        return None if again is None else self._continue(again)

    def note_end(self, trial_id: str) -> None:
        """Make room for the next trial."""
        self._alive.discard(trial_id)
        if self._alone == trial_id:
            self._alone = None

    @property
    def is_over(self) -> bool:
        """Whether no trial is left, and all that were handed out are over."""
        return not self._alive and self.is_finished

    @property
    def has_lone_trial(self) -> bool:
        """Whether a trial runs, or waits to run, while no other does."""
        return self._alone is not None or any(waiting.alone for waiting in self._waiting)

    @property
    def is_finished(self) -> bool:
        """Whether no trial is left to hand out, as things stand."""
        if self.drain.reason:
            return True
        return not self._has_more and not self._waiting

    def _has_room(self, resting: int) -> bool:
        if len(self._alive) >= self.max_concurrent:
            return False
        if self.find_room is None:
            return True
        return len(self._alive - self.drain.running) <= resting + self.find_room()

    @property
    def _has_more(self) -> bool:
        return self._closed is None and self.asked < self._limit

    def _begin(self) -> Trial | None:
        sample = self.search.ask(self.asked + 1)
        if sample is None:
            self._limit = self.trials = self.asked
            return None
        self.asked += 1
        trial_id = f"{self.prefix}{self.asked:04d}"
        self.on_ask(trial_id, sample)
        return self._make(trial_id, sample.parameters)

    def _take_waiting(self, *, is_last: bool) -> _Waiting | None:
        """The next trial to take up again, of those that let others go first or of the rest."""
        now = time.monotonic()
        without_worker = self._alive - self.drain.running
        for index, waiting in enumerate(self._waiting):
            if waiting.is_last is not is_last:
                continue
            if waiting.not_before > now or (is_last and waiting.after & without_worker):
                continue
            if not (waiting.alone and self._alive):
                return self._waiting.pop(index)
            if is_last:
                return None  # those behind it would go on by turns, and it would never run
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
            # With its metrics: Tune takes iteration and time from them. `restore_path` would
            # have both start again.
            trial.run_metadata.checkpoint_manager.register_checkpoint(
                _TrainingResult(
                    checkpoint_of(again.checkpoint, trial.storage),
                    dict(again.metrics),
                )
            )
        return trial

    def _make(self, trial_id: str, parameters: Mapping[str, Any]) -> Trial:
        self._alive.add(trial_id)
        trial = _PlacedTrial(
            self._experiment["run"],
            config={**parameters, SETTINGS: self._settings},
            trial_id=trial_id,
            storage=self.checkpoints,
            evaluated_params=dict(parameters),
            experiment_tag=trial_id,
            placement_group_factory=self._experiment.get("resources_per_trial"),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            max_failures=0,
            trial_name_creator=name_trial,
            trial_dirname_creator=name_trial,
            stub=True,  # Tune would look its trainable up
        )
        trial.trainable = self._trainable
        # Tune would give a trial that is made again in the same launch a folder of another name.
        trial.relative_logdir = trial.storage.trial_dir_name = trial_id
        trial.avoided = self.find_avoided(trial_id)
        return trial


def name_trial(trial: Trial) -> str:
    """Its id, which is also its folder's name."""
    return str(trial.trial_id)
