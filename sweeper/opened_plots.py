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
    # By another metric neither the scheduler compared trials, nor is the return known that solves.
    is_own = (objective.metric, objective.mode) == (spec.objective.metric, spec.objective.mode)
    return PlotSource(
        name=results.root.name,
        results=results,
        objective=objective,
        param_space=spec.param_space,
        selection=selection,
        scheduler=spec.scheduler.type,
        scheduler_options=resolve_options(spec.scheduler, spec.stop) if is_own else {},
        solved_at=spec.selection.solved_at if is_own else None,
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

    def importances(
        self,
        *,
        backend: str = "plotly",
    ) -> _Figure:
        """How much scores depend on each searched parameter, held against chance.

        Args:
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown backend.
        """
        return self.draw("importances", backend=backend)

    def parallel_coordinates(
        self,
        *,
        params: Sequence[str] = (),
        backend: str = "plotly",
    ) -> _Figure:
        """Each trial as a line across its parameters to its score.

        Args:
            params: which parameters, in this order; by default all, at most nine.
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown parameter or backend.
        """
        return self.draw("parallel_coordinates", backend=backend, params=tuple(params) or None)

    def slices(
        self,
        *,
        params: Sequence[str] = (),
        backend: str = "plotly",
    ) -> _Figure:
        """Scores against each searched parameter, with the replicas' intervals.

        Args:
            params: which parameters; by default all, at most nine.
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown parameter or backend.
        """
        return self.draw("slices", backend=backend, params=tuple(params) or None)

    def contours(
        self,
        *,
        params: Sequence[str] = (),
        backend: str = "plotly",
    ) -> _Figure:
        """Scores over two parameters, as points on a smooth surface.

        Args:
            params: two of them; by default those by which scores differ most.
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown parameter or backend, or not two parameters.
        """
        return self.draw("contours", backend=backend, params=tuple(params) or None)

    def rungs(
        self,
        *,
        backend: str = "plotly",
    ) -> _Figure:
        """How far each trial got, and where a scheduler stopped it.

        Args:
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown backend.
        """
        return self.draw("rungs", backend=backend)

    def lineage(
        self,
        *,
        params: Sequence[str] = (),
        backend: str = "plotly",
    ) -> _Figure:
        """Who copied whom in a population, and its values over env steps.

        Args:
            params: whose values; by default the first three that changed.
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown parameter or backend.
        """
        return self.draw("lineage", backend=backend, params=tuple(params) or None)

    def performance_profile(
        self,
        *,
        backend: str = "plotly",
    ) -> _Figure:
        """Which share of training runs comes above each return.

        Args:
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown backend.
        """
        return self.draw("performance_profile", backend=backend)

    def finalists(
        self,
        *,
        backend: str = "plotly",
    ) -> _Figure:
        """Every training run of finalists and baseline, with the intervals of the verdict.

        Args:
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown backend.
        """
        return self.draw("finalists", backend=backend)

    def shrinkage(
        self,
        *,
        backend: str = "plotly",
    ) -> _Figure:
        """The search's scores of the finalists against their confirmed means.

        Args:
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown backend.
        """
        return self.draw("shrinkage", backend=backend)

    def timeline(
        self,
        *,
        backend: str = "plotly",
    ) -> _Figure:
        """Which trials trained when, over the launches of the run.

        Args:
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown backend.
        """
        return self.draw("timeline", backend=backend)

    def replica_spread(
        self,
        *,
        style: str = "strips",
        top: int = 40,
        backend: str = "plotly",
    ) -> _Figure:
        """Each trial's replicas: which configurations are steady, and which are lucky.

        Args:
            style: ``strips``: their scores, the best trial left; ``deviation``: their standard
                deviation against the trial's score.
            top: how many of the best trials ``strips`` has, at most 200.
            backend: ``plotly`` or ``matplotlib``.

        Raises:
            UserError: an unknown style or backend.
        """
        return self.draw("replica_spread", backend=backend, style=style, top=top)
