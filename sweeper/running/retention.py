"""Which checkpoints stay on disk, decided event by event.

Each trial keeps its newest `checkpoint.keep` checkpoints and, with ``selection.score: best``, the
one that earned the score. Of the finished trials only the best `checkpoint.keep_trials` keep any,
and on torch, unless `checkpoint.trainer` is set, only the agent's files of them. Trials that can
go on (paused or running) keep theirs whole. A checkpoint that another trial is about to go on from
(population-based training) stays until that trial has one of its own. Trials of the confirmation
keep their last one, beside these. `planning.estimates` and `rehearsal.forecast` predict the disk
that this takes.
"""

from __future__ import annotations

import logging
from bisect import insort
from collections.abc import Collection
from dataclasses import dataclass, field

from sweeper.journal import Event, TrialCheckpointed, TrialEnded, TrialReported
from sweeper.metrics import Objective
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.results.builder import ResultsBuilder
from sweeper.results.ranking import Rank, best_checkpoint, rank_trial
from sweeper.results.records import judge_trial
from sweeper.results.scoring import iteration_of
from sweeper.states import Stage
from sweeper.storage.checkpoints import remove_file, remove_folder

__all__ = ["CheckpointRetention"]

_logger = logging.getLogger(__name__)


@dataclass
class CheckpointRetention:
    """A journal listener that deletes checkpoints which are no longer needed.

    Args:
        results: the state of the run, already updated with each event.
        objective: what decides between trials.
        keep: how many of its newest checkpoints a trial keeps.
        keep_trials: how many finished trials keep checkpoints.
        keep_trainer: whether finished trials keep what training needs to go on; RLlib's
            checkpoints can't be trimmed.
    """

    paths: RunPaths
    results: ResultsBuilder
    objective: Objective
    keep: int
    keep_trials: int
    keep_trainer: bool = True
    _ranked: list[tuple[Rank, str]] = field(default_factory=list)
    _copied: dict[str, tuple[str, str]] = field(default_factory=dict)

    def catch_up(self, continued: Collection[str] = ()) -> None:
        """Take in the trials that earlier launches finished, as if their events came now.

        Args:
            continued: trials that this launch resumes, whatever their state was.
        """
        for trial_id in self.results.trial_ids:
            self._hold_origin(trial_id)
        for trial_id in self.results.trial_ids:
            is_over = self.results.trial(trial_id).state.has_succeeded
            if is_over and trial_id not in continued:
                self._trim_ended(trial_id)

    def __call__(self, event: Event) -> None:
        """Delete what is no longer needed after the event."""
        if isinstance(event, TrialReported) and event.decision is not None:
            self._hold_origin(event.trial_id)
        elif isinstance(event, TrialCheckpointed):
            self._trim_trial(event.trial_id)
            self._release_origin(event.trial_id)
        elif isinstance(event, TrialEnded) and event.state.is_over:
            if event.state.has_succeeded:
                self._trim_ended(event.trial_id)
            self._release_origin(event.trial_id)

    def _hold_origin(self, trial_id: str) -> None:
        """Keep the checkpoint that a trial is about to go on from."""
        origin = self.results.trial(trial_id).origin
        if origin is not None and origin.checkpoint is not None:
            self._copied[trial_id] = (origin.donor, origin.checkpoint.path)

    def _release_origin(self, trial_id: str) -> None:
        """Delete what was kept for a trial that no longer needs it, if nothing else keeps it."""
        if trial_id not in self._copied:
            return
        donor, _ = self._copied.pop(trial_id)
        if self.results.trial(donor).state.has_succeeded:
            self._trim_ended(donor)
        self._trim_trial(donor)

    def _trim_trial(self, trial_id: str) -> None:
        record = self.results.trial(trial_id)
        checkpoints = record.checkpoints
        stay = {checkpoint.path for checkpoint in checkpoints[-self.keep :]}
        if self.objective.score == "best" and checkpoints:
            report = judge_trial(record, self.objective).report
            earned_at = None if report is None else iteration_of(record.reports[report])
            stay.add(best_checkpoint(checkpoints, self.objective, earned_at=earned_at).path)
        for checkpoint in checkpoints:
            if checkpoint.path not in stay and not self._is_held(checkpoint.path):
                self._delete(checkpoint.path)

    def _trim_ended(self, trial_id: str) -> None:
        record = self.results.trial(trial_id)
        if not self.keep_trainer:
            for checkpoint in record.checkpoints:
                if not self._is_held(checkpoint.path):
                    self._trim_checkpoint(checkpoint.path)
        if record.stage is Stage.SEARCH:  # the confirmation's are few, and hold the champion
            self._trim_trials(trial_id)

    def _trim_trials(self, trial_id: str) -> None:
        rank = rank_trial(self.results.trial(trial_id), self.objective)
        # A trial counts once: after a kill, its end may be recorded after `catch_up` has seen it.
        self._ranked = [entry for entry in self._ranked if entry[1] != trial_id]
        insort(self._ranked, (rank, trial_id))
        for _, loser in self._ranked[self.keep_trials :]:
            for checkpoint in self.results.trial(loser).checkpoints:
                if not self._is_held(checkpoint.path):
                    self._delete(checkpoint.path)
        del self._ranked[self.keep_trials :]

    def _is_held(self, path: str) -> bool:
        return any(path == held for _, held in self._copied.values())

    def _trim_checkpoint(self, relative: str) -> None:
        for name in CheckpointPaths.TRAINER_FILES:
            file = self.paths.root / relative / name
            try:
                remove_file(file, below=self.paths.trials)
            except OSError as error:
                _logger.warning("can't delete %s: %s", file, error)

    def _delete(self, relative: str) -> None:
        folder = self.paths.root / relative
        try:
            remove_folder(folder, below=self.paths.trials)
        except OSError as error:
            _logger.warning("can't delete the old checkpoint %s: %s", folder, error)
