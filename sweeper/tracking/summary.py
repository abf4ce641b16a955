"""The page of a sweep in MLflow: who won, how sure that is, what else was tried, how to load it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.evidence.record import Candidate, Selection
from sweeper.evidence.samples import Evidence
from sweeper.formatting import count_noun, describe_state, format_number, format_value, short_names
from sweeper.paths import RunPaths
from sweeper.run_files import is_inside
from sweeper.search.configuration import flatten_parameters
from sweeper.tracking.description import SweepDescription
from sweeper.tracking.trial_page import cell

__all__ = ["Summary", "SummaryTrial"]

_TOP = 10
_MAX_COLUMNS = 8


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
        lines += ["", f"Run folder: {cell(str(self.sweep.folder))}"]
        return "\n".join(lines)

    def _champion(self, chosen: Selection) -> list[str]:
        flat = flatten_parameters(self._parameters(chosen))
        what = ", ".join(f"{name} = {format_value(value)}" for name, value in flat.items())
        return [
            f"**Champion: {self._link(chosen.trial_id)}**" + (f", {cell(what)}" if what else ""),
            "",
            chosen.verdict_text,
        ]

    def _parameters(self, chosen: Selection) -> Mapping[str, Any]:
        trial = self.trials.get(chosen.trial_id)
        return chosen.configuration if trial is None or not trial.parameters else trial.parameters

    def _link(self, trial_id: str) -> str:
        trial = self.trials.get(trial_id)
        if trial is None or trial.run_id is None:
            return trial_id
        page = f"#/experiments/{self.experiment_id}/runs/{trial.run_id}"
        return f"[{trial_id}]({page}?workflowType=machine_learning)"

    def _table(self, chosen: Selection) -> list[str]:
        top = list(chosen.judged[:_TOP])
        if chosen.trial_id not in {one.trial_id for one in top}:
            top += [one for one in chosen.judged if one.trial_id == chosen.trial_id]
        if not top:
            return []
        names = list(
            dict.fromkeys(
                name
                for one in top
                for name in flatten_parameters(self._row_parameters(one.trial_id))
            )
        )[:_MAX_COLUMNS]
        evidence = {} if chosen.verdict is None else chosen.verdict.evidence
        heads = ["trial", f"`{chosen.metric}`", *(["trained again"] if evidence else [])]
        heads += ["state", "env steps", *map(cell, short_names(names))]
        lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for one in top:
            flat = flatten_parameters(self._row_parameters(one.trial_id))
            values = [format_value(flat[name]) if name in flat else "" for name in names]
            star = "\N{NO-BREAK SPACE}★" if one.trial_id == chosen.trial_id else ""
            row = [self._link(one.trial_id) + star, _score(one)]
            row += [_confirmed(evidence.get(one.trial_id))] if evidence else []
            row += [describe_state(one.state)]
            row += ["" if one.env_steps is None else f"{one.env_steps:,}", *map(cell, values)]
            lines.append("| " + " | ".join(row) + " |")
        if (baseline := evidence.get("baseline")) is not None:
            row = ["baseline", "", _confirmed(baseline), "", f"{baseline.env_steps:,.0f}"]
            lines.append("| " + " | ".join([*row, *[""] * len(names)]) + " |")
        if len(chosen.judged) > len(top):
            lines += ["", f"{len(chosen.judged) - len(top)} more have a score."]
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
    return _unbroken(text)


def _confirmed(evidence: Evidence | None) -> str:
    if evidence is None or evidence.mean is None:
        return ""
    interval = evidence.interval
    band = "" if interval is None else f" ({interval.low:.4g} to {interval.high:.4g})"
    return _unbroken(f"{evidence.mean:.4g}{band}, {count_noun(len(evidence.finished), 'run')}")


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")  # or MLflow's narrow table breaks it
