"""A search algorithm that thinks in a thread, one configuration ahead of the trials."""

from __future__ import annotations

import signal
from concurrent.futures import Future, ThreadPoolExecutor

from sweeper.search.base import Observation, SearchAlgorithm
from sweeper.search.expansion import Sample

__all__ = ["BackgroundSearch"]


class BackgroundSearch(SearchAlgorithm):
    """Has the next configuration ready when a trial ends, so that none waits for it.

    It is chosen once the one before has been handed out, from what is known by then. That is a
    trial less than a search knows that chooses at the last moment, so this is for several trials
    at a time only.

    Args:
        search: what chooses; from now on only the thread calls it.
    """

    def __init__(self, search: SearchAlgorithm) -> None:
        self.learns, self.follows_order = search.learns, search.follows_order
        self._search = search
        self._thread = ThreadPoolExecutor(1, "sweeper-search", initializer=_block_signals)
        self._chosen: dict[int, Future[Sample | None]] = {}
        self._told: list[Future[None]] = []

    def prepare(self, number: int) -> None:
        """Begin to choose a configuration, after all that was told so far."""
        self._chosen[number] = self._thread.submit(self._search.ask, number)

    def ask(self, number: int) -> Sample | None:
        """The configuration that was prepared; waits only while it is still being chosen."""
        if number not in self._chosen:
            self.prepare(number)
        sample = self._chosen.pop(number).result()
        for told in self._told:
            if told.done():
                told.result()  # its error, if it had one
        self._told = [told for told in self._told if not told.done()]
        if sample is not None:
            self.prepare(number + 1)
        return sample

    def tell(self, observation: Observation) -> None:
        """Have the thread take it in, when it has chosen what it is at."""
        self._told.append(self._thread.submit(self._search.tell, observation))

    def close(self) -> None:
        """Choose nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _block_signals() -> None:
    # The driver's main thread handles them.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
