"""The plots of an opened run, for notebooks: ``run.plot.learning_curves()``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.errors import UserError
from sweeper.evidence.selection import Selection
from sweeper.hints import did_you_mean, show
from sweeper.metrics import Objective
from sweeper.plots import catalogue
from sweeper.plots.chart import Chart
from sweeper.plots.source import PlotSource
from sweeper.results.records import SweepResults
from sweeper.spec import ExperimentSpec
from sweeper.spec.schedulers import resolve_options

__all__ = ["BACKENDS", "RunPlots", "build_source"]

BACKENDS = ("plotly", "matplotlib")
_Figure = Any  # a plotly.graph_objects.Figure or a matplotlib.figure.Figure


def build_source(
    results: SweepResults,
    objective: Objective,
    spec: ExperimentSpec | None,
    selection: Selection | None,
) -> PlotSource:
    """What the plots of a run are made from.

    Args:
        results: of the run.
        objective: how its trials are compared.
        spec: the run's; None for a Tune experiment, which has none.
        selection: the winner; None if no trial has a score.
    """
    if spec is None:
        return PlotSource(
            name=results.root.name, results=results, objective=objective, selection=selection
        )
    return PlotSource(
        name=results.root.name,
        results=results,
        objective=objective,
        param_space=spec.param_space,
        selection=selection,
        scheduler=spec.scheduler.type,
        scheduler_options=resolve_options(spec.scheduler, spec.stop),
        solved_at=spec.selection.solved_at,
    )


@dataclass(frozen=True, repr=False)
class RunPlots:
    """The plots of a run, one method each; `repr` lists them.

    Each returns a figure: of plotly, which a notebook shows, or with ``backend="matplotlib"`` a
    `matplotlib.figure.Figure`. Where a plot can't be made of a run, the figure says why.

    Attributes:
        source: what they are made from.
    """

    source: PlotSource

    def __repr__(self) -> str:
        """The kinds, with what each shows."""
        width = max(map(len, catalogue.KINDS))
        lines = [f"  .{kind.name + '()':<{width + 2}}  {kind.shows}"
                 for kind in catalogue.KINDS.values()]  # fmt: skip
        return "\n".join([f"plots of {self.source.name}:", *lines])

    def chart(self, kind: str, **options: Any) -> Chart:
        """A plot as data, which neither library has drawn yet.

        Args:
            kind: its name.
            options: of that kind.

        Raises:
            UserError: an unknown kind or option, or a value that an option does not take.
        """
        return catalogue.draw(kind, self.source, **options)

    def draw(self, kind: str, *, backend: str = "plotly", **options: Any) -> _Figure:
        """A plot by its name.

        Args:
            kind: its name.
            backend: ``plotly`` or ``matplotlib``.
            options: of that kind.

        Raises:
            UserError: an unknown kind, backend or option, or a value that an option does not take.
        """
        if backend not in BACKENDS:
            raise UserError(
                f"backend is {show(backend)}{did_you_mean(backend, BACKENDS)}; "
                "it is plotly or matplotlib"
            )
        chart = self.chart(kind, **options)
        if backend == "plotly":
            from sweeper.plots.plotly_figure import to_plotly

            return to_plotly(chart)
        from sweeper.plots.matplotlib_figure import to_matplotlib

        return to_matplotlib(chart)

    def learning_curves(
        self,
        *,
        metric: str | None = None,
        trials: Sequence[str] = (),
        top: int = 8,
        replicas: bool = False,
        band: str = "interval",
        backend: str = "plotly",
    ) -> _Figure:
        """A metric against env steps, of the best trials, with a band over replicas.

        Args:
            metric: whose values; by default the run's.
            trials: ids, of either stage; by default the best of the search.
            top: how many of the best, at most 18.
            replicas: draw each replica, too.
            band: ``interval``: the mean with its 95 % interval by Student's t; ``range``: the
                interquartile mean, from the lowest to the highest replica.
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown metric, trial, band or backend.
        """
        return self.draw(
            "learning_curves",
            backend=backend,
            metric=metric,
            trials=tuple(trials),
            top=top,
            replicas=replicas,
            band=band,
        )

    def aggregate_curves(
        self,
        *,
        metric: str | None = None,
        by: str | None = None,
        bins: int = 4,
        backend: str = "plotly",
    ) -> _Figure:
        """Learning curves averaged by a parameter's values, or by configuration.

        Args:
            metric: whose values; by default the run's.
            by: a searched parameter, or ``configuration``; by default the parameter by which
                scores differ most.
            bins: into how many groups of about equal size numbers are parted.
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown metric, parameter or backend.
        """
        return self.draw("aggregate_curves", backend=backend, metric=metric, by=by, bins=bins)

    def optimisation_history(self, *, backend: str = "plotly") -> _Figure:
        """Scores against the env steps that the sweep had spent, and the best so far.

        Args:
            backend: ``plotly`` or ``matplotlib``.
        """
        return self.draw("optimisation_history", backend=backend)
