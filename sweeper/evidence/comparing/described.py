"""What a run came to and what it cost, as a comparison shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeper.evidence.comparing.curves import MeanCurve
from sweeper.evidence.comparing.entry import Entry
from sweeper.evidence.samples import Evidence
from sweeper.json_values import to_json
from sweeper.results.cost import Cost, find_cost

__all__ = ["ComparedRun", "SearchScore", "describe_entry"]


@dataclass(frozen=True)
class SearchScore:
    """What the search thought of its champion.

    Attributes:
        value: the score.
        kind: ``last``, ``best`` or ``auc`` of the metric.
        deviation: of its replicas' own scores; None if unknown.
        replicas: how many of these there are.
        diverged: how many replicas are frozen and count as the worst.
        candidates: how many trials had a score.
    """

    value: float
    kind: str
    deviation: float | None
    replicas: int
    diverged: int
    candidates: int

    @property
    def is_optimistic(self) -> bool:
        """Whether it is too good on average, being one of the best of several."""
        return self.candidates > 1


@dataclass(frozen=True)
class ComparedRun:
    """One run of a comparison.

    Attributes:
        label: the letter that words and tables call it by.
        name: its folder's name, or its path where several runs have the same name.
        folder: absolute.
        state: ``running``, ``interrupted``, or why its last launch ended.
        backend: what trained it.
        algorithm: the same.
        champion: the winning trial's id.
        configuration: the champion's, nested.
        search: its score there.
        confirmation: what its runs of the confirmation say, each run's value among them; None
            without a complete confirmation.
        episodes: that each of these runs was judged by; None without.
        seeds: that they were trained on.
        curve: its mean learning curve; None if it has none.
        cost: of the whole run.
    """

    label: str
    name: str
    folder: Path
    state: str
    backend: str
    algorithm: str
    champion: str
    configuration: Mapping[str, Any]
    search: SearchScore
    confirmation: Evidence | None
    episodes: int | None
    seeds: tuple[int, ...]
    curve: MeanCurve | None
    cost: Cost

    def to_json(self) -> dict[str, Any]:
        """The run in JSON types; ``confirmation`` is as in ``best --json``."""
        confirmation = None
        if self.confirmation is not None:
            confirmation = {
                **self.confirmation.to_json(),
                "episodes": self.episodes,
                "seeds": list(self.seeds),
            }
        return {
            "label": self.label,
            "name": self.name,
            "run": str(self.folder),
            "state": str(self.state),
            "backend": self.backend,
            "algorithm": self.algorithm,
            "trial_id": self.champion,
            "configuration": to_json(self.configuration),
            "search": {**vars(self.search), "is_optimistic": self.search.is_optimistic},
            "confirmation": confirmation,
            "curve": None if self.curve is None else self.curve.to_json(),
            "cost": self.cost.to_json(),
        }


def describe_entry(entry: Entry, curve: MeanCurve | None) -> ComparedRun:
    """What a run came to and what it cost.

    Args:
        entry: the run.
        curve: of its champion.
    """
    selection, evidence, made = entry.selection, entry.evidence, entry.selection.confirmed_on
    seeds = () if evidence is None or made is None else made.seeds[: len(evidence.runs)]
    return ComparedRun(
        label=entry.name,
        name=entry.results.root.name,
        folder=entry.results.root,
        state=entry.results.state,
        backend=entry.spec.backend,
        algorithm=entry.spec.algorithm,
        champion=selection.trial_id,
        configuration=selection.configuration,
        search=SearchScore(
            value=selection.score,
            kind=selection.score_kind,
            deviation=selection.deviation,
            replicas=selection.replicas,
            diverged=selection.diverged,
            candidates=selection.candidates,
        ),
        confirmation=evidence,
        episodes=None if evidence is None or made is None else made.episodes,
        seeds=seeds,
        curve=curve,
        cost=find_cost(entry.results, entry.spec.resources.cpus),
    )
