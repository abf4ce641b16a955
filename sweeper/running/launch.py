"""A launch with everything around it: records, retention, MLflow, champion, report."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sweeper.errors import SweeperError, UserError
from sweeper.evidence.schedule import trace_schedule
from sweeper.evidence.selection import load_selection, write_selection
from sweeper.journal import Event, Journal, JournalError, LaunchEnded, LaunchStarted, Listener
from sweeper.opened_run import Run
from sweeper.paths import RunPaths, run_reference, write_atomically
from sweeper.planning.plan import SweepPlan
from sweeper.results.builder import ResultsBuilder
from sweeper.run_files import read_json
from sweeper.running.optuna_log import OptunaLog
from sweeper.running.provenance import describe_environment
from sweeper.running.resume.state import LaunchState
from sweeper.search.registry import ENUMERATIONS
from sweeper.spec import dump_spec
from sweeper.stack_files import stacks_shown
from sweeper.states import LaunchEnd
from sweeper.stored_files import FILES
from sweeper.trust import make_seals, without_default

if TYPE_CHECKING:
    from sweeper.tracking.tracker import MlflowTracker

__all__ = [
    "Progress",
    "ProgressFactory",
    "restore_champion",
    "restore_plan",
    "run_launch",
    "write_provenance",
]

_logger = logging.getLogger(__name__)


class Progress(Protocol):
    """Watches a launch: receives every event in the driver's thread, then the end."""

    def __call__(self, event: Event) -> None:
        """Take note of an event; must return at once, since the sweep waits for it."""

    def close(self) -> None:
        """The launch is over."""


ProgressFactory = Callable[[SweepPlan, RunPaths, ResultsBuilder], Progress]


def run_launch(
    plan: SweepPlan,
    paths: RunPaths,
    builder: ResultsBuilder,
    state: LaunchState,
    changes: Mapping[str, Any],
    progress: ProgressFactory | None,
) -> Run:
    """One launch, from its first event to the champion; the caller holds the run's lock.

    Raises:
        UserError: the spec's cluster can't be reached, or trials would fail there; nothing is
            recorded then.
    """
    if plan.spec.ray.address is None:
        return _carry_out(plan, paths, builder, state, changes, progress)
    from sweeper.running.tune.cluster import cluster_joined

    with cluster_joined(plan.spec, paths.root.parent):
        return _carry_out(plan, paths, builder, state, changes, progress)


def _carry_out(
    plan: SweepPlan,
    paths: RunPaths,
    builder: ResultsBuilder,
    state: LaunchState,
    changes: Mapping[str, Any],
    progress: ProgressFactory | None,
) -> Run:
    from sweeper.running.retention import CheckpointRetention
    from sweeper.running.tune.runner import launch

    spec = plan.spec
    rules = spec.objective
    kept = spec.checkpoint
    retention = CheckpointRetention(
        paths, builder, rules, kept.keep, kept.keep_trials, keep_trainer=spec.keeps_trainer
    )
    # Ends that are still to be recorded come in as events: the checkpoints of those trials must
    # stay until then.
    open_trials = [again.trial_id for again in state.continuations]
    retention.catch_up({*open_trials, *(end.trial_id for end in state.ends)})
    tracker = _start_tracker(plan, paths, is_launch=True)
    optuna_log = _start_optuna_log(plan, paths, builder)
    watcher = progress(plan, paths, builder) if progress else None

    def note_launch(event: Event) -> None:
        # Written after the journal's event, so that after a kill the journal always knows the spec.
        if isinstance(event, LaunchStarted) and event.launch > 1:
            write_provenance(plan, paths)

    listeners: list[Listener | None] = [
        builder.apply,
        note_launch,
        retention,
        tracker,
        optuna_log,
        watcher,
    ]
    events = Journal(paths.journal, [item for item in listeners if item])
    with stacks_shown(paths), closing(events) as journal:
        concluded: list[Run] = []
        parts = _Conclusion(plan, paths, builder, state, journal, tracker, optuna_log, watcher)

        def conclude(reason: str) -> None:
            if not parts.has_begun:
                concluded.append(parts.write(reason))

        try:
            launch(
                plan,
                paths,
                journal,
                results=builder,
                state=state,
                changes=changes,
                conclude=conclude,
            )
        finally:
            conclude(LaunchEnd.FAILED)  # if it ended before it came to that
    return concluded[0]


@dataclass
class _Conclusion:
    """What is written after a launch's last trial: its end, the champion, the report, MLflow.

    Attributes:
        has_begun: it is written once, even if that fails.
    """

    plan: SweepPlan
    paths: RunPaths
    builder: ResultsBuilder
    state: LaunchState
    journal: Journal
    tracker: MlflowTracker | None
    optuna_log: OptunaLog | None
    watcher: Progress | None
    has_begun: bool = False

    def write(self, reason: str) -> Run:
        """Write all of it; returns the run with the warnings that came up."""
        self.has_begun = True
        if self.optuna_log:
            self.optuna_log.close()
        launch = self.builder.launch
        # Without a start event this end would be read as the previous launch's.
        is_started = launch is not None and launch.launch == self.state.launch
        if reason in (LaunchEnd.FAILED, LaunchEnd.INTERRUPTED) and is_started:
            with suppress(JournalError):  # the disk is full, which was reported already
                self.journal.append(LaunchEnded(time=time.time(), reason=reason))
        spec = self.plan.spec
        opened = Run(self.builder.snapshot(is_live=False), spec.objective, spec)
        try:
            _write_champion(opened, self.plan, self.tracker)
            _write_report(opened)
        finally:
            try:
                warnings, told = _close_tracker(self.tracker, reason, self.paths)
            finally:
                # Last, since until now it shows what is being written.
                if self.watcher:
                    self.watcher.close()
                self.paths.stop_request.unlink(missing_ok=True)
        return replace(opened, warnings=tuple(warnings), told=told)


def _close_tracker(
    tracker: MlflowTracker | None, reason: str, paths: RunPaths
) -> tuple[list[str], frozenset[str]]:
    """Its warnings, and those of them that the user has read already."""
    if tracker is None:
        return [], frozenset()
    try:
        return tracker.close(reason), frozenset(tracker.told)
    except KeyboardInterrupt:  # the run is over, and recorded
        rest = f"`sweeper log {run_reference(paths.root)}` adds the rest"
        return [f"MLflow: interrupted, the record is incomplete; {rest}"], frozenset()


def write_provenance(plan: SweepPlan, paths: RunPaths) -> None:
    """Write the spec, the plan and the versions; later launches are added to the first's."""
    environment = describe_environment(tuple(sys.argv), plan.spec.seeds)
    if first := _read_environment(paths):
        environment = {**first, "resumed": [*first.get("resumed", []), environment]}
    spec = plan.spec
    environment["seals"] = make_seals(
        spec.environment.settings(),
        without_default(spec.servers, paths),
        spec.selection.baseline,
    )
    write_atomically(paths.spec, dump_spec(spec))
    if spec.as_written:  # a later launch has read the record
        write_atomically(paths.written, spec.as_written)
    baseline = None if plan.confirmation is None else plan.confirmation.baseline
    if baseline is not None and baseline.spec:
        write_atomically(paths.baseline, baseline.spec)
    write_atomically(paths.plan, json.dumps(plan.to_json(), indent=2) + "\n")
    write_atomically(paths.environment, json.dumps(environment, indent=2) + "\n")


def _read_environment(paths: RunPaths) -> dict[str, Any]:
    """What earlier launches recorded; empty if there is nothing that can be read."""
    path = paths.environment
    if not os.path.lexists(path):
        return {}
    try:
        document = read_json(path)
        if not isinstance(document, dict) or not isinstance(document.get("resumed", []), list):
            raise ValueError("it is not what a launch writes")
    except (OSError, ValueError) as error:
        aside = path.with_name(f"damaged_{path.name}")
        path.replace(aside)
        _logger.warning(
            "%s is damaged (%s): what earlier launches ran on is lost; it is now %s, and a new "
            "one is written",
            path,
            getattr(error, "strerror", None) or error,
            aside.name,
        )
        return {}
    return document


def restore_plan(plan: SweepPlan, paths: RunPaths) -> str | None:
    """Write ``plan.json`` again if it can't be read; returns what was wrong, in a sentence."""
    try:
        if isinstance(read_json(paths.plan), dict):
            return None
        why = "not a plan"
    except FileNotFoundError:
        why = "missing"
    except (OSError, ValueError):
        why = "damaged"
    write_atomically(paths.plan, json.dumps(plan.to_json(), indent=2) + "\n")
    return f"{paths.plan.name} was {why}; it is written again"


def _start_tracker(
    plan: SweepPlan, paths: RunPaths, *, is_launch: bool = False
) -> MlflowTracker | None:
    tracking = plan.spec.tracking
    if tracking is None:
        return None
    from sweeper.tracking.tracker import MlflowTracker

    artifact_root = paths.root.parent.absolute() / FILES
    tracker = MlflowTracker(plan, paths, tracking, artifact_root=artifact_root, is_launch=is_launch)
    tracker.start()
    return tracker


def _start_optuna_log(
    plan: SweepPlan, paths: RunPaths, builder: ResultsBuilder
) -> OptunaLog | None:
    """Only of a search on Optuna's samplers; of any other, `Run.to_optuna` makes one."""
    if plan.spec.search.algorithm in ENUMERATIONS:
        return None
    log = OptunaLog(paths.optuna, plan.spec.param_space, plan.spec.objective, builder)
    log.start()
    return log


def restore_champion(opened: Run, plan: SweepPlan) -> Run:
    """Write ``selection.json`` and ``champion/`` again where they are missing or stale.

    Either somebody deleted one of them, or the last launch was killed before it wrote them; then
    MLflow lacks them, too.
    """
    if opened.best_trial is None or _is_recorded(opened):
        return opened
    tracker = _start_tracker(plan, opened.paths)
    try:
        _write_champion(opened, plan, tracker)
        _write_report(opened)
    finally:
        warnings, told = _close_tracker(tracker, opened.results.state, opened.paths)
    return replace(opened, warnings=tuple(warnings), told=told)


def _is_recorded(opened: Run) -> bool:
    try:
        is_selected = load_selection(opened.paths.selection) == opened.selection
    except UserError:
        return False
    return is_selected and opened.is_champion_written


def _write_schedule(opened: Run, plan: SweepPlan) -> None:
    """Write the winner's values over time, or delete those of an earlier winner."""
    found = trace_schedule(plan.spec, opened.results, opened.selection.trial_id)
    if found is None:
        opened.paths.delete_schedule()
    else:
        write_atomically(opened.paths.schedule, found.to_yaml())


def _write_champion(opened: Run, plan: SweepPlan, tracker: MlflowTracker | None) -> None:
    """Write ``selection.json`` and ``champion/``, and hand both to MLflow.

    The training is done and recorded by now, so whatever goes wrong is only a warning.
    """
    if opened.best_trial is None:
        return
    selection = opened.selection
    folder: Path | None = None
    try:
        write_selection(opened.paths.selection, selection)
        _write_schedule(opened, plan)
        chosen = selection.agent
        checkpoint = selection.checkpoint if chosen is None else chosen.checkpoint
        if checkpoint is not None:
            from sweeper.agents.champion import Champion, export_champion

            champion = Champion(
                trial_id=selection.trial_id,
                configuration=selection.configuration,
                metric=selection.metric,
                mode=selection.mode,
                score=selection.score,
                env_steps=selection.env_steps if chosen is None else chosen.env_steps,
                checkpoint=Path(checkpoint),
                replica=selection.replica if chosen is None else chosen.replica,
                seed=selection.seed if chosen is None else chosen.seed,
                retrained_as=None if chosen is None else chosen.trial_id,
                value=None if chosen is None else chosen.value,
            )
            folder = export_champion(champion, plan.spec, opened.paths.champion)
        else:
            _logger.warning(
                "the champion has no agent: no checkpoint of %s is left that is whole; `sweeper "
                "best %s` has its configuration, to be trained again",
                selection.trial_id,
                run_reference(opened.paths.root),
            )
    except (SweeperError, OSError, ValueError) as error:
        _logger.warning("the champion was not written: %s", error)
    if tracker:
        tracker.log_champion(selection, folder)


def _write_report(opened: Run) -> None:
    """Write ``report.html``, which MLflow's record then has, too."""
    try:
        opened.report()
    except Exception as error:
        # It can be written again at any time; a defect here must not end a launch that is done.
        _logger.debug("the report was not written", exc_info=True)
        _logger.warning(
            "the report was not written (%s); `sweeper report %s` writes it",
            error,
            run_reference(opened.paths.root),
        )
