"""The port for search algorithms: `ask` for a configuration, `tell` what became of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeper.search.expansion import Sample
from sweeper.states import TrialState

__all__ = ["Observation", "SearchAlgorithm"]


@dataclass(frozen=True)
class Observation:
    """What is known of a trial when a search algorithm is told of it.

    Attributes:
        number: which configuration it is, from 1.
        parameters: what the search chose, nested.
        state: where the trial stands; one that is not over may still be told of again.
        values: the objective's value at each report that has one, with its env steps; finite.
        score: what the trial is worth so far; None without a score, and for a failed trial.
        started: seconds since the epoch, for whoever looks at it; None if it has not.
        ended: the same.
    """

    number: int
    parameters: Mapping[str, Any]
    state: TrialState
    values: tuple[tuple[int, float], ...] = ()
    score: float | None = None
    started: float | None = field(default=None, compare=False)
    ended: float | None = field(default=None, compare=False)


class SearchAlgorithm(ABC):
    """Chooses the configurations of a search, one at a time.

    Pure: it knows no Ray and no files. The queue of a launch (`sweeper.running.tune.queue`) calls
    it in the driver's thread. A later launch of the run makes a new one and tells it of every trial
    in the journal, before it asks: so what `ask` returns may depend on nothing but
    the arguments it was made with, the number, and what it was told.
    """

    # Whether `tell` matters; if not, the replay of the journal is skipped.
    learns: bool = True
    # Whether the order matters in which it was told: then a replay tells of every report and end
    # again. If not, of each trial once, as it stands.
    follows_order: bool = False

    @abstractmethod
    def ask(self, number: int) -> Sample | None:
        """The configuration of the trial of that number, from 1, asked for in order.

        Returns:
            None if there is none left.
        """

    def tell(self, observation: Observation) -> None:  # noqa: B027 - not every search learns
        """Take in how a trial stands; by default ignored."""
