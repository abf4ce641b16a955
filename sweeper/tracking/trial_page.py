"""A trial's page in MLflow: a name that says what was tried, and a description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeper.formatting import count_noun, format_number, format_parameters, format_value
from sweeper.journal import TrialEnded
from sweeper.search.configuration import flatten_parameters
from sweeper.states import TrialState
from sweeper.tracking.curves import SCORE
from sweeper.tracking.markdown import as_code, fenced, table
from sweeper.tracking.naming import clip

__all__ = ["TrialPage", "trial_name"]

_MAX_NAME = 90
_MAX_ERROR = 300
_WORDS = {
    TrialState.TERMINATED: "ran to its own end",
    TrialState.PRUNED: "pruned: the scheduler stopped it early",
    TrialState.ERROR: "failed",
    TrialState.PAUSED: "interrupted; it can go on",
}


def trial_name(
    trial_id: str, parameters: Mapping[str, Any], of: str = "", *, is_champion: bool = False
) -> str:
    """``t0007 ★ lr=0.0004 fcnet_hiddens=[64, 64]``: the id first, so that names sort.

    Args:
        trial_id: e.g. ``t0007``.
        parameters: what the search chose, nested.
        of: in the confirmation, whom the trial trains again.
        is_champion: marked by a star.
    """
    what = f"of {of}" if of else format_parameters(parameters, is_short=True)
    return clip(" ".join(filter(None, [trial_id, "★" if is_champion else "", what])), _MAX_NAME)


@dataclass(frozen=True)
class TrialPage:
    """What is said of a trial that ended.

    Attributes:
        sweep: the run's name.
        parameters: what the search chose, nested.
        metric: that ranks it; None if none does.
        score: the last one and its band over replicas, by MLflow's names.
        log: its last lines; empty if it did not fail.
    """

    trial_id: str
    sweep: str
    parameters: Mapping[str, Any]
    end: TrialEnded
    of: str
    metric: str | None
    score: Mapping[str, float]
    env_steps: int | None
    replicas: int
    log: str

    def to_markdown(self) -> str:
        """The description of the trial's run."""
        words = _WORDS.get(self.end.state, str(self.end.state))
        trained = f"**{self.trial_id}**" + (f", `{self.of}` trained again," if self.of else "")
        # MLflow folds a description after some lines, so what was raised is in the first.
        why = f": {as_code(clip(self.end.error, _MAX_ERROR))}" if self.end.error else "."
        lines = [f"{trained} {words} ({as_code(self.end.reason)}){why}"]
        if self.metric is not None and SCORE in self.score:
            lines += ["", f"`{self.metric}` **{format_number(self.score[SCORE])}**{self._spread()}"]
        if flat := flatten_parameters(self.parameters):
            rows = [(as_code(name), as_code(format_value(flat[name]))) for name in flat]
            lines += ["", *table(["searched", "value"], rows)]
        if self.end.error:
            what = "The end of its log" if self.log else "What was raised"
            lines += ["", f"{what}:", "", *fenced(self.log or self.end.error)]
        lines += ["", "The step of its curves is env steps of one replica."]
        if self.sweep:
            lines += ["", f"Its log: `sweeper logs {self.sweep} {self.trial_id}`"]
        return "\n".join(lines)

    def _spread(self) -> str:
        low, high = self.score.get(f"{SCORE}_min"), self.score.get(f"{SCORE}_max")
        band = ""
        if low is not None and high is not None:
            band = f", {format_number(low)} to {format_number(high)}"
        steps = "" if self.env_steps is None else f", after {self.env_steps:,} env steps"
        return f"{band} over {count_noun(self.replicas, 'replica')}{steps}"
