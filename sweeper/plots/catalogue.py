"""The kinds of plots by name, what each shows, and what it can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sweeper.errors import UserError
from sweeper.hints import did_you_mean, join_words, show

if TYPE_CHECKING:  # `sweeper plot --help` lists the kinds, and waits for none of their imports
    from sweeper.plots.chart import Chart
    from sweeper.plots.source import PlotSource

__all__ = ["KINDS", "Kind", "draw", "find_kind"]


@dataclass(frozen=True)
class Kind:
    """A kind of plot.

    Attributes:
        name: by which it is asked for.
        shows: what it shows, in a sentence without its full stop.
        options: what it can be asked for, each with a word on it.
    """

    name: str
    shows: str
    options: Mapping[str, str] = field(default_factory=dict)


_METRIC = {"metric": "whose values; by default the run's"}

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "learning_curves",
            "a metric against env steps, of the best trials, with a band over replicas",
            {
                **_METRIC,
                "trials": "ids; by default the best",
                "top": "how many of the best, 8",
                "replicas": "draw each replica, too",
                "band": "interval (mean, Student's t) or range (IQM, lowest to highest)",
            },
        ),
        Kind(
            "aggregate_curves",
            "learning curves averaged by a parameter's values, or by configuration",
            {
                **_METRIC,
                "by": "a parameter, or configuration; by default the parameter that tells most",
                "bins": "into how many groups numbers are parted, 4",
            },
        ),
        Kind(
            "optimisation_history",
            "scores against the env steps that the sweep had spent, and the best so far",
        ),
        Kind(
            "importances",
            "how much scores depend on each searched parameter, held against chance",
        ),
        Kind(
            "parallel_coordinates",
            "each trial as a line across its parameters to its score",
            {"params": "which parameters, in this order; by default all, at most nine"},
        ),
        Kind(
            "slices",
            "scores against each searched parameter, with the replicas' intervals",
            {"params": "which parameters; by default all, at most nine"},
        ),
        Kind(
            "contours",
            "scores over two parameters, as points on a smooth surface",
            {"params": "two of them; by default those that tell most"},
        ),
        Kind(
            "rungs",
            "how far each trial got, and where a scheduler stopped it",
        ),
        Kind(
            "lineage",
            "who copied whom in a population, and its values over env steps",
            {"params": "whose values; by default the first three that changed"},
        ),
        Kind(
            "performance_profile",
            "which share of training runs comes above each return",
        ),
        Kind(
            "finalists",
            "every training run of finalists and baseline, with the intervals of the verdict",
        ),
        Kind(
            "shrinkage",
            "the search's scores of the finalists against their confirmed means",
        ),
        Kind(
            "timeline",
            "which trials trained when, over the launches of the run",
        ),
        Kind(
            "replica_spread",
            "each trial's replicas: which configurations are steady, and which are lucky",
            {
                "style": "strips (scores, the best left) or deviation (against the score)",
                "top": "how many of the best trials in strips, 40",
            },
        ),
    )
}


def _functions() -> Mapping[str, Callable[..., Chart]]:
    """By name, what makes each; imported only when a plot is drawn."""
    from sweeper.plots import kinds

    return {
        "learning_curves": kinds.learning_curves.draw,
        "aggregate_curves": kinds.aggregate_curves.draw,
        "optimisation_history": kinds.optimisation_history.draw,
        "importances": kinds.importances.draw,
        "parallel_coordinates": kinds.parallel_coordinates.draw,
        "slices": kinds.slices.draw,
        "contours": kinds.contours.draw,
        "rungs": kinds.rungs.draw,
        "lineage": kinds.lineage.draw,
        "performance_profile": kinds.performance_profile.draw,
        "finalists": kinds.finalists.draw,
        "shrinkage": kinds.shrinkage.draw,
        "timeline": kinds.timeline.draw,
        "replica_spread": kinds.replica_spread.draw,
    }


def find_kind(name: str) -> Kind:
    """A kind by its name, also with hyphens.

    Raises:
        UserError: there is none.
    """
    kind = KINDS.get(str(name).replace("-", "_"))
    if kind is None:
        raise UserError(
            f"there is no plot {show(name)}{did_you_mean(name, KINDS, 0.5)}; "
            f"the kinds are {join_words(list(KINDS))}"
        )
    return kind


def draw(kind: str, source: PlotSource, **options: Any) -> Chart:
    """Make a chart.

    Args:
        kind: a key of `KINDS`.
        source: the run.
        options: of that kind; None is the default.

    Raises:
        UserError: an unknown kind, option, metric, trial or parameter, or a value that an option
            does not take.
    """
    found = find_kind(kind)
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in found.options:
            known = join_words(list(found.options)) if found.options else "nothing"
            raise UserError(
                f"{found.name} has no option {show(name)}{did_you_mean(name, found.options)}; "
                f"it can be given {known}"
            )
    chart = _functions()[found.name](source, **given)
    return replace(chart, notes=(*chart.notes, *source.live_note))
