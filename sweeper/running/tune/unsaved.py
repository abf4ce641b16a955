"""Keeps our parts and trials out of Tune's snapshots, which serve its own restore alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sweeper.running.tune.session import replaced

# isort: split
from ray.tune.execution.tune_controller import TuneController

__all__ = ["Unsaved", "trials_left_out"]


class Unsaved:
    """A part of Tune, which Tune pickles when an experiment begins."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


@contextmanager
def trials_left_out() -> Iterator[None]:
    """Within the block an experiment's snapshots are without its trials, which take time.

    The file must be there: Tune looks for it at the end.
    """
    with replaced(TuneController, "_get_trial_checkpoints", lambda _: {}):
        yield
