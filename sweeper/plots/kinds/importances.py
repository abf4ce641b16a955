"""Importances: how much scores depend on each searched parameter, held against chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeper.evidence.advice.importances import advise_on_importances
from sweeper.evidence.advice.report import rank_by_merit
from sweeper.formatting import count_noun, format_number
from sweeper.hints import join_words, show
from sweeper.plots.chart import Axis, Bars, Chart, Panel, Points, categories, missing
from sweeper.plots.colours import MUTED, PALETTE
from sweeper.plots.parameters import describe_parameters
from sweeper.plots.source import PlotSource
from sweeper.plots.texts import label_parameters
from sweeper.search.configuration import flatten_parameters
from sweeper.search.distributions import Distribution, assign

__all__ = ["draw"]

TITLE = "Importance of parameters"


def draw(source: PlotSource) -> Chart:
    """Importances by PED-ANOVA, as `sweeper advise` estimates them, with what chance reaches."""
    trials = [one for one in source.trials if one.state.is_over]
    if source.empty:
        return missing(TITLE, source.empty)
    if any(one.exchanges for one in trials):
        return missing(
            TITLE,
            "The trials of a population change their values while they train, so no score belongs "
            "to one value.",
        )
    notes: tuple[str, ...] = ()
    space = source.param_space
    if space is None:
        space = _guess_space(source)
        notes += ("The search space is unknown: ranges are those of the values that were tried.",)
    ranked = rank_by_merit(trials, source.objective)
    finding = advise_on_importances(space, ranked)
    parameters: list[dict[str, Any]] = list((finding.numbers or {}).get("parameters", ()))
    if not parameters:
        return missing(TITLE, finding.text)
    labels = label_parameters([one["name"] for one in parameters])
    left_out = [name for name in source.searched if name not in labels]
    if left_out:
        notes += (
            f"{count_noun(len(left_out), 'parameter')} that not every trial has, or whose values "
            "are all the same, left out.",
        )
    parameters.reverse()  # the first at the top
    places = [float(place) for place in range(len(parameters))]
    values = [one["value"] for one in parameters]
    return Chart(
        title=f"{TITLE}: {_name_real(parameters, labels)}",
        subtitle="How far the values of the best trials differ from those of all (PED-ANOVA). "
        "Blue: beyond what chance reaches in 98 of 100 searches (the bar across). "
        "p: how often chance alone makes any parameter as important.",
        panels=(
            Panel(
                x=Axis(title="importance (PED-ANOVA, no unit)", limits=_limits(parameters)),
                y=Axis(
                    ticks=categories(
                        [f"{labels[one['name']]} (p = {one['p_value']:.2g})" for one in parameters]
                    ),
                    limits=(-0.6, len(parameters) - 0.4),
                ),
                marks=(
                    Bars(
                        y=places,
                        lengths=values,
                        colours=[PALETTE[0] if one["is_real"] else MUTED for one in parameters],
                        labels=[_tell(one) for one in parameters],
                    ),
                    Points(
                        x=[one["floor"] for one in parameters],
                        y=places,
                        name="what chance reaches",
                        colour=PALETTE[1],
                        symbol="bar",
                        size=17,
                        labels=[f"chance: {format_number(one['floor'])}" for one in parameters],
                    ),
                ),
            ),
        ),
        notes=(
            *notes,
            f"From {count_noun(len(ranked), 'trial')} with a score; those that were pruned count "
            "as worse than all others."
            if any(one.state == "PRUNED" for one, _ in ranked)
            else f"From {count_noun(len(ranked), 'trial')} with a score.",
        ),
        height=150 + 34 * len(parameters),
    )


def _name_real(parameters: list[dict[str, Any]], labels: Mapping[str, str]) -> str:
    """Who lies beyond chance, for the title; the last one is the most important."""
    real = [labels[one["name"]] for one in reversed(parameters) if one["is_real"]]
    if not real:
        return "none beyond chance"
    if len(real) > 3:
        return f"{len(real)} of {len(parameters)} matter"
    return f"{join_words(real)} {'matters' if len(real) == 1 else 'matter'}"


def _limits(parameters: list[dict[str, Any]]) -> tuple[float, float]:
    highest = max(max(one["value"], one["floor"]) for one in parameters)
    return 0.0, 1.06 * highest if highest > 0 else 1.0


def _tell(one: Mapping[str, Any]) -> str:
    return (
        f"{one['name']}: {format_number(one['value'])}, chance reaches "
        f"{format_number(one['floor'])}, p = {one['p_value']:.2g}"
    )


def _guess_space(source: PlotSource) -> dict[str, Any]:
    """Distributions over the values that were tried."""
    space: dict[str, Any] = {}
    for parameter in describe_parameters(source):
        if parameter.is_number:
            kind = "loguniform" if parameter.is_log else "uniform"
            leaf = Distribution(kind, (parameter.low, parameter.high))
        else:
            values = {
                show(flat[parameter.name]): flat[parameter.name]
                for one in source.trials
                if parameter.name in (flat := flatten_parameters(one.parameters))
            }
            leaf = Distribution("choice", tuple(values[key] for key in parameter.keys))
        assign(space, tuple(parameter.name.split(".")), leaf)
    return space
