"""The selection as a record: who was judged how, who won, by which rule, and what is known of it.

``selection.json`` holds it; `best`, `status`, `list`, the end of a launch and MLflow read it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.errors import UserError
from sweeper.evidence.samples import Evidence
from sweeper.evidence.selection_table import HEADINGS, evidence_rows, score_row
from sweeper.evidence.sentences import describe_unjudged
from sweeper.evidence.unconfirmed import UNCONFIRMED
from sweeper.evidence.verdict import Verdict
from sweeper.formatting import align_columns, count_noun
from sweeper.json_values import decode_json, encode_json, to_json
from sweeper.markup import joined, table, tag
from sweeper.paths import write_atomically
from sweeper.printable import printable
from sweeper.run_files import read_json
from sweeper.storage.address import place_text
from sweeper.typed_fields import check_fields

__all__ = [
    "Candidate",
    "ChosenAgent",
    "ConfirmedOn",
    "Exclusion",
    "Selection",
    "load_selection",
    "write_selection",
]


@dataclass(frozen=True)
class Exclusion:
    """A trial that could not win, and the reason."""

    trial_id: str
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A trial that the search could have chosen.

    Attributes:
        deviation: of the replicas' own scores; None if unknown.
        replicas: how many of these there are.
        partial: whether it did not run to its own end.
        is_tied: whether it can't be told from the best of the search.
        is_finalist: whether it was trained again.
    """

    trial_id: str
    state: str
    score: float
    deviation: float | None
    replicas: int
    env_steps: int | None
    partial: bool
    is_tied: bool
    is_finalist: bool


@dataclass(frozen=True)
class ConfirmedOn:
    """What the confirmation was made on.

    Attributes:
        finalists: that were trained again.
        seeds: that were intended for each.
        episodes: that judge each training run.
        baseline: its name; None without one.
        baseline_configuration: nested.
    """

    finalists: tuple[str, ...]
    seeds: tuple[int, ...]
    episodes: int
    baseline: str | None
    baseline_configuration: Mapping[str, Any] | None


@dataclass(frozen=True)
class ChosenAgent:
    """The champion's agent: one replica of the confirmation, chosen by its episodes there.

    Attributes:
        trial_id: of the confirmation's trial.
        replica: its index in that trial.
        seed: that it was trained with.
        checkpoint: absolute path of the trial's checkpoint.
        chosen_by: its value in the episodes by which it was chosen, so a flattering one.
        returns: of the episodes that it played afterwards, on other seeds.
        value: what these came to, by the selection's metric; None without any.
        env_steps: that the trial was trained for.
    """

    trial_id: str
    replica: int
    seed: int
    checkpoint: str
    chosen_by: float
    returns: tuple[float, ...]
    value: float | None
    env_steps: int | None


@dataclass(frozen=True)
class Selection:
    """The winner of a run, and how it won.

    Attributes:
        configuration: its whole point of the param space, nested.
        metric: the metric that was compared.
        mode: ``max`` or ``min``.
        score_kind: ``last``, ``best`` or ``auc``.
        score: of the search.
        env_steps: of the report that earned the score; None if not reported.
        partial: whether the trial did not run to its own end.
        checkpoint: absolute path; None if none is left.
        checkpoint_note: what is unusual about it, e.g. that it was not made at the score.
        replica: index of the winning trial's best replica.
        seed: that replica's seed; None if the run recorded no seeds.
        candidates: how many trials have a score.
        runner_up: the second-best trial of the search, of those that were not pruned.
        diverged: how many replicas of the winner are frozen; the score counts them as the run's
            worst.
        divergence: that in words; None if none is frozen.
        excluded: trials that could not win.
        deviation: of the winner's replicas in the search; None if unknown.
        replicas: how many of them have a score.
        judged: every candidate with its numbers, in the order of the search's ranking.
        search_choice: whom the search alone would have chosen.
        rule: which rule decided, in words.
        unconfirmed: why nothing is confirmed, in a sentence; None if it is.
        verdict: of the confirmation; None if there is none.
        confirmed_on: what that was made on.
        agent: from the confirmation; None if there is none, and the search's replica stands.
        pruned: candidates that could not win, whatever their scores, because they were pruned and
            the winner was not.
    """

    trial_id: str
    state: str
    configuration: Mapping[str, Any]
    metric: str
    mode: str
    score_kind: str
    score: float
    env_steps: int | None
    partial: bool
    checkpoint: str | None
    checkpoint_note: str | None
    replica: int
    seed: int | None
    candidates: int
    runner_up: str | None = None
    runner_up_score: float | None = None
    diverged: int = 0
    divergence: str | None = None
    excluded: tuple[Exclusion, ...] = field(default=())
    deviation: float | None = None
    replicas: int = 0
    judged: tuple[Candidate, ...] = ()
    search_choice: str | None = None
    rule: str = ""
    unconfirmed: str | None = None
    verdict: Verdict | None = None
    confirmed_on: ConfirmedOn | None = None
    agent: ChosenAgent | None = None
    pruned: int = 0

    @property
    def word(self) -> str:
        """``better``, ``undecided``, ``worse`` or ``unconfirmed``."""
        return "unconfirmed" if self.verdict is None else self.verdict.verdict

    @property
    def evidence(self) -> Evidence | None:
        """What the confirmation says of the winner."""
        return None if self.verdict is None else self.verdict.evidence.get(self.trial_id)

    @property
    def confirmed(self) -> float | None:
        """The mean of the winner's runs in the confirmation; None until that is complete."""
        evidence = self.evidence
        return None if evidence is None or self.word == "unconfirmed" else evidence.mean

    @property
    def baseline(self) -> Evidence | None:
        """What the confirmation says of the baseline."""
        return None if self.verdict is None else self.verdict.evidence.get("baseline")

    @property
    def tied(self) -> tuple[str, ...]:
        """Who can't be told from the winner: by the confirmation, else by the search's replicas."""
        if self.verdict is not None and self.word != "unconfirmed":
            return self.verdict.tied
        return tuple(one.trial_id for one in self.judged if one.is_tied)

    @property
    def verdict_text(self) -> str:
        """The outcome in sentences, with its limits."""
        if self.verdict is not None:
            return self.verdict.text
        judged = {one.trial_id for one in self.judged}
        number = sum(one.trial_id not in judged for one in self.excluded)
        sentences = [*self._describe_search(), *describe_unjudged(number)]
        return " ".join([*sentences, self.unconfirmed or UNCONFIRMED])

    def _describe_search(self) -> list[str]:
        spread = ""
        if self.deviation is not None:
            spread = f", ±{self.deviation:.4g} over {count_noun(self.replicas, 'replica')}"
        scored = f"{self.metric} {self.score:.6g} ({_SCORE_WORDS[self.score_kind]}{spread})"
        if self.runner_up is None or self.runner_up_score is None:
            alone = "one that was not stopped early" if self.pruned else "candidate"
            sentences = [f"{self.trial_id} has {scored}; it is the only {alone}."]
        else:
            gap = abs(self.score - self.runner_up_score)
            lead = f"{gap:.6g} better than" if gap else "equal to"
            sentences = [
                f"{self.trial_id} has the best of {self.candidates - self.pruned} scores, "
                f"{scored}, {lead} {self.runner_up}."
            ]
        tied = self.tied
        if tied and self.replicas > 1:
            named = ", ".join(tied[:5]) + (f" and {len(tied) - 5} more" if len(tied) > 5 else "")
            sentences.append(f"By their replicas {named} can't be told from it.")
        if self.pruned:
            others = count_noun(self.pruned, "trial")
            was = "was" if self.pruned == 1 else "were"
            sentences.append(f"{others} that {was} stopped early could not win.")
        if self.partial:
            sentences.append(f"It did not run to its own end ({self.state}).")
        if self.divergence is not None:
            sentences.append(f"{self.divergence}; frozen ones count as the run's worst.")
        return sentences

    @property
    def table(self) -> Sequence[tuple[str, ...]]:
        """Who came to what: the winner, the other finalists, the baseline; the head first."""
        if self.verdict is None:
            return [HEADINGS, score_row(self.trial_id, self.score, self.deviation)]
        deviations = {one.trial_id: one.deviation for one in self.judged}
        return [HEADINGS, *evidence_rows(self.trial_id, self.verdict.evidence, deviations)]

    def __repr__(self) -> str:
        """The verdict, and a table of who came to what."""
        return printable("\n".join([self.verdict_text, "", *align_columns(self.table)]))

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        head, *rows = self.table
        return joined(tag("p", self.verdict_text), table(head, rows)).text

    def to_best_json(self, run: str | Path, agent_path: Path | None) -> dict[str, Any]:
        """The object that ``best --json`` prints, for a run and its champion's folder."""
        document: dict[str, Any] = {
            "run": place_text(run),
            "trial_id": self.trial_id,
            "configuration": to_json(self.configuration),
            "metric": self.metric,
            "mode": self.mode,
            "score": self.score,
            "deviation": self.deviation,
            "replicas": self.replicas,
            "diverged": self.diverged,
            "checkpoint": None if self.checkpoint is None else place_text(self.checkpoint),
            "agent": None if agent_path is None else str(agent_path),
            "env_steps": self.env_steps,
            "excluded": [dataclasses.asdict(exclusion) for exclusion in self.excluded],
            "tied": list(self.tied),
            "search_choice": self.search_choice,
            "rule": self.rule,
            "verdict": self.word,
            "verdict_text": self.verdict_text,
        }
        if self.agent is not None:
            document["evaluation"] = _describe_agent(self.agent)
        verdict, made = self.verdict, self.confirmed_on
        if verdict is None or made is None:
            return document
        document["confirmation"] = _describe_evidence(self.evidence, made)
        document["baseline"] = _describe_evidence(self.baseline, made)
        if document["baseline"] is not None:
            document["baseline"]["name"] = made.baseline
            document["baseline"]["configuration"] = to_json(made.baseline_configuration)
        judged = {name: one for name, one in verdict.evidence.items() if name != "baseline"}
        document["finalists"] = {
            name: _describe_evidence(one, made) for name, one in judged.items()
        }
        interval = verdict.probability_interval
        document |= {
            "probability_of_improvement": verdict.probability_of_improvement,
            "probability_interval": None if interval is None else [interval.low, interval.high],
            "probability_interval_level": None if interval is None else interval.level,
            "shrinkage": verdict.shrinkage,
            "cheapest": verdict.cheapest,
            "steadiest": verdict.steadiest,
            "more_seeds": verdict.more_seeds,
        }
        return document


_SCORE_WORDS = {
    "last": "last reported",
    "best": "best reported, which is optimistic",
    "auc": "mean over env steps",
}


def _describe_evidence(evidence: Evidence | None, made: ConfirmedOn) -> dict[str, Any] | None:
    if evidence is None:
        return None
    seeds = made.seeds[: len(evidence.runs)]
    return {**evidence.to_json(), "episodes": made.episodes, "seeds": list(seeds)}


def _describe_agent(agent: ChosenAgent) -> dict[str, Any]:
    """The agent's own number: of one replica, over episodes, never the configuration's."""
    from sweeper.evidence.statistics import summarise_sample

    summary: dict[str, Any] = {
        "mean": agent.value,
        "iqm": None,
        "interval": None,
        "interval_reason": "its episodes are not recorded",
    }
    if agent.returns:
        summary |= summarise_sample(agent.returns).to_json()
    return {
        "of": "the champion's agent",
        "trial_id": agent.trial_id,
        "seed": agent.seed,
        "value": agent.value,
        **summary,
        "interval_over": "episodes of one agent",
        "prediction": None,
        "prediction_reason": "one agent says nothing of another training run",
        "runs": [agent.value],
        "seeds": [agent.seed],
        "episodes": len(agent.returns),
        "chosen_by": agent.chosen_by,
    }


def write_selection(path: Path, selection: Selection) -> None:
    """Write a selection as JSON."""
    fields = {item.name: getattr(selection, item.name) for item in dataclasses.fields(selection)}
    document = {name: _encode(value) for name, value in fields.items()}
    document["verdict_text"] = selection.verdict_text
    write_atomically(path, json.dumps(document, indent=2) + "\n")


def _encode(value: Any) -> Any:
    if isinstance(value, Verdict):
        return encode_json(value.to_json())
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    is_record = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return encode_json(dataclasses.asdict(value) if is_record else value)


def load_selection(path: Path) -> Selection:
    """Read what `write_selection` wrote, or an earlier version did.

    Raises:
        UserError: the file is missing or holds something else.
    """
    try:
        document = decode_json(read_json(path))
        document.pop("verdict_text", None)
        for name, kind in (("excluded", Exclusion), ("judged", Candidate)):
            document[name] = tuple(kind(**item) for item in document.get(name, ()))
        if document.get("verdict") is not None:
            document["verdict"] = Verdict.from_json(document["verdict"])
        if document.get("confirmed_on") is not None:
            made = document["confirmed_on"]
            lists = {name: tuple(made[name]) for name in ("finalists", "seeds")}
            document["confirmed_on"] = ConfirmedOn(**{**made, **lists})
        if document.get("agent") is not None:
            agent = document["agent"]
            document["agent"] = ChosenAgent(**{**agent, "returns": tuple(agent["returns"])})
        selection = Selection(**document)
        check_fields(selection)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is no selection: {error}") from error
    return selection
