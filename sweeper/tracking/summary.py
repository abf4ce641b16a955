"""The page of a sweep in MLflow: who won, how sure that is, what else was tried, how to load it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.evidence.record import Candidate, Selection
from sweeper.evidence.samples import Evidence
from sweeper.formatting import count_noun, describe_state, format_number
from sweeper.paths import RunPaths
from sweeper.run_files import is_inside
from sweeper.tracking.description import SweepDescription
from sweeper.tracking.leaderboard import (
    TOP,
    Place,
    leaderboard,
    link_to_run,
    tell_parameters,
    unbroken,
)
from sweeper.tracking.markdown import as_code

__all__ = ["Summary", "SummaryTrial"]

_STAR = "\N{NO-BREAK SPACE}★"


@dataclass(frozen=True)
class SummaryTrial:
    """A trial of the search: what was searched, and its run in MLflow, if it has one."""

    parameters: Mapping[str, Any]
    run_id: str | None


@dataclass(frozen=True)
class Summary:
    """All that the description of a sweep says.

    Attributes:
        states: of the search's trials.
        trials: the same, by id.
        selection: None if nobody won.
        experiment_id: for the links.
        model_id: of the champion's model; None if it has none.
    """

    sweep: SweepDescription
    states: Mapping[str, str]
    trials: Mapping[str, SummaryTrial]
    selection: Selection | None
    experiment_id: str
    model_id: str | None = None

    def to_markdown(self) -> str:
        """The description, in Markdown."""
        counts = sorted(Counter(map(describe_state, self.states.values())).items())
        parts = ", ".join(f"{number} {state}" for state, number in counts)
        chosen = self.selection
        lines = ["**No champion.**"] if chosen is None else self._champion(chosen)
        lines += ["", self.sweep.headline]
        lines += ["", f"{count_noun(len(self.states), 'trial')}: {parts or 'none'}."]
        if chosen is not None:
            lines += ["", *self._table(chosen), *self._excluded(chosen), "", *self._loading()]
        report = RunPaths(self.sweep.folder).report
        if is_inside(report, self.sweep.folder):
            lines += ["", f"The report is the artifact `{report.name}`."]
        lines += ["", f"Run folder: {as_code(str(self.sweep.folder))}"]
        return "\n".join(lines)

    def _champion(self, chosen: Selection) -> list[str]:
        told = tell_parameters(self._parameters(chosen))
        return [
            f"**Champion: {self._link(chosen.trial_id)}**{told}",
            "",
            chosen.verdict_text,
        ]

    def _parameters(self, chosen: Selection) -> Mapping[str, Any]:
        trial = self.trials.get(chosen.trial_id)
        return chosen.configuration if trial is None or not trial.parameters else trial.parameters

    def _link(self, trial_id: str) -> str:
        trial = self.trials.get(trial_id)
        return link_to_run(trial_id, self.experiment_id, None if trial is None else trial.run_id)

    def _table(self, chosen: Selection) -> list[str]:
        top = list(chosen.judged[:TOP])
        if chosen.trial_id not in {one.trial_id for one in top}:
            top += [one for one in chosen.judged if one.trial_id == chosen.trial_id]
        if not top:
            return []
        evidence = {} if chosen.verdict is None else chosen.verdict.evidence
        places = [
            Place(
                name=self._link(one.trial_id) + (_STAR if one.trial_id == chosen.trial_id else ""),
                parameters=self._row_parameters(one.trial_id),
                score=_score(one),
                state=one.state,
                env_steps=one.env_steps,
                again=_confirmed(evidence.get(one.trial_id)),
            )
            for one in top
        ]
        if (base := evidence.get("baseline")) is not None:
            places.append(Place("baseline", {}, env_steps=base.env_steps, again=_confirmed(base)))
        lines = leaderboard(chosen.metric, places)
        if more := len(chosen.judged) - len(top):
            lines += ["", f"{more} more {'has' if more == 1 else 'have'} a score."]
        return lines

    def _row_parameters(self, trial_id: str) -> Mapping[str, Any]:
        trial = self.trials.get(trial_id)
        return {} if trial is None else trial.parameters

    def _excluded(self, chosen: Selection) -> list[str]:
        excluded = chosen.excluded
        if not excluded:
            return []
        named = ", ".join(f"{item.trial_id} ({item.reason})" for item in excluded[:10])
        more = f", and {len(excluded) - 10} more" if len(excluded) > 10 else ""
        return ["", f"Excluded from the selection: {named}{more}"]

    def _loading(self) -> list[str]:
        if self.model_id is None:
            return ["The champion has no model here."]
        return [
            "To load the champion, where MLflow and NumPy are installed:",
            "",
            "```python",
            "import mlflow",
            f"mlflow.set_tracking_uri({self.sweep.shown_uri!r})",
            f"model = mlflow.pyfunc.load_model('models:/{self.model_id}')",
            "action = model.predict(observation)  # one of the environment's, or a batch",
            "```",
        ]


def _score(one: Candidate) -> str:
    text = format_number(one.score)
    if one.deviation is not None:
        text += f" ±{format_number(one.deviation)}, {count_noun(one.replicas, 'replica')}"
    return unbroken(text)


def _confirmed(evidence: Evidence | None) -> str:
    if evidence is None or evidence.mean is None:
        return ""
    interval = evidence.interval
    band = "" if interval is None else f" ({interval.low:.4g} to {interval.high:.4g})"
    return unbroken(f"{evidence.mean:.4g}{band}, {count_noun(len(evidence.finished), 'run')}")
