"""What the command line and the notebook call: run a spec, open a run."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sweeper.errors import SweeperError, UserError
from sweeper.evidence.selection import (
    NothingToSelect,
    Selection,
    check_metric,
    select,
    write_selection,
)
from sweeper.journal import (
    Event,
    Journal,
    JournalError,
    LaunchEnded,
    LaunchStarted,
    Listener,
)
from sweeper.locks import is_locked, read_owner, run_lock
from sweeper.metrics import canonical_metric
from sweeper.paths import RunPaths, create_run_folder, find_run, write_atomically
from sweeper.planning.plan import SweepPlan, build_plan, load_plan, training_plan
from sweeper.results import tune_experiments
from sweeper.results.records import SweepResults
from sweeper.results.scoring import Rules
from sweeper.results.sweep_results import ResultsBuilder, load_results
from sweeper.running.provenance import describe_environment
from sweeper.running.resumption import (
    Extension,
    LaunchState,
    describe_left,
    extend_spec,
    find_left,
    load_recorded_spec,
    read_history,
)
from sweeper.spec import ExperimentSpec, dump_spec, load_spec

if TYPE_CHECKING:
    import pandas

    from sweeper.tracking import MlflowTracker

__all__ = [
    "Extension",
    "Progress",
    "Rules",
    "Run",
    "execute",
    "open_run",
    "open_tune",
    "request_stop",
    "resume",
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

_POLL_S = 0.2

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
        except NothingToSelect:
            return None

    @property
    def best(self) -> dict[str, Any]:
        """The winner as `sweeper best --json` prints it.

        Raises:
            NothingToSelect: no trial has a score.
        """
        return self.selection.to_best_json(
            self.results.root, self.paths.champion if self._is_champion_written() else None
        )

    def _is_champion_written(self) -> bool:
        """Whether ``champion/`` is the selection's agent, not that of other rules."""
        try:
            agent = json.loads((self.paths.champion / "agent.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return (agent.get("trial_id"), agent.get("seed")) == (
            self.selection.trial_id,
            self.selection.seed,
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
    score: str | None = None,
) -> Run:
    """Open a run, or the folder of any Ray Tune experiment.

    Args:
        reference: a path, a folder's name under ``storage``, or ``last``.
        storage: the folder that holds the runs.
        metric: judge by another metric than the spec's, to be maximised unless ``mode`` says so.
        mode: ``max`` or ``min``.
        score: ``last``, ``best`` or ``auc``.

    Raises:
        UserError: there is no such run, or no trial of it has reported the metric.
    """
    folder = Path(reference)
    if tune_experiments.is_tune_experiment(folder):
        return open_tune(folder, metric=metric, mode=mode, score=score)
    paths = find_run(str(reference), Path(storage))
    spec = load_spec(paths.spec)
    rules = _rules_of(spec)
    if metric is not None and canonical_metric(metric) != rules.metric:
        rules = Rules(metric=canonical_metric(metric), score=rules.score)
    changes = {"mode": mode, "score": score}
    rules = replace(rules, **{name: value for name, value in changes.items() if value})
    results = load_results(paths)
    if metric is not None:
        check_metric(results, rules.metric)
    return Run(results, rules, spec)


def open_tune(
    experiment: Any,
    *,
    metric: str | None = None,
    mode: str | None = None,
    score: str | None = None,
) -> Run:
    """Open a Ray Tune experiment that was made without a spec of ours.

    Args:
        experiment: the `ResultGrid` that ``fit()`` returned, or the experiment's folder.
        metric: judge by this one, under Tune's name or ours; else by the one it was tuned by.
        mode: ``max`` or ``min``.
        score: ``last``, ``best`` or ``auc``.

    Raises:
        UserError: there is no experiment; no trial has reported the metric; or it is not known
            whether more of it is better.
    """
    rules = tune_experiments.find_rules(experiment, metric=metric, mode=mode, score=score)
    results = tune_experiments.open_tune(experiment)
    check_metric(results, rules.metric)
    return Run(results, rules)


def _rules_of(spec: ExperimentSpec) -> Rules:
    chosen = spec.selection
    return Rules(metric=chosen.metric, mode=chosen.mode, score=chosen.score)


def run(spec: str | Path | ExperimentSpec, overrides: Sequence[str] = ()) -> Run:
    """Run a sweep to its end and open it.

    Args:
        spec: a file, or what `load_spec` made of it.
        overrides: ``key.path=value`` each, as on the command line.

    Raises:
        SpecError: the spec can't be run; all its problems.
    """
    if isinstance(spec, ExperimentSpec):
        return execute(build_plan(_as_spec(spec, overrides)))
    return execute(load_plan(spec, overrides))


def train(spec: str | Path | ExperimentSpec, overrides: Sequence[str] = ()) -> Run:
    """Train one configuration: constants as they are, searched parameters at their defaults."""
    if isinstance(spec, ExperimentSpec):
        return execute(training_plan(_as_spec(spec, overrides)))
    return execute(load_plan(spec, overrides, is_training=True))


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
    spec = plan.spec
    paths = create_run_folder(Path(spec.storage), spec.name, datetime.now())
    with run_lock(paths.lock):
        _write_provenance(plan, paths)
        builder = ResultsBuilder(paths.root)
        return _carry_out(plan, paths, builder, LaunchState(), {}, progress)


def resume(
    reference: str | Path = "last",
    storage: str | Path = "runs",
    *,
    extension: Extension | None = None,
    progress: ProgressFactory | None = None,
    say: Callable[[str], None] = _logger.info,
) -> Run:
    """Go on with a run from its journal: after an interruption, a crash, or with more to do.

    Finished trials stay; interrupted ones go on from their last checkpoint; configurations
    that were not asked for yet come as they would have. With nothing left to do it is opened.

    Args:
        reference: a path, a folder's name under ``storage``, or ``last``.
        storage: the folder that holds the runs.
        extension: more samples, time or steps, or another try for failed trials.
        progress: makes who watches.
        say: told in words what goes on, before it does.

    Raises:
        UserError: there is no such run, another process carries it out, its spec was changed,
            or the extension does not go with it.
        JournalError: the journal is damaged.
    """
    extension = extension or Extension()
    paths = find_run(str(reference), Path(storage))
    with run_lock(paths.lock):
        builder = ResultsBuilder(paths.root)
        history = read_history(paths, [builder.apply])
        before = builder.snapshot(is_live=False)
        recorded = load_recorded_spec(paths, history)
        spec, changes = extend_spec(paths, recorded, extension, history.spent_s)
        plan = build_plan(spec)
        state = find_left(
            history,
            before,
            spec.stop,
            is_stop_extended=any(key.startswith("stop.") for key in changes),
            retry_errored=extension.retry_errored,
        )
        left = describe_left(plan, state, before)
        for line in left.lines:
            say(line)
        if left.is_nothing and before.ended_by is not None and not state.ends:
            return Run(before, _rules_of(spec), spec)
        if left.is_nothing:  # but its end was not written
            state = replace(state, continuations=(), asked=plan.trials)
        return _carry_out(plan, paths, builder, state, changes, progress)


def request_stop(
    reference: str | Path = "last",
    storage: str | Path = "runs",
    *,
    say: Callable[[str], None] = _logger.info,
) -> SweepResults:
    """End a run that another process carries out, as its first Ctrl-C would; waits for the end.

    Returns:
        What the run came to.

    Raises:
        UserError: there is no such run, or its folder can't be written.
    """
    paths = find_run(str(reference), Path(storage))
    name = paths.root.name
    if not is_locked(paths.lock):
        results = load_results(paths)
        say(f"{name} is not running: {results.state}")
        return results
    try:
        paths.stop_request.touch()
    except OSError as error:
        raise UserError(f"can't write to the run folder {paths.root}: {error.strerror}") from error
    say(f"asked {read_owner(paths.lock) or 'the process'} to end {name}; waiting for it")
    while is_locked(paths.lock):
        time.sleep(_POLL_S)
    results = load_results(paths)
    say(f"{name}: {results.state}; `sweeper resume {name}` goes on")
    return results


def _carry_out(
    plan: SweepPlan,
    paths: RunPaths,
    builder: ResultsBuilder,
    state: LaunchState,
    changes: Mapping[str, Any],
    progress: ProgressFactory | None,
) -> Run:
    """One launch with all around it; the caller holds the run's lock."""
    from sweeper.running.retention import CheckpointRetention
    from sweeper.running.runner import launch

    spec = plan.spec
    rules = _rules_of(spec)
    retention = CheckpointRetention(
        paths, builder, rules, keep=spec.checkpoint.keep, keep_trials=spec.checkpoint.keep_trials
    )
    retention.catch_up({again.trial_id for again in state.continuations})
    paths.stop_request.unlink(missing_ok=True)
    tracker = _start_tracker(plan, paths)
    watcher = progress(plan, paths, builder) if progress else None

    def note_launch(event: Event) -> None:
        # Only now, so that a kill at any moment leaves a spec that the journal knows of.
        if isinstance(event, LaunchStarted) and event.launch > 1:
            _write_provenance(plan, paths)

    listeners: list[Listener | None] = [builder.apply, note_launch, retention, tracker, watcher]
    reason = "failed"
    with closing(Journal(paths.journal, [item for item in listeners if item])) as journal:
        try:
            reason = launch(plan, paths, journal, results=builder, state=state, changes=changes)
        finally:
            if reason == "failed":
                with suppress(JournalError):  # of a disk that is full, which is said already
                    journal.append(LaunchEnded(time=time.time(), reason=reason))
            opened = Run(builder.snapshot(is_live=False), rules, spec)
            try:
                _write_champion(opened, plan, tracker)
            finally:
                warnings = tracker.close(reason) if tracker else []
                # Last: until here it says what is being written.
                if watcher:
                    watcher.close()
                paths.stop_request.unlink(missing_ok=True)
    return replace(opened, warnings=tuple(warnings))


def _write_provenance(plan: SweepPlan, paths: RunPaths) -> None:
    """Write what is run, by which versions; of later launches beside the first one's."""
    environment = describe_environment(tuple(sys.argv), plan.spec.seeds)
    if paths.environment.is_file():
        first = json.loads(paths.environment.read_text(encoding="utf-8"))
        resumed = [*first.get("resumed", []), environment]
        environment = {**first, "resumed": resumed}
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
    """Write ``selection.json`` and ``champion/``, and hand both to MLflow.

    The training is done and recorded when this runs, so whatever goes wrong is a warning.
    """
    if opened.best_trial is None:
        return
    selection = opened.selection
    folder: Path | None = None
    try:
        write_selection(opened.paths.selection, selection)
        if selection.checkpoint is not None:
            from sweeper.agents import export_champion

            folder = export_champion(selection, plan.spec, opened.paths.champion)
    except (SweeperError, OSError, ValueError) as error:
        _logger.warning("the champion was not written: %s", error)
    if tracker:
        tracker.log_champion(opened.best, folder)
