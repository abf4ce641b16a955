"""Rungs: where a scheduler compared trials, who went on, and how far each trial got."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.formatting import count_noun, format_number
from sweeper.metrics import ENV_STEPS, ITERATION
from sweeper.plots.chart import Axis, Chart, Line, Mark, Panel, Points, missing
from sweeper.plots.colours import PALETTE, STATE_LOOKS
from sweeper.plots.curves import choose_steps
from sweeper.plots.scores import by_state, spread_out
from sweeper.plots.source import PlotSource, Scored
from sweeper.plots.texts import describe_trial, metric_title, score_title, steps_title
from sweeper.results.ranking import id_key
from sweeper.results.records import TrialRecord
from sweeper.results.scoring import env_steps_of, finite_value, iteration_of
from sweeper.schedulers.asha import HalvingScheduler
from sweeper.schedulers.registry import SCHEDULERS, build_scheduler
from sweeper.schedulers.rungs import Rung
from sweeper.states import TrialState

__all__ = ["Arrival", "agrees_with_journal", "climb", "draw"]

TITLE = "Rungs"
_HALVING = ("asha", "hyperband")


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A trial at a rung.

    Attributes:
        record: the trial.
        env_steps: of the rung.
        ladder: which of the scheduler's ladders it is on, from 0.
        value: that was compared there.
        number: of the rung on that ladder, from 1.
        is_last: whether the trial came to no further rung.
        is_final: whether it was the trial's last report.
    """

    record: TrialRecord
    env_steps: int
    ladder: int
    value: float
    number: int
    is_last: bool
    is_final: bool

    @property
    def is_cut(self) -> bool:
        """Whether the scheduler stopped the trial there."""
        return self.is_last and self.record.state is TrialState.PRUNED


def draw(source: PlotSource) -> Chart:
    """Scores at each rung with the cut-off, and how many trials were still training."""
    if not source.trials:
        return missing(TITLE, source.empty or "The run has no trials.")
    reported = [one for one in source.trials if one.reports]
    if not reported:
        why = f"None of {count_noun(len(source.trials), 'trial')} has a report."
        return missing(TITLE, why)
    scheduler = _make_scheduler(source)
    arrivals = [] if scheduler is None else climb(source, scheduler)
    is_known = agrees_with_journal(source, arrivals)
    cut = sum(one.state is TrialState.PRUNED for one in source.trials)
    left: Panel | None
    notes: tuple[str, ...]
    if scheduler is not None and arrivals and is_known:
        left, notes = _draw_rungs(source, scheduler, arrivals)
        subtitle = (
            "Left: the values that were compared at each rung; dashes: the cut-off over all that "
            "came there. Right: how many trials got so far."
        )
    else:
        left, notes = _draw_ends(source), ()
        if source.scheduler in _HALVING and (scheduler is None or not is_known):
            notes = (
                "The rungs are not shown: which of them each trial came to is not known, or they "
                "compared another metric.",
            )
        subtitle = "Left: where each trial stopped, and its score. Right: how many got so far."
    right, more = _draw_survival(source, reported)
    name = "" if source.scheduler is None else f" ({source.scheduler})"
    stopped = f"{cut} of {count_noun(len(source.trials), 'trial')} stopped early" if cut else (
        f"none of {count_noun(len(source.trials), 'trial')} was stopped early"
    )  # fmt: skip
    return Chart(
        title=f"How far trials got{name}: {stopped}",
        subtitle=subtitle,
        panels=tuple(one for one in (left, right) if one is not None),
        columns=1 if left is None else 2,
        notes=(*notes, *more),
        height=500,
    )


def climb(source: PlotSource, scheduler: HalvingScheduler) -> list[Arrival]:
    """Which trials came to which rungs, with the values that counted there.

    A trial is on the ladder that the scheduler puts it on, and at each rung with its first report
    from there on; see `schedulers.rungs`.

    Args:
        source: the run.
        scheduler: as the launch had it; it has not been told of any trial.
    """
    found: list[Arrival] = []
    objective = source.objective
    # Ladders are given in the order of first reports, which is about that of the starts.
    reported = [one for one in source.trials if one.reports]
    for record in sorted(reported, key=lambda one: (one.started or 0.0, id_key(one.trial_id))):
        chosen = scheduler.choose_ladder(record.trial_id)
        ladder = scheduler.ladders[chosen]
        own: list[tuple[Rung, float, int]] = []
        for index, report in enumerate(record.reports, start=1):
            steps, value = env_steps_of(report), finite_value(report, objective.metric)
            if steps is None or value is None:
                continue
            rung = ladder.due(record.trial_id, int(steps))
            if rung is not None:
                rung.record(record.trial_id, objective.merit(value))
                own.append((rung, value, index))
        found += [
            Arrival(
                record=record,
                env_steps=rung.env_steps,
                ladder=chosen,
                value=value,
                number=rung.number,
                is_last=rung is own[-1][0],
                is_final=index == len(record.reports),
            )
            for rung, value, index in own
        ]
    return found


def agrees_with_journal(source: PlotSource, arrivals: Sequence[Arrival]) -> bool:
    """Whether trials came to the rungs that the journal says.

    It has the last rung at which the scheduler decided on a trial. The report with which a trial
    ended by itself is not decided on. HyperBand's brackets go by the order in which trials first
    reported, which the records no longer have: a guess that does not agree is not shown.
    """
    if all(one.rung is None for one in source.trials):  # as in journals of earlier versions
        return len({one.ladder for one in arrivals}) <= 1
    decided: dict[str, int] = {}
    for one in arrivals:
        if one.record.state is not TrialState.TERMINATED or not one.is_final:
            decided[one.record.trial_id] = one.number
    judged = (TrialState.PRUNED, TrialState.TERMINATED)
    return all(
        decided.get(one.trial_id) == one.rung for one in source.trials if one.state in judged
    )


def _make_scheduler(source: PlotSource) -> HalvingScheduler | None:
    name = source.scheduler
    if name is None or name not in SCHEDULERS or not source.scheduler_options:
        return None
    try:
        made = build_scheduler(name, source.objective, source.scheduler_options)
    except (TypeError, ValueError):  # options of another version
        return None
    return made if isinstance(made, HalvingScheduler) else None


def _draw_rungs(
    source: PlotSource, scheduler: HalvingScheduler, arrivals: Sequence[Arrival]
) -> tuple[Panel, tuple[str, ...]]:
    rungs = sorted({one.env_steps for one in arrivals})
    places = {steps: float(place) for place, steps in enumerate(rungs)}
    wide = 0.5 if len(arrivals) > 12 else 0.2
    size = 6.0 if len(arrivals) <= 120 else 3.5
    look = STATE_LOOKS[TrialState.PRUNED]
    marks: list[Mark] = []
    for is_cut, name in ((False, "went on"), (True, "stopped there")):
        part = [one for one in arrivals if one.is_cut == is_cut]
        if not part:
            continue
        marks.append(
            Points(
                x=spread_out([places[one.env_steps] for one in part], wide),
                y=[one.value for one in part],
                name=name,
                colour=look.colour if is_cut else PALETTE[0],
                symbol=look.symbol if is_cut else "circle",
                is_open=is_cut,
                size=size,
                opacity=0.8,
                labels=[
                    describe_trial(
                        one.record,
                        f"{format_number(one.value)} at the rung of {one.env_steps:,} env steps",
                    )
                    for one in part
                ],
            )
        )
    marks += _draw_cutoffs(source, scheduler, places)
    notes = (
        "Each trial was held against those that had come before it; the cut-off moved until it "
        "was what is drawn.",
    )
    panel = Panel(
        title="values at the rungs",
        x=Axis(
            title="rung: env steps per replica",
            ticks=tuple((places[steps], f"{steps:,}") for steps in rungs),
            limits=(-0.5, len(rungs) - 0.5),
        ),
        y=Axis(title=metric_title(source.objective.metric)),
        marks=tuple(marks),
    )
    return panel, notes


def _draw_cutoffs(
    source: PlotSource, scheduler: HalvingScheduler, places: dict[int, float]
) -> list[Mark]:
    share = 1 - 1 / scheduler.reduction_factor
    sign = 1.0 if source.objective.mode == "max" else -1.0
    x: list[float] = []
    y: list[float] = []
    labels: list[str] = []
    for ladder in scheduler.ladders:
        for rung in ladder.rungs:
            cutoff = rung.quantile(share)
            if cutoff is None or rung.env_steps not in places:
                continue
            place = places[rung.env_steps]
            told = (
                f"cut-off {format_number(sign * cutoff)} of {len(rung.merits)} at "
                f"{rung.env_steps:,} env steps: the best 1 in {scheduler.reduction_factor:g} go on"
            )
            x += [place - 0.4, place + 0.4, float("nan")]
            y += [sign * cutoff, sign * cutoff, float("nan")]
            labels += [told, told, ""]
    if not x:
        return []
    return [
        Line(
            x=x, y=y, name="cut-off", colour=PALETTE[1], dash="dash", width=2.0, labels=labels
        )
    ]  # fmt: skip


def _draw_ends(source: PlotSource) -> Panel | None:
    steps, _ = choose_steps([one.record for one in source.scored], source.objective.metric)
    kept = [(one, _last(one, steps)) for one in source.scored]
    known = [(one, place) for one, place in kept if place is not None]
    if not known:
        return None
    size = 6.0 if len(known) <= 120 else 3.5
    return Panel(
        title="where trials stopped",
        x=Axis(title=steps_title(steps)),
        y=Axis(title=score_title(source.objective)),
        marks=tuple(
            by_state(
                source,
                [one for one, _ in known],
                [place for _, place in known],
                size=size,
                has_intervals=False,
            )
        ),
    )


def _last(one: Scored, steps: str) -> float | None:
    report = one.record.last_report
    return env_steps_of(report) if steps == ENV_STEPS else iteration_of(report)


def _draw_survival(
    source: PlotSource, reported: Sequence[TrialRecord]
) -> tuple[Panel, tuple[str, ...]]:
    steps = ENV_STEPS
    notes: tuple[str, ...] = ()
    if any(env_steps_of(one.last_report) is None for one in reported):
        steps = ITERATION
        notes = ("Not all trials tell their env steps: training iterations stand in.",)
    lengths = np.sort([finite_value(one.last_report, steps) or 0.0 for one in reported])
    x = [0.0, *(float(one) for one in np.unique(lengths))]
    all_trials = len(source.trials)
    y = [float(all_trials)]
    y += [float((lengths > end).sum()) for end in x[1:]]
    left = [float((lengths >= end).sum()) for end in x[1:]]
    labels = [f"all {all_trials} trials"] + [
        f"{int(count)} of {all_trials} trials got to {end:,.0f}"
        for count, end in zip(left, x[1:], strict=True)
    ]
    marks: list[Mark] = [
        Line(
            x=x, y=y, name="", colour=PALETTE[0], is_steps=True, width=2.0, labels=labels
        )
    ]  # fmt: skip
    unreported = all_trials - len(reported)
    if unreported:
        notes = (*notes, f"{count_noun(unreported, 'trial')} without a report.")
    panel = Panel(
        title="trials that trained beyond",
        x=Axis(title=steps_title(steps)),
        y=Axis(title="trials", limits=(0.0, 1.05 * all_trials)),
        marks=tuple(marks),
    )
    return panel, notes
