"""Which class trains an algorithm on a backend."""

from __future__ import annotations

import importlib

from sweeper.spec.keys.support import find_support
from sweeper.trainables.contract import ReplicaTrainer, TrialSettings

__all__ = ["trainer_class"]


def trainer_class(settings: TrialSettings) -> type[ReplicaTrainer]:
    """What trains; imported here, because it takes seconds."""
    module, _, name = find_support(settings.backend, settings.algorithm).trainer.partition(":")
    trainer: type[ReplicaTrainer] = getattr(importlib.import_module(module), name)
    return trainer
