"""A run, opened: from its folder, or from any Ray Tune experiment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeper.errors import UserError
from sweeper.evidence.current import is_written, select_current
from sweeper.evidence.learning import Learning, find_learning
from sweeper.evidence.no_value import explain_no_value
from sweeper.evidence.selection import NothingToSelect, Selection, check_metric
from sweeper.metrics import Objective, canonical_metric, examined_metric
from sweeper.opened_champion import OpenedChampion
from sweeper.opened_page import describe_line, draw_page
from sweeper.opened_tables import RunTables
from sweeper.paths import RunPaths, find_run, run_reference
from sweeper.recorded_plan import planned
from sweeper.relocation import relocate
from sweeper.results.builder import load_results
from sweeper.results.observing import observe_search
from sweeper.results.tune_import import experiments as tune_experiments
from sweeper.run_files import is_regular
from sweeper.spec import ExperimentSpec, load_record
from sweeper.storage.mirror import mirror_of
from sweeper.storage.working_copy import bring_run, publish
from sweeper.trust import TrustLike

if TYPE_CHECKING:
    import gymnasium
    import optuna

    from sweeper.evidence.advice.finding import Advice
    from sweeper.opened_plots import RunPlots

__all__ = ["Run", "open_run", "open_tune"]


@dataclass(frozen=True)
class Run(RunTables):
    """A run, opened: what was tried, how it went, who won.

    Attributes:
        results: all trials, as the journal had them when the run was opened.
        objective: how trials are compared.
        spec: the run's spec; None for a Tune experiment, which has none.
        warnings: problems with the run's records, for the user.
        told: those of them that were logged while the run went on.
    """

    spec: ExperimentSpec | None = None
    warnings: tuple[str, ...] = ()
    told: frozenset[str] = frozenset()

    @property
    def paths(self) -> RunPaths:
        """The run's files."""
        return RunPaths(self.results.root)

    @cached_property
    def selection(self) -> Selection:
        """The winner by the objective, and the excluded trials.

        Raises:
            NothingToSelect: no trial has a score.
        """
        return select_current(self.results, self.objective, self.spec)

    @property
    def best_trial(self) -> str | None:
        """The winner's id; None if no trial has a score."""
        selection = self._find_selection()
        return None if selection is None else selection.trial_id

    @property
    def failure(self) -> str | None:
        """Why no trial has a score, and what to do, in a sentence; None if one has.

        The command line ends with it, and exit code 1.
        """
        return explain_no_value(self.results, self.objective)

    @property
    def best(self) -> dict[str, Any]:
        """The winner as `sweeper best --json` prints it.

        Raises:
            NothingToSelect: no trial has a score.
        """
        schedule, learning = self.schedule, self.learning()
        return {
            **self.selection.to_best_json(self.results.root, self.agent),
            "schedule": None if schedule is None else str(schedule),
            **({} if learning is None else {"learning": learning.to_json()}),
        }

    @property
    def champion(self) -> OpenedChampion:
        """The winner: its configuration, its evidence, its agent.

        Raises:
            NothingToSelect: no trial has a score.
        """
        return OpenedChampion(self.selection, self.agent, self.learning())

    def learning(self, threshold: float | None = None) -> Learning | None:
        """How fast the winner's runs learned.

        Args:
            threshold: to be reached; by default the spec's ``selection.solved_at``.

        Returns:
            None without a threshold, and if no run has a curve.

        Raises:
            NothingToSelect: no trial has a score.
        """
        if threshold is None:
            threshold = None if self.spec is None else self.spec.selection.solved_at
        if threshold is None:
            return None
        selection = self.selection
        return find_learning(
            self.results,
            selection.trial_id,
            self.objective,
            threshold,
            is_confirmed=selection.confirmed is not None,
        )

    @property
    def agent(self) -> Path | None:
        """The winner's agent: ``champion/``, or None if that folder holds no agent or another.

        Raises:
            NothingToSelect: no trial has a score.
        """
        return self.paths.champion if self.is_champion_written else None

    @property
    def is_champion_written(self) -> bool:
        """Whether ``champion/`` holds the winner's agent as it was chosen."""
        return is_written(self.selection, self.paths.champion)

    @property
    def retrained(self) -> Run:
        """The same run with the confirmation's trials in the place of the search's.

        Their score is what they came to in the episodes that judge them.

        Raises:
            UserError: the run has none.
        """
        metric = examined_metric(self.objective.metric)
        trials = tuple(one for one in self.results.retrained if not one.is_outdated)
        if not trials or metric is None:
            root = self.results.root
            raise UserError(
                f"{root.name} has no trials of a confirmation; "
                f"`sweeper confirm {run_reference(root)}` makes one"
            )
        return Run(
            replace(self.results, trials=trials),
            Objective(metric, self.objective.mode),
            self.spec,
            self.warnings,
        )

    @cached_property
    def plot(self) -> RunPlots:
        """The run's plots, one method each: ``run.plot.learning_curves()``; its repr lists them."""
        from sweeper.opened_plots import RunPlots, build_source

        chosen = None if self.best_trial is None else self.selection
        return RunPlots(build_source(self.results, self.objective, self.spec, chosen))

    @property
    def state(self) -> str:
        """``running``, ``finished``, ``interrupted``, or which budget ended it."""
        return str(self.results.state)

    def reload(self) -> Run:
        """The run as it stands now, read from its folder again; for one that is still going."""
        root, chosen = self.results.root, self.objective
        if self.spec is None:
            how = {"metric": chosen.metric, "mode": chosen.mode, "score": chosen.score}
            return open_tune(root, **how)
        bring_run(root)
        return replace(self, results=load_results(self.paths), warnings=(), told=frozenset())

    def make_env(
        self, *, render_mode: str | None = None, trust: TrustLike = False
    ) -> gymnasium.Env[Any, Any]:
        """Build the environment that the run trains in, with its module and wrappers.

        Args:
            render_mode: gymnasium's, such as ``rgb_array``.
            trust: run its code although this user did not make the run on this machine.

        Raises:
            UserError: it can't be built, its code is not trusted, or a Tune experiment has none.
        """
        from sweeper.opened_environment import open_environment

        return open_environment(self.paths, self.spec, render_mode=render_mode, trust=trust)

    def advise(self, *, is_brief: bool = False) -> Advice:
        """What the run suggests for the next one, with the numbers.

        Args:
            is_brief: leave out the importance of parameters, which takes a second.
        """
        from sweeper.evidence.advice.report import advise  # scipy takes a third of a second

        return advise(
            self.results,
            self.objective,
            {} if self.spec is None else self.spec.param_space,
            is_brief=is_brief,
        )

    def to_optuna(self, log: str | Path | None = None) -> optuna.Study:
        """The search as an Optuna study, for Optuna's plots and importances.

        Trials are complete, pruned, failed or running, with their values at env steps. It is made
        from the run's journal and is not connected with it.

        Args:
            log: also write the study as an Optuna journal to this file, which
                ``optuna-dashboard`` opens; what it holds is replaced.

        Raises:
            UserError: the run has no spec, as a Tune experiment has none.
        """
        from sweeper.search.sampling.export import StudyLog, build_study

        if self.spec is None:
            raise UserError("a Tune experiment has no spec, so its search space is unknown")
        space, name, objective = self.spec.param_space, self.results.root.name, self.objective
        observations = observe_search(self.results, objective)
        if log is not None:
            StudyLog(Path(log), space, name=name, objective=objective).rewrite(observations)
        return build_study(space, observations, name=name, objective=objective)

    def __repr__(self) -> str:
        """A line: its name, its state, how its trials stand, who won."""
        words = describe_line(self.results, self.objective, self._find_selection(), self._total)
        return f"<Run {words}>"

    def _repr_html_(self) -> str:
        """State, verdict, evidence and the ten best trials, for a notebook."""
        selection = self._find_selection()
        failure = None if selection is not None else self.failure
        return draw_page(self.results, self.objective, selection, failure, self._total).text

    @property
    def _total(self) -> int:
        """How many trials were planned; those there are, where no plan is recorded."""
        recorded = None if self.spec is None else planned(self.paths, "trials")
        return max(recorded or 0, len(self.results.trials))

    def _find_selection(self) -> Selection | None:
        try:
            return self.selection
        except NothingToSelect:
            return None

    def report(self, path: str | Path | None = None) -> Path:
        """Write all of it as one HTML file that opens without a network; returns the file.

        Args:
            path: by default ``report.html`` in the run folder; for a Tune experiment
                ``report-NAME.html`` in the working directory.

        Raises:
            UserError: it can't be written.
        """
        from sweeper.opened_report import write_opened

        chosen, notes = self._find_selection(), self.warnings
        file = write_opened(self.results, self.objective, self.spec, chosen, notes=notes, path=path)
        root = self.results.root
        if path is None and mirror_of(root) is None:  # its driver writes it there else
            publish([file], root)
        return file

    @property
    def schedule(self) -> Path | None:
        """The spec that trains the winner's values over time; None if they never changed."""
        return self.paths.schedule if is_regular(self.paths.schedule) else None


def open_run(
    reference: str | Path = "last",
    storage: str | Path = "runs",
    *,
    metric: str | None = None,
    mode: str | None = None,
    score: str | None = None,
) -> Run:
    """Open a run, or the folder of any Ray Tune experiment.

    Args:
        reference: a path, a folder's name under ``storage``, or ``last``.
        storage: the folder that holds the runs.
        metric: compare by this metric instead of the spec's; it is maximised by default.
        mode: ``max`` or ``min``.
        score: ``last``, ``best`` or ``auc``.

    Raises:
        UserError: there is no such run, or none of its trials reported the metric.
    """
    folder = Path(reference)
    if tune_experiments.is_tune_experiment(folder):
        return open_tune(folder, metric=metric, mode=mode, score=score)
    paths = find_run(str(reference), Path(storage))
    spec = relocate(paths, load_record(paths.spec))
    objective = spec.objective
    if metric is not None and canonical_metric(metric) != objective.metric:
        objective = Objective(metric=canonical_metric(metric), score=objective.score)
    changes = {"mode": mode, "score": score}
    objective = replace(objective, **{name: value for name, value in changes.items() if value})
    results = load_results(paths)
    if metric is not None:
        check_metric(results, objective.metric)
    return Run(results, objective, spec)


def open_tune(
    experiment: Any, *, metric: str | None = None, mode: str | None = None, score: str | None = None
) -> Run:
    """Open a Ray Tune experiment that was made without sweeper.

    Args:
        experiment: the `ResultGrid` that ``fit()`` returned, or the experiment's folder.
        metric: Tune's name or ours; by default the metric it was tuned by.
        mode: ``max`` or ``min``.
        score: ``last``, ``best`` or ``auc``.

    Raises:
        UserError: there is no experiment, no trial reported the metric, or the mode is unknown.
    """
    objective = tune_experiments.find_objective(experiment, metric=metric, mode=mode, score=score)
    results = tune_experiments.open_tune(experiment)
    check_metric(results, objective.metric)
    return Run(results, objective)
