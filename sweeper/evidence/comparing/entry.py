"""A run that takes part in a comparison, and how several of them are told apart in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.environments.identity import EnvironmentIdentity
from sweeper.evidence.champions_runs import does_explore
from sweeper.evidence.record import Selection
from sweeper.evidence.samples import Evidence
from sweeper.hints import join_words
from sweeper.metrics import Objective, is_of_evaluation
from sweeper.results.records import SweepResults
from sweeper.search.distributions import is_same
from sweeper.spec import ExperimentSpec
from sweeper.states import Stage

__all__ = [
    "Entry",
    "are_same",
    "count_confirmed",
    "count_evaluated",
    "split",
    "tell_apart",
]


@dataclass(frozen=True)
class Entry:
    """A run that takes part in a comparison.

    Attributes:
        name: by which words tell it from the others.
        results: of the run.
        objective: by which its champion is chosen.
        spec: of the run.
        selection: its champion.
    """

    name: str
    results: SweepResults
    objective: Objective
    spec: ExperimentSpec
    selection: Selection

    @property
    def evidence(self) -> Evidence | None:
        """What the champion's runs of the confirmation say; None until that is complete."""
        return None if self.selection.confirmed is None else self.selection.evidence

    @property
    def champions_stage(self) -> Stage:
        """Whose training runs speak for the champion."""
        return Stage.SEARCH if self.evidence is None else Stage.CONFIRMATION

    @property
    def identity(self) -> EnvironmentIdentity | None:
        """Spaces and code of the environment, as the last launch recorded them."""
        found = None
        for launch in self.results.launches:
            found = EnvironmentIdentity.from_json(launch.environment) or found
        return found

    @property
    def is_evaluated(self) -> bool:
        """Whether episodes apart from training tell what the champion is worth."""
        return self.evidence is not None or is_of_evaluation(self.objective.metric)

    @property
    def explores(self) -> bool:
        """Whether actions are sampled in these episodes."""
        return does_explore(self.spec)


def count_evaluated(entry: Entry) -> int:
    """Episodes of each evaluation of the search; 0 without any."""
    return 0 if entry.spec.evaluation is None else entry.spec.evaluation.episodes


def count_confirmed(entry: Entry) -> int:
    """Episodes that judge each run of the confirmation; 0 without one."""
    made = entry.selection.confirmed_on
    return 0 if entry.evidence is None or made is None else made.episodes


def split(entries: Sequence[Entry], values: Sequence[Any]) -> list[tuple[Any, tuple[str, ...]]]:
    """The different values that runs have of something, each with the names of its runs.

    Args:
        entries: in their order, as the values are then.
        values: one per entry.
    """
    groups: list[tuple[Any, tuple[str, ...]]] = []
    for entry, value in zip(entries, values, strict=True):
        for place, (other, names) in enumerate(groups):
            if are_same(value, other):
                groups[place] = (other, (*names, entry.name))
                break
        else:
            groups.append((value, (entry.name,)))
    return groups


def tell_apart(
    what: str, entries: Sequence[Entry], values: Sequence[Any], show: Callable[[Any], str] = str
) -> tuple[str, ...]:
    """``the metric is loss in a, reward in b and c``; nothing if all runs have the same value.

    Args:
        what: the values are of.
        entries: the runs.
        values: one per entry.
        show: a value in words.
    """
    groups = split(entries, values)
    if len(groups) < 2:
        return ()
    parts = [f"{show(value)} in {join_words(names)}" for value, names in groups]
    return (f"{what} is {', '.join(parts)}",)


def are_same(value: Any, other: Any) -> bool:
    """Whether two values, nested or not, are equal in a spec, where 1 is not true."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(
            are_same(value[key], other[key]) for key in value
        )
    if isinstance(value, list | tuple) and isinstance(other, list | tuple):
        return len(value) == len(other) and all(map(are_same, value, other))
    return is_same(value, other)
