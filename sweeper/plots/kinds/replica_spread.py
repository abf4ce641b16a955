"""Replica spread: which configurations are steady, and which are lucky with a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweeper.formatting import count_noun, format_number
from sweeper.plots.chart import Axis, Chart, Mark, Panel, Points, missing
from sweeper.plots.colours import PALETTE, STATE_LOOKS
from sweeper.plots.options import check_choice, check_number
from sweeper.plots.scores import describe_score
from sweeper.plots.source import PlotSource, Scored
from sweeper.plots.texts import score_title
from sweeper.results.spread import Spread, spread_of
from sweeper.states import TrialState

__all__ = ["STYLES", "draw"]

TITLE = "Replicas"
STYLES = ("strips", "deviation")


def draw(source: PlotSource, *, style: str = "strips", top: int = 40) -> Chart:
    """Each trial's replicas.

    Args:
        source: the run.
        style: ``strips``: the replicas' scores, trials from the best on; ``deviation``: their
            standard deviation against the trial's score.
        top: how many of the best trials ``strips`` has, at most 200.

    Raises:
        UserError: an unknown style.
    """
    check_choice("style", style, STYLES)
    check_number("top", top, 1, 200)
    if source.empty:
        return missing(TITLE, source.empty)
    ranks = {one.trial_id: place for place, one in enumerate(source.ranked)}
    ordered = sorted(source.scored, key=lambda one: ranks[one.record.trial_id])
    found = [(one, spread_of(one.record, source.objective)) for one in ordered]
    kept = [(one, spread) for one, spread in found if spread and len(spread.values) > 1]
    if not kept:
        why = "No trial has the values of several replicas: there is no spread to show."
        return missing(TITLE, why)
    notes: tuple[str, ...] = ()
    without = len(source.trials) - len(kept)
    if without:
        notes += (f"{count_noun(without, 'trial')} without replicas' scores left out.",)
    if style == "strips":
        return _draw_strips(source, kept[:top], len(kept), notes)
    return _draw_deviations(source, kept, notes)


def _draw_strips(
    source: PlotSource,
    kept: Sequence[tuple[Scored, Spread]],
    number: int,
    notes: tuple[str, ...],
) -> Chart:
    marks: list[Mark] = []
    failed = STATE_LOOKS[TrialState.ERROR]
    for is_diverged in (False, True):
        points = [
            (float(place), value, one, replica)
            for place, (one, spread) in enumerate(kept)
            for replica, value in enumerate(spread.values)
            if _is_diverged(one, replica) == is_diverged
        ]
        if points:
            marks.append(
                Points(
                    x=[point[0] for point in points],
                    y=[point[1] for point in points],
                    name="diverged, counts as the worst" if is_diverged else "replica",
                    colour=failed.colour if is_diverged else PALETTE[4],
                    symbol=failed.symbol if is_diverged else "circle",
                    is_open=not is_diverged,
                    size=5.0,
                    labels=[
                        f"{one.record.trial_id}, {_name_replica(one, replica)}: "
                        f"{format_number(value)}"
                        for _, value, one, replica in points
                    ],
                )
            )
    for state in STATE_LOOKS:
        part = [
            (float(place), one) for place, (one, _) in enumerate(kept) if one.record.state is state
        ]
        if part:
            look = STATE_LOOKS[state]
            marks.append(
                Points(
                    x=[place for place, _ in part],
                    y=[one.score for _, one in part],
                    name=f"score, {look.word}",
                    colour=look.colour,
                    symbol="diamond" if state is TrialState.TERMINATED else look.symbol,
                    is_open=look.is_open,
                    size=7.0 if len(kept) <= 60 else 4.5,
                    labels=[describe_score(one) for _, one in part],
                )
            )
    whose = f"the best {len(kept)} of {number} trials" if len(kept) < number else "all trials"
    return Chart(
        title=f"{TITLE} of {whose if number > 1 else 'the trial'}",
        subtitle="Columns are trials, the best left, pruned ones last; circles are their replicas' "
        "own scores. A steady configuration has them close together; a lucky one owes its score to "
        "one of them.",
        panels=(
            Panel(
                x=Axis(
                    title="trial, the best left",
                    ticks=tuple(
                        (float(place), one.record.trial_id) for place, (one, _) in enumerate(kept)
                    )[:: max(1, -(-len(kept) // 16))],
                    limits=(-0.8, len(kept) - 0.2),
                ),
                y=Axis(title=score_title(source.objective)),
                marks=tuple(marks),
            ),
        ),
        notes=notes,
    )


def _draw_deviations(
    source: PlotSource, kept: Sequence[tuple[Scored, Spread]], notes: tuple[str, ...]
) -> Chart:
    marks: list[Mark] = []
    size = 7.0 if len(kept) <= 60 else 5.0 if len(kept) <= 300 else 3.5
    for state, look in STATE_LOOKS.items():
        part = [
            (one, spread.deviation)
            for one, spread in kept
            if one.record.state is state and spread.deviation is not None
        ]
        if part:
            marks.append(
                Points(
                    x=[one.score for one, _ in part],
                    y=[deviation for _, deviation in part],
                    name=look.word,
                    colour=look.colour,
                    symbol=look.symbol,
                    is_open=look.is_open,
                    size=size,
                    opacity=0.85,
                    labels=[
                        f"{describe_score(one)}; deviation {format_number(deviation)}"
                        for one, deviation in part
                    ],
                )
            )
    if not marks:
        return missing(TITLE, "No deviation of replicas is a finite number.")
    highest = max(
        (spread.deviation for _, spread in kept if spread.deviation is not None), default=math.nan
    )
    corner = "right" if source.objective.mode == "max" else "left"
    return Chart(
        title=f"How far replicas lie apart, {count_noun(len(kept), 'trial')}",
        subtitle="Each mark is a trial: its score, and the standard deviation of its replicas' own "
        f"scores. Good and steady ones are at the bottom {corner}.",
        panels=(
            Panel(
                x=Axis(title=score_title(source.objective)),
                y=Axis(
                    title="standard deviation over replicas",
                    limits=(-0.03 * highest, 1.06 * highest) if highest > 0 else (-0.5, 1.0),
                ),
                marks=tuple(marks),
            ),
        ),
        notes=notes,
    )


def _is_diverged(one: Scored, replica: int) -> bool:
    flags = one.record.last_report.get("replica/diverged") or ()
    return replica < len(flags) and bool(flags[replica])


def _name_replica(one: Scored, replica: int) -> str:
    seeds = one.record.seeds
    return f"seed {seeds[replica]}" if replica < len(seeds) else f"replica {replica + 1}"
