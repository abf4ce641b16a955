"""Timeline: which trials trained when, over the launches of the run."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.formatting import count_noun, format_duration
from sweeper.plots.chart import Axis, Chart, Mark, Panel, Rule, Spans, categories, missing
from sweeper.plots.colours import MUTED, PALETTE, STATE_LOOKS
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import describe_trial
from sweeper.results.records import Launch, TrialRecord
from sweeper.states import Stage, TrialState

__all__ = ["Stretch", "draw", "lay_out"]

TITLE = "Timeline"
_CONFIRMING = "confirmation"
_UNITS = ((172_800.0, 86_400.0, "days"), (7_200.0, 3_600.0, "hours"), (180.0, 60.0, "minutes"))


@dataclass(frozen=True)
class Stretch:
    """A stretch of time in which a trial was on a worker.

    Attributes:
        record: the trial.
        begin: in seconds since the epoch.
        end: the same.
        lane: the first that was free, from 0.
    """

    record: TrialRecord
    begin: float
    end: float
    lane: int


def draw(source: PlotSource) -> Chart:
    """Trials as bars over wall-clock time, as many lanes as ran at a time."""
    results = source.results
    records = [*results.trials, *results.retrained]
    if not records:
        return missing(TITLE, source.empty or "The run has no trials.")
    stretches = lay_out(records, results.launches, now=results.updated)
    if not stretches:
        why = "When trials started is not known: the run's records have no times."
        if all(one.state is TrialState.PENDING for one in records):
            why = "No trial has started yet."
        return missing(TITLE, why)
    begin = min(one.begin for one in stretches)
    starts = [one.started for one in results.launches]
    begin = min([begin, *starts])
    whole = max(one.end for one in stretches) - begin
    unit_s, unit = next(
        ((size, word) for least, size, word in _UNITS if whole >= least), (1.0, "seconds")
    )
    lanes = 1 + max(one.lane for one in stretches)
    marks: list[Mark] = _draw_stretches(stretches, begin, unit_s)
    marks += [
        Rule(
            at=(launch.started - begin) / unit_s,
            is_vertical=True,
            name="launch",
            colour=MUTED,
            dash="dot",
        )
        for launch in results.launches
    ]
    notes = _describe_gaps(results.launches)
    unknown = sum(one.started is None for one in records)
    if unknown:
        notes += (f"{count_noun(unknown, 'trial')} that never started left out.",)
    if any(one.retries or one.exchanges for one in records):
        notes += ("Pauses and retries within a launch are not shown: a bar goes on over them.",)
    return Chart(
        title=f"{TITLE}: {count_noun(len({one.record.trial_id for one in stretches}), 'trial')} in "
        f"{format_duration(whole)}, up to {lanes} at a time",
        subtitle="Each bar is a trial, from its start to its last event; lanes are filled from the "
        "top, and are no machines.",
        panels=(
            Panel(
                x=Axis(title=f"{unit} since the run began"),
                y=Axis(
                    title="trials at a time",
                    ticks=categories([str(lane + 1) for lane in range(lanes)]),
                    limits=(-0.7, lanes - 0.3),
                    is_reversed=True,
                ),
                marks=tuple(marks),
            ),
        ),
        notes=notes,
        height=170 + min(620, 34 * lanes + 60),
    )


def lay_out(
    records: Sequence[TrialRecord], launches: Sequence[Launch], *, now: float | None
) -> list[Stretch]:
    """The stretches of trials, each on the first lane that is free.

    A trial of several launches has a stretch in each: between launches nothing runs.

    Args:
        records: of both stages.
        launches: in their order; without any, a trial's time is not cut.
        now: until when trials that are not over last.
    """
    pieces: list[tuple[float, float, TrialRecord]] = []
    for record in records:
        if record.started is None:
            continue
        end = record.ended
        if end is None:
            end = now if now is not None else record.started
        parts = [
            (max(record.started, one.started), min(end, one.updated))
            for one in launches
            if one.started <= end and one.updated >= record.started
        ]
        if not parts:
            parts = [(record.started, end)]
        pieces += [(begin, until, record) for begin, until in parts if until >= begin]
    pieces.sort(key=lambda one: (one[0], len(one[2].trial_id), one[2].trial_id))
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    lanes = 0
    found = []
    for begin, end, record in pieces:
        while busy and busy[0][0] <= begin:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if free:
            lane = heapq.heappop(free)
        else:
            lane, lanes = lanes, lanes + 1
        heapq.heappush(busy, (end, lane))
        found.append(Stretch(record, begin, end, lane))
    return found


def _draw_stretches(stretches: Sequence[Stretch], begin: float, unit_s: float) -> list[Mark]:
    marks: list[Mark] = []
    for stage in Stage:
        for state, look in STATE_LOOKS.items():
            part = [one for one in stretches
                    if one.record.state is state and one.record.stage is stage]  # fmt: skip
            if not part:
                continue
            is_search = stage is Stage.SEARCH
            own = is_search or state is not TrialState.TERMINATED
            marks.append(
                Spans(
                    y=[float(one.lane) for one in part],
                    starts=[(one.begin - begin) / unit_s for one in part],
                    ends=[(one.end - begin) / unit_s for one in part],
                    colour=look.colour if own else PALETTE[3],
                    pattern=look.pattern,
                    name=look.word if is_search else f"{look.word}, {_CONFIRMING}",
                    labels=[
                        describe_trial(
                            one.record,
                            f"{format_duration(one.end - one.begin)}"
                            + (f" on {one.record.node}" if one.record.node else ""),
                        )
                        for one in part
                    ],
                )
            )
    return marks


def _describe_gaps(launches: Sequence[Launch]) -> tuple[str, ...]:
    if len(launches) < 2:
        return ()
    gaps = sum(
        max(0.0, after.started - before.updated) for before, after in itertools.pairwise(launches)
    )
    return (f"{len(launches)} launches; between them nothing ran for {format_duration(gaps)}.",)
