"""Follows a search and writes it as a journal of Optuna's, in a thread of its own."""

from __future__ import annotations

import importlib
import logging
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweeper.journal import Event, TrialAsked, TrialEnded, TrialReported, TrialStarted
from sweeper.metrics import Objective
from sweeper.results.builder import ResultsBuilder
from sweeper.results.observing import observe_search, observe_trial
from sweeper.search.base import Observation
from sweeper.states import Stage

__all__ = ["OptunaLog"]

_logger = logging.getLogger(__name__)

_PAUSE_S = 0.5  # between two rounds of writing
_CLOSE_S = 30.0


class OptunaLog:
    """A journal listener; what goes wrong with the file is a warning, never the sweep's end.

    Args:
        path: the file.
        param_space: nested; leaves are constants or distributions.
        objective: whose values are written.
        results: the state of the run, already updated with each event.
    """

    def __init__(
        self,
        path: Path,
        param_space: Mapping[str, Any],
        objective: Objective,
        results: ResultsBuilder,
    ) -> None:
        self._path, self._space = path, param_space
        self._objective, self._results = objective, results
        self._earlier = observe_search(results.snapshot(), objective)
        self._news: dict[int, Observation] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="sweeper-optuna", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        # Optuna's modules import each other in circles, which two threads at a time can't do: the
        # launch imports it, too, for its search.
        importlib.import_module("sweeper.search.sampling.export")
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Note how a trial of the search stands."""
        if isinstance(event, TrialAsked | TrialStarted | TrialReported | TrialEnded):
            record = self._results.trial(event.trial_id)
            if record.stage is Stage.SEARCH:
                news = observe_trial(record, self._objective)
                with self._lock:
                    self._news[news.number] = news

    def close(self) -> None:
        """Write what is left, and end the thread."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        # The driver's main thread handles the signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            from sweeper.search.sampling.export import StudyLog

            name = self._path.parent.name
            log = StudyLog(self._path, self._space, name=name, objective=self._objective)
            log.open(self._earlier)
            while True:
                is_last = self._closing.wait(_PAUSE_S)
                with self._lock:
                    news, self._news = self._news, {}
                for number in sorted(news):
                    log.write(news[number])
                if is_last:
                    return
        except Exception as error:
            _logger.warning("%s is not written any more: %s", self._path.name, error)
