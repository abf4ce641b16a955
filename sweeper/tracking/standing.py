"""The description of a sweep that still runs: the top configurations so far."""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter
from collections.abc import Mapping

from sweeper.formatting import count_noun, describe_state, format_number
from sweeper.journal import Event, TrialEnded, TrialReported, TrialStarted
from sweeper.metrics import Objective
from sweeper.states import TrialState
from sweeper.tracking.curves import SCORE
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
from sweeper.tracking.mirror import RunMirror, env_steps

__all__ = ["StandingSchedule", "describe_standing"]

_EVERY_S = 30.0


class StandingSchedule:
    """When the description is to be written again: when a trial starts or ends, or reports.

    A trial may take days, so its reports count, too, but not each one.
    """

    def __init__(self) -> None:
        self._written, self._due = -math.inf, math.inf

    def note(self, event: Event) -> None:
        """Take note of an event that MLflow did not have."""
        if isinstance(event, TrialStarted | TrialEnded):
            self._due = -math.inf
        elif isinstance(event, TrialReported):
            self._due = min(self._due, self._written + _EVERY_S)

    @property
    def is_due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self._due

    def clear(self) -> None:
        """It is written."""
        self._written, self._due = time.monotonic(), math.inf


def describe_standing(
    sweep: SweepDescription, mirrors: Mapping[str, RunMirror], experiment_id: str
) -> str:
    """The description in Markdown.

    Args:
        sweep: described.
        mirrors: of all its trials, by id.
        experiment_id: for the links.
    """
    search = {key: one for key, one in mirrors.items() if not one.is_confirmation and one.seen}
    scored = {
        key: one for key, one in search.items() if math.isfinite(one.score.get(SCORE, math.nan))
    }
    top = heapq.nlargest(TOP, scored, key=lambda key: _rank(sweep.objective, scored[key]))
    lines = [_headline(scored, top, experiment_id), "", sweep.headline]
    counts = sorted(Counter(describe_state(one.state) for one in search.values()).items())
    parts = ", ".join(f"{number} {state}" for state, number in counts)
    lines += ["", f"{count_noun(len(search), 'trial')} so far: {parts or 'none'}."]
    if len(mirrors) > len(search):
        lines += ["", "The finalists and the baseline are trained again on fresh seeds."]
    if top:
        places = [_place(key, scored[key], experiment_id) for key in top]
        lines += ["", *leaderboard(sweep.objective.metric, places)]
    lines += ["", f"Run folder: {as_code(str(sweep.folder))}"]
    return "\n".join(lines)


def _headline(scored: Mapping[str, RunMirror], top: list[str], experiment_id: str) -> str:
    later = "Who won, and how sure that is, stands here when it is over."
    if not top or scored[top[0]].state != TrialState.TERMINATED:
        return f"**Running.** {later}"
    best = scored[top[0]]
    link = link_to_run(top[0], experiment_id, best.run_id)
    value = format_number(best.score[SCORE])
    return f"**Running; best so far: {link}**{tell_parameters(best.parameters)}, {value}. {later}"


def _rank(objective: Objective, mirror: RunMirror) -> tuple[bool, float]:
    """A pruned trial can't win, whatever its score, nor can one that is not over yet."""
    return mirror.state == TrialState.TERMINATED, objective.merit(mirror.score[SCORE])


def _place(trial_id: str, mirror: RunMirror, experiment_id: str) -> Place:
    score = format_number(mirror.score[SCORE])
    if f"{SCORE}_min" in mirror.score:
        band = (format_number(mirror.score[f"{SCORE}_{end}"]) for end in ("min", "max"))
        score += f" ({' to '.join(band)})"
    last = mirror.last_report
    return Place(
        name=link_to_run(trial_id, experiment_id, mirror.run_id),
        parameters=mirror.parameters,
        score=unbroken(score),
        state=mirror.state,
        env_steps=None if last is None else env_steps(last.metrics),
    )
