"""What the command line and the notebook call: run a spec, open a run."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sweeper import tune_experiments
from sweeper.errors import SweeperError, UserError
from sweeper.journal import Event, Journal, LaunchEnded, Listener
from sweeper.paths import RunPaths, create_run_folder, find_run, list_runs, write_atomically
from sweeper.plan import SweepPlan, build_plan, training_plan
from sweeper.provenance import describe_environment
from sweeper.records import SweepResults
from sweeper.results import ResultsBuilder, load_results
from sweeper.scoring import Rules
from sweeper.selection import NothingToSelect, Selection, select, write_selection
from sweeper.spec import ExperimentSpec, dump_spec, load_spec

if TYPE_CHECKING:
    import pandas

    from sweeper.tracking import MlflowTracker

__all__ = [
    "Progress",
    "Rules",
    "Run",
    "describe_run",
    "execute",
    "list_described",
    "open_run",
    "open_tune",
    "run",
    "train",
]


class Progress(Protocol):
    """Someone who watches a launch: hears every event in the driver's thread, then the end."""

    def __call__(self, event: Event) -> None:
        """Take note of an event; must return at once."""

    def close(self) -> None:
        """The launch is over."""


_logger = logging.getLogger(__name__)

ProgressFactory = Callable[[SweepPlan, RunPaths, ResultsBuilder], Progress]


@dataclass(frozen=True)
class Run:
    """A run, opened: what was tried, how it went, who won.

    Attributes:
        results: every trial, from the journal as it was when the run was opened.
        rules: what decides.
        spec: as run; None for an experiment that was made without one.
        warnings: what the user should know about the run's records.
    """

    results: SweepResults
    rules: Rules
    spec: ExperimentSpec | None = None
    warnings: tuple[str, ...] = ()

    @property
    def paths(self) -> RunPaths:
        """The run's files."""
        return RunPaths(self.results.root)

    @cached_property
    def selection(self) -> Selection:
        """The winner by the rules, and who was excluded.

        Raises:
            NothingToSelect: no trial has a score.
        """
        return select(
            self.results, metric=self.rules.metric, mode=self.rules.mode, score=self.rules.score
        )

    @property
    def best_trial(self) -> str | None:
        """The winner's id, or None where no trial has a score."""
        try:
            return self.selection.trial_id
        except (NothingToSelect, UserError):
            return None

    @property
    def best(self) -> dict[str, Any]:
        """The winner as `sweeper best --json` prints it.

        Raises:
            NothingToSelect: no trial has a score.
        """
        champion = self.paths.champion
        return self.selection.to_best_json(
            self.results.root, champion if champion.is_dir() else None
        )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The trials as `sweeper results --json` prints them."""
        return self.results.to_rows(
            metric=self.rules.metric, mode=self.rules.mode, score=self.rules.score
        )

    @property
    def trials(self) -> pandas.DataFrame:
        """One row a trial."""
        return self.results.trials_frame()

    @property
    def history(self) -> pandas.DataFrame:
        """One row a trial and report."""
        return self.results.history_frame()


def open_run(
    reference: str | Path = "last",
    storage: str | Path = "runs",
    *,
    metric: str | None = None,
    mode: str | None = None,
) -> Run:
    """Open a run, or the folder of any Ray Tune experiment.

    Args:
        reference: a path, a folder's name under ``storage``, or ``last``.
        storage: the folder that holds the runs.
        metric: judge by another metric than the spec's.
        mode: ``max`` or ``min``, with ``metric``.

    Raises:
        UserError: there is no such run.
    """
    folder = Path(reference)
    if tune_experiments.is_tune_experiment(folder):
        return open_tune(folder, metric=metric, mode=mode)
    paths = find_run(str(reference), Path(storage))
    spec = load_spec(paths.spec)
    return Run(load_results(paths), _rules_of(spec, metric, mode), spec)


def open_tune(experiment: Any, *, metric: str | None = None, mode: str | None = None) -> Run:
    """Open a Ray Tune experiment that was made without a spec of ours.

    Args:
        experiment: the `ResultGrid` that ``fit()`` returned, or the experiment's folder.
        metric: judge by this one, under Tune's name or ours.
        mode: ``max`` or ``min``.
    """
    rules = Rules(metric=metric or Rules.metric, mode=mode or Rules.mode)
    return Run(tune_experiments.open_tune(experiment), rules)


def _rules_of(spec: ExperimentSpec, metric: str | None = None, mode: str | None = None) -> Rules:
    chosen = spec.selection
    return Rules(
        metric=metric or chosen.metric,
        mode=mode or (chosen.mode if metric is None else Rules.mode),
        score=chosen.score,
    )


def list_described(storage: Path) -> list[dict[str, Any]]:
    """One JSON-ready object a run under the storage, oldest first."""
    return [describe_run(open_run(paths.root)) for paths in list_runs(storage)]


def describe_run(opened: Run) -> dict[str, Any]:
    """How far a run is: the object that `sweeper status --json` prints."""
    results = opened.results
    planned = None
    if opened.spec is not None:
        planned = json.loads(opened.paths.plan.read_text(encoding="utf-8"))["trials"]
    best = opened.best_trial
    return {
        "run": str(results.root),
        "state": results.state,
        "trials": planned if planned is not None else len(results.trials),
        "states": results.counts(),
        "best": best,
        "score": opened.selection.score if best else None,
        "metric": opened.rules.metric,
        "started": results.started,
        "updated": results.updated,
    }


def run(spec: str | Path | ExperimentSpec, overrides: Sequence[str] = ()) -> Run:
    """Run a sweep to its end and open it.

    Args:
        spec: a file, or what `load_spec` made of it.
        overrides: ``key.path=value`` each, as on the command line.

    Raises:
        SpecError: the spec can't be run; all its problems.
    """
    return execute(build_plan(_as_spec(spec, overrides)))


def train(spec: str | Path | ExperimentSpec, overrides: Sequence[str] = ()) -> Run:
    """Train one configuration: constants as they are, searched parameters at their defaults."""
    return execute(training_plan(_as_spec(spec, overrides)))


def _as_spec(spec: str | Path | ExperimentSpec, overrides: Sequence[str]) -> ExperimentSpec:
    if isinstance(spec, ExperimentSpec):
        if overrides:
            raise UserError("overrides go with a spec's file, not with a loaded spec")
        return spec
    return load_spec(spec, overrides)


def execute(plan: SweepPlan, *, progress: ProgressFactory | None = None) -> Run:
    """Carry out a plan in a new run folder: sweep, selection, champion, MLflow.

    A failed trial is a result; a run in which none has a score has no champion.
    """
    from sweeper.retention import CheckpointRetention
    from sweeper.runner import launch

    spec = plan.spec
    rules = _rules_of(spec)
    paths = create_run_folder(Path(spec.storage), spec.name, datetime.now())
    _write_provenance(plan, paths)
    builder = ResultsBuilder(paths.root)
    retention = CheckpointRetention(
        paths, builder, rules, keep=spec.checkpoint.keep, keep_trials=spec.checkpoint.keep_trials
    )
    tracker = _start_tracker(plan, paths)
    watcher = progress(plan, paths, builder) if progress else None
    listeners: list[Listener | None] = [builder.apply, retention, tracker, watcher]
    reason = "failed"
    with closing(Journal(paths.journal, [item for item in listeners if item])) as journal:
        try:
            reason = launch(plan, paths, journal)
        finally:
            if reason == "failed":
                journal.append(LaunchEnded(time=time.time(), reason=reason))
            if watcher:
                watcher.close()
            opened = Run(builder.snapshot(is_live=False), rules, spec)
            try:
                _write_champion(opened, plan, tracker)
            finally:
                warnings = tracker.close(reason) if tracker else []
    return replace(opened, warnings=tuple(warnings))


def _write_provenance(plan: SweepPlan, paths: RunPaths) -> None:
    environment = describe_environment(tuple(sys.argv), plan.spec.seeds)
    write_atomically(paths.spec, dump_spec(plan.spec))
    write_atomically(paths.plan, json.dumps(plan.to_json(), indent=2) + "\n")
    write_atomically(paths.environment, json.dumps(environment, indent=2) + "\n")


def _start_tracker(plan: SweepPlan, paths: RunPaths) -> MlflowTracker | None:
    tracking = plan.spec.tracking
    if tracking is None:
        return None
    from sweeper.tracking import MlflowTracker

    tracker = MlflowTracker(
        uri=tracking.uri,
        experiment=tracking.experiment,
        artifact_root=Path(plan.spec.storage).absolute() / "mlartifacts",
        run_name=paths.root.name,
        run_paths=paths,
        spec=plan.spec,
        plan=plan,
    )
    tracker.start()
    return tracker


def _write_champion(opened: Run, plan: SweepPlan, tracker: MlflowTracker | None) -> None:
    """Write ``selection.json`` and ``champion/``, and hand both to MLflow."""
    if opened.best_trial is None:
        return
    selection = opened.selection
    write_selection(opened.paths.selection, selection)
    if selection.checkpoint is None:
        return
    from sweeper.agents import export_champion

    try:
        export_champion(selection, plan.spec, opened.paths.champion)
    except SweeperError as error:  # the run itself is done, and must not fail by it
        _logger.warning("%s", error)
        return
    if tracker:
        tracker.log_champion(opened.best, opened.paths.champion)
