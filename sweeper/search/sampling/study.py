"""An Optuna study in memory whose trials are set as a whole, again and again.

A study of Optuna's own never changes a trial that is over. Ours is a picture of the run: a trial
that goes on after all is running once more, and a suggestion that is not taken leaves no trace.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

__all__ = ["Picture", "quiet"]


class _Storage(InMemoryStorage):
    """Optuna's own, whose trials can be replaced."""

    def put(self, study_id: int, trial: FrozenTrial) -> None:
        """Replace a trial by its number, or add the next one."""
        trials = self._studies[study_id].trials
        if trial.number == len(trials):
            self.create_new_trial(study_id)
        trial._trial_id = trials[trial.number]._trial_id
        self._set_trial(trial._trial_id, trial)

    def forget_last(self, study_id: int) -> FrozenTrial:
        """Remove the newest trial."""
        trial = self._studies[study_id].trials.pop()
        del self._trial_id_to_study_id_and_number[trial._trial_id]
        return trial


class Picture:
    """The trials of a search, as a sampler sees them.

    Args:
        mode: ``max`` or ``min``.
    """

    def __init__(self, mode: str) -> None:
        self._storage = _Storage()
        with quiet():
            self.study: Study = optuna.create_study(
                storage=self._storage, direction="maximize" if mode == "max" else "minimize"
            )
        self._id = self.study._study_id
        self.size = 0

    def ask(self, sampler: optuna.samplers.BaseSampler) -> Trial:
        """The next trial, whose parameters the sampler suggests; `forget` it before the next."""
        self.study.sampler = sampler
        return self.study.ask()

    def forget(self) -> dict[str, Any]:
        """Drop the trial that was asked for; returns what the sampler noted at it."""
        return self._storage.forget_last(self._id).system_attrs

    def put(self, trial: FrozenTrial) -> None:
        """Set a trial by its number, from 0."""
        self._storage.put(self._id, trial)
        self.size = max(self.size, trial.number + 1)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's notes about studies, which it prints by default."""
    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
