"""Hands Ray Tune the trials of one stage after the other, so that its workers stay.

A worker takes seconds of a core to import what trains. Were every stage an experiment of its own,
each would begin with new workers, and so would every group of seeds of the confirmation.

Tune is given a search *algorithm* rather than a searcher, because only the former may choose trial
ids and the checkpoint that a trial starts from (`ray.tune.search.search_generator` generates ids of
its own).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ray.tune.execution import tune_controller
from ray.tune.experiment import Experiment, Trial
from ray.tune.search import SearchAlgorithm as TuneSearchAlgorithm
from ray.tune.utils.object_cache import _ObjectCache

from sweeper.journal import Journal, Listener
from sweeper.running.drain import Drain
from sweeper.running.limits import Limits
from sweeper.running.tune.placement import Placement
from sweeper.running.tune.queue import TrialQueue
from sweeper.running.tune.session import replaced
from sweeper.running.tune.unsaved import Unsaved
from sweeper.schedulers.base import Scheduler
from sweeper.trainables.contract import TrialSettings

__all__ = ["StageRelay", "StageTrials", "Stages", "Workers", "workers_kept"]


@dataclass(frozen=True, eq=False)
class StageTrials:
    """The trials of one stage, be it the search or a group of the confirmation.

    Attributes:
        settings: what all of them share.
        queue: hands them out.
        placement: the nodes that they run on.
        scheduler: decides which of them go on.
        limits: which end them.
        listeners: hear of the journal's events meanwhile, after the limits.
        is_last: no stage follows.
    """

    settings: TrialSettings
    queue: TrialQueue
    placement: Placement
    scheduler: Scheduler
    limits: Limits
    listeners: Sequence[Listener] = ()
    is_last: bool = False


class Stages:
    """A launch's stages, each made when the one before is over.

    Args:
        made: yields them, and returns how the launch ended. It goes on when all trials of a stage
            are over, or are saved after the drain.
        journal: whose events a stage hears of while it runs.

    Attributes:
        end: how the launch ended; None before that.
        failure: what was raised while a stage was made.
    """

    def __init__(self, made: Generator[StageTrials, None, str], journal: Journal) -> None:
        self.end: str | None = None
        self.failure: Exception | None = None
        self._made = made
        self._journal = journal
        self._heard: list[Listener] = []

    def take(self) -> StageTrials | None:
        """The next stage, or None if there is none."""
        self._forget()
        try:
            stage = next(self._made)
        except StopIteration as stop:
            self.end = stop.value
            return None
        except Exception as error:
            self.failure = error
            raise
        self._heard = [stage.limits, *stage.listeners]
        self._journal.listeners += self._heard
        return stage

    def close(self) -> None:
        """Go through no further stage."""
        self._forget()
        self._made.close()

    def _forget(self) -> None:
        # A listener that failed is no longer among them.
        heard = self._heard
        self._journal.listeners[:] = [one for one in self._journal.listeners if one not in heard]


class StageRelay(Unsaved, TuneSearchAlgorithm):  # type: ignore[misc]
    """A Tune experiment's source of trials: a stage's queue, and then the next one's.

    Args:
        stage: the first.
        stages: those after it.
        drain: once it is on, no further stage begins in this experiment.

    Attributes:
        stage: whose trials are run now.
        count_resting: how many workers have no trial now, and keep their resources.
    """

    def __init__(self, stage: StageTrials, stages: Stages, drain: Drain) -> None:
        self.stage = stage
        self._stages = stages
        self._drain = drain
        self._is_over = False
        self.count_resting: Callable[[], int] = lambda: 0

    def add_configurations(self, experiments: Experiment | list[Experiment]) -> None:
        """Begin with what Tune made of the trainable."""
        self._experiment = experiments
        self.stage.queue.begin(experiments, self.stage.settings)

    def next_trial(self) -> Trial | None:
        """The next trial of the stage, or the first of the next one."""
        if self.stage.queue.is_over and self._drain.reason is None and not self._is_over:
            stage = self._stages.take()
            if stage is None:
                self._is_over = True
            else:
                self.stage = stage
                stage.queue.begin(self._experiment, stage.settings)
        return self.stage.queue.next_trial(self.count_resting())

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: ARG002
    ) -> None:
        """Make room for the next trial."""
        self.stage.queue.note_end(trial_id)

    def is_finished(self) -> bool:
        """Whether no trial is left to begin; at once when the launch is to end, or Tune would wait.

        As soon as it is true, Tune lets workers go whose trials are over.
        """
        if self._finished or self._drain.reason or self._is_over:
            return True
        return self.stage.is_last and self.stage.queue.is_finished


@contextmanager
def workers_kept(relay: StageRelay) -> Iterator[None]:
    """Within the block an experiment keeps every worker whose trial is over for another trial."""
    with replaced(tune_controller, "_ObjectCache", functools.partial(Workers, relay)):
        yield


class Workers(_ObjectCache):  # type: ignore[misc]
    """Resting workers, by what they take up. Tune's own class keeps one, or what trials wait for.

    All stay as long as no trial waits for anything, since it can't wait for what they take up. One
    that has run out of memory waits for that, too.
    """

    def __init__(self, relay: StageRelay, **options: Any) -> None:
        super().__init__(**options)
        self._relay = relay
        relay.count_resting = lambda: self._num_cached_objects

    @property
    def _keeps_all(self) -> bool:
        return not self.total_max_objects and not self._relay.stage.queue.has_lone_trial

    def cache_object(self, key: Any, obj: Any) -> bool:
        """Keep a worker; returns whether it stays."""
        if not self._keeps_all:
            return bool(super().cache_object(key, obj))
        self._cached_objects[key].append(obj)
        self._num_cached_objects += 1
        return True

    def flush_cached_objects(self, force_all: bool = False) -> Iterator[Any]:
        """Let go of the workers that no trial waits for, or of all."""
        if force_all or not self._keeps_all:
            yield from super().flush_cached_objects(force_all)
