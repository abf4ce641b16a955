"""Which checkpoints stay on disk, decided as the journal's events come in.

Of a trial the newest `checkpoint.keep` stay, and with ``selection.score: best`` the one that
earned the score as well. Of the finished trials only the best `checkpoint.keep_trials` keep
any, and on torch without `checkpoint.trainer` no more of them than the agent. A trial that can
go on (paused, or running) always keeps its own, whole.
"""

from __future__ import annotations

import logging
import math
import shutil
from bisect import insort
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.evidence.selection import rank_trial
from sweeper.journal import Event, TrialCheckpointed, TrialEnded
from sweeper.paths import RunPaths
from sweeper.results.scoring import Rules, metric_value
from sweeper.results.sweep_results import ResultsBuilder
from sweeper.trainables.dqn_memory import REPLAY_FILE

__all__ = ["TRAINER_FILES", "CheckpointRetention"]

# What training needs beside the agent, the file without which it can't go on first: so that what
# is trimmed in part is never taken for whole.
TRAINER_FILES = ("trainer.json", "trainer.safetensors", REPLAY_FILE)

_logger = logging.getLogger(__name__)


@dataclass
class CheckpointRetention:
    """A journal listener that deletes the checkpoints that nobody will ask for.

    Args:
        paths: the run's folder.
        results: the state of the run, already updated with each event.
        rules: what decides between trials.
        keep: newest checkpoints a trial keeps.
        keep_trials: finished trials that keep theirs.
        keep_trainer: finished trials keep what training could go on from; RLlib's checkpoints
            are one with it.
    """

    paths: RunPaths
    results: ResultsBuilder
    rules: Rules
    keep: int
    keep_trials: int
    keep_trainer: bool = True
    _ranked: list[tuple[tuple[float, float, tuple[int, str]], str]] = field(default_factory=list)

    def catch_up(self, continued: Collection[str] = ()) -> None:
        """Know the trials that earlier launches finished, as if their events had come in.

        Args:
            continued: trials that this launch takes up again, whatever they were.
        """
        for trial_id in self.results.trial_ids:
            is_over = self.results.trial(trial_id).state in ("TERMINATED", "PRUNED")
            if is_over and trial_id not in continued:
                self._trim_trials(trial_id)

    def __call__(self, event: Event) -> None:
        """Delete what the event made superfluous."""
        if isinstance(event, TrialCheckpointed):
            self._trim_trial(event.trial_id)
        elif isinstance(event, TrialEnded) and event.state in ("TERMINATED", "PRUNED"):
            self._trim_trials(event.trial_id)

    def _trim_trial(self, trial_id: str) -> None:
        checkpoints = self.results.trial(trial_id).checkpoints
        stay = {checkpoint.path for checkpoint in checkpoints[-self.keep :]}
        if self.rules.score == "best" and checkpoints:
            stay.add(max(checkpoints, key=lambda item: self._merit(item.metrics)).path)
        for checkpoint in checkpoints:
            if checkpoint.path not in stay:
                self._delete(checkpoint.path)

    def _trim_trials(self, trial_id: str) -> None:
        rules = self.rules
        rank = rank_trial(
            self.results.trial(trial_id), metric=rules.metric, mode=rules.mode, score=rules.score
        )
        if not self.keep_trainer:
            for checkpoint in self.results.trial(trial_id).checkpoints:
                self._trim_checkpoint(checkpoint.path)
        # Once only: an end that nobody lived to write comes in after `catch_up` has seen the trial.
        self._ranked = [entry for entry in self._ranked if entry[1] != trial_id]
        insort(self._ranked, (rank, trial_id))
        for _, loser in self._ranked[self.keep_trials :]:
            for checkpoint in self.results.trial(loser).checkpoints:
                self._delete(checkpoint.path)
        del self._ranked[self.keep_trials :]

    def _merit(self, metrics: Mapping[str, Any]) -> float:
        value = metric_value(metrics, self.rules.metric)
        if value is None or not math.isfinite(value):
            return -math.inf
        return value if self.rules.mode == "max" else -value

    def _trim_checkpoint(self, relative: str) -> None:
        for name in TRAINER_FILES:
            file = self.paths.root / relative / name
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                _logger.warning("can't delete %s: %s", file, error)

    def _delete(self, relative: str) -> None:
        folder = self.paths.root / relative
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            _logger.warning("can't delete the old checkpoint %s: %s", folder, error)
