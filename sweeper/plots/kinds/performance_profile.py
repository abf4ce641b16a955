"""Performance profile: which share of training runs comes above each return.

Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.evidence.statistics import clopper_pearson, performance_profile
from sweeper.formatting import count_noun, format_number
from sweeper.plots.chart import Axis, Chart, Line, Mark, Panel, Rule, missing
from sweeper.plots.colours import MUTED, series_style
from sweeper.plots.confirmed import confirmed_title, finished_only, incomplete_note, order
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import score_title
from sweeper.results.spread import spread_of

__all__ = ["Profile", "draw", "profile_of"]

TITLE = "Performance profile"
LEVEL = 0.95
_MAX_TRIALS, _MIN_RUNS = 5, 2
_ALL_BANDS = 3  # of more lines only two have bands, which would hide each other


@dataclass(frozen=True)
class Profile:
    """A profile as steps: from each threshold on, until the next.

    Attributes:
        thresholds: float[steps], ascending.
        shares: float[steps], 0 to 1.
        low: float[steps], of the band at each threshold.
        high: float[steps].
    """

    thresholds: tuple[float, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def profile_of(values: Sequence[float], ends: tuple[float, float], *, mode: str) -> Profile:
    """The share of runs above each threshold, or below it where less is better.

    Args:
        values: of the runs, at least one.
        ends: the first and the last threshold.
        mode: ``max`` or ``min``.
    """
    thresholds = np.array([ends[0], *sorted({*values}), ends[1]])
    if mode == "max":
        shares = performance_profile({"": values}, list(map(float, thresholds)))
    else:
        # As steps from the left, a run counts from its own value on.
        shares = np.array([np.mean(np.asarray(values) <= one) for one in thresholds])
    number = len(values)
    bands = [clopper_pearson(round(share * number), number, LEVEL) for share in shares]
    return Profile(
        tuple(map(float, thresholds)),
        tuple(map(float, shares)),
        tuple(one.low for one in bands),
        tuple(one.high for one in bands),
    )


def draw(source: PlotSource) -> Chart:
    """Profiles of finalists and baseline; without a confirmation of the best trials' replicas."""
    verdict = finished_only(None if source.selection is None else source.selection.verdict)
    if verdict is not None:
        groups = [
            (one.name + (" (champion)" if one.name == verdict.champion else ""), one.finished)
            for one in order(verdict, source.objective)
            if one.finished
        ]
        notes, x_title = incomplete_note(verdict), confirmed_title(source.objective)
        whose = "finalists and baseline"
    else:
        if source.empty:
            return missing(TITLE, source.empty)
        groups = _best_trials(source)
        x_title, whose = score_title(source.objective), "the best trials' replicas"
        notes = (
            "Without a confirmation these are the runs by which the search chose: they flatter.",
        )
        if not groups:
            why = "No trial has the values of several replicas, and there is no confirmation."
            return missing(TITLE, why)
    everything = [value for _, values in groups for value in values]
    pad = 0.05 * ((max(everything) - min(everything)) or max(1.0, abs(max(everything))))
    ends = min(everything) - pad, max(everything) + pad
    banded = range(len(groups))
    if len(groups) > _ALL_BANDS:
        banded = range(0, len(groups), len(groups) - 1)
        notes += ("Only the first and the last have bands: more would hide each other.",)
    marks: list[Mark] = []
    for number, (name, values) in enumerate(groups):
        colour, dash = series_style(number)
        made = profile_of(values, ends, mode=source.objective.mode)
        marks.append(
            Line(
                x=made.thresholds,
                y=made.shares,
                name=f"{name}, {count_noun(len(values), 'run')}",
                colour=colour,
                dash=dash,
                is_steps=True,
                band=(made.low, made.high) if number in banded else None,
                labels=[
                    f"{name}: {share:.0%} from {format_number(threshold)} on"
                    for threshold, share in zip(made.thresholds, made.shares, strict=True)
                ],
            )
        )
    if source.solved_at is not None:
        marks.append(Rule(at=source.solved_at, is_vertical=True, name="solved", colour=MUTED,
                          dash="dot"))  # fmt: skip
    way = "above" if source.objective.mode == "max" else "at or below"
    return Chart(
        title=f"{TITLE} of {whose}",
        subtitle=f"The share of training runs that come {way} a value; the higher the line, the "
        "better. Band: 95 % interval at each single value (Clopper-Pearson).",
        panels=(
            Panel(
                x=Axis(title=x_title),
                y=Axis(title=f"share of runs {way}", limits=(-0.03, 1.03)),
                marks=tuple(marks),
            ),
        ),
        notes=notes,
    )


def _best_trials(source: PlotSource) -> list[tuple[str, tuple[float, ...]]]:
    found: list[tuple[str, tuple[float, ...]]] = []
    for record in source.ranked:
        spread = spread_of(record, source.objective)
        if spread is not None and len(spread.values) >= _MIN_RUNS:
            found.append((record.trial_id, spread.values))
    return found[:_MAX_TRIALS]
