"""Going on with a run: what its journal says is done, what is left, and what may be changed.

A launch never trusts what an earlier one left in Tune's files. It is told by this module how
many configurations were asked for, which trials go on and from which checkpoint, and how much of
the search's budget is spent; the rest of the configurations comes from the seeded expansion,
which goes on where it stood.
"""

from __future__ import annotations

import difflib
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeper.errors import UserError
from sweeper.journal import (
    Event,
    LaunchStarted,
    Listener,
    TrialAsked,
    TrialEnded,
    TrialStarted,
    read_journal,
)
from sweeper.metrics import canonical_metric
from sweeper.paths import RunPaths
from sweeper.planning.plan import SweepPlan
from sweeper.results.records import SweepResults, TrialRecord
from sweeper.results.scoring import ENV_STEPS, ITERATION
from sweeper.spec import ExperimentSpec, dump_spec, load_spec
from sweeper.trainables.replicas import find_met_criterion
from sweeper.wording import format_duration

__all__ = [
    "Continuation",
    "Extension",
    "History",
    "LaunchState",
    "Left",
    "continue_trial",
    "describe_left",
    "extend_spec",
    "find_left",
    "load_recorded_spec",
    "read_history",
]

# Written by the trial into every checkpoint that training can go on from.
_TRIAL_STATE = "trainer.json"
_MOST_NAMED = 8
_CHECKPOINT = re.compile(r"checkpoint_(\d+)")


@dataclass(frozen=True)
class Continuation:
    """A trial to be taken up again.

    Attributes:
        trial_id: stays.
        parameters: what the search varied, nested.
        checkpoint: absolute; None: the trial starts again from nothing.
        metrics: what was recorded with the checkpoint, iteration and time among it.
        last_checkpoint: the highest number that a checkpoint of the trial has had, so that
            none is overwritten; -1 if there was none.
        last_report: the newest row up to the checkpoint; empty if there is none.
    """

    trial_id: str
    parameters: Mapping[str, Any]
    checkpoint: Path | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    last_checkpoint: int = -1
    last_report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LaunchState:
    """Where a launch begins.

    Attributes:
        launch: its number, from 1.
        asked: how many configurations earlier launches asked for.
        continuations: trials that go on, in the order of their ids.
        ends: of trials that were over when nobody lived to write it; to be written.
        lost: finished trials that an extension would have go on, but whose checkpoint was not
            kept.
        spent_s: how much of the search's time earlier launches took.
    """

    launch: int = 1
    asked: int = 0
    continuations: tuple[Continuation, ...] = ()
    ends: tuple[TrialEnded, ...] = ()
    lost: tuple[str, ...] = ()
    spent_s: float = 0.0


@dataclass(frozen=True)
class History:
    """What a journal says of the launches themselves.

    Attributes:
        launches: how many there were.
        specs: what they carried out, as YAML, each different one once, in order.
        open_trials: trials whose last life has no end in the journal.
        spent_s: time of all launches together, without their start-up.
    """

    launches: int = 0
    specs: tuple[str, ...] = ()
    open_trials: frozenset[str] = frozenset()
    spent_s: float = 0.0


@dataclass(frozen=True)
class Extension:
    """What a run may be given more of.

    Attributes:
        num_samples: the new number of samples, earlier ones included.
        time_s: seconds from now on, for the search.
        stop: criteria of the spec, each with its new, higher value.
        retry_errored: failed trials go on, too.
    """

    num_samples: int | None = None
    time_s: float | None = None
    stop: Mapping[str, float] = field(default_factory=dict)
    retry_errored: bool = False


def read_history(paths: RunPaths, listeners: Sequence[Listener] = ()) -> History:
    """Read a run's journal once, from its first event.

    Args:
        paths: the run's folder.
        listeners: hear of every event, as they would have while the run went on.

    Raises:
        JournalError: the journal is damaged, so that going on could do things twice.
    """
    specs: dict[str, None] = {}
    launches, spent_s = 0, 0.0
    open_trials: set[str] = set()
    began: float | None = None
    last: Event | None = None
    for event in read_journal(paths.journal):
        if isinstance(event, LaunchStarted):
            launches += 1
            if event.spec:
                specs.pop(event.spec, None)
                specs[event.spec] = None
            spent_s += _length(began, last)
            began = None
        elif began is None:
            began = event.time
        if isinstance(event, TrialAsked | TrialStarted):
            open_trials.add(event.trial_id)
        elif isinstance(event, TrialEnded):
            open_trials.discard(event.trial_id)
        for listener in listeners:
            listener(event)
        last = event
    spent_s += _length(began, last)
    return History(launches, tuple(specs), frozenset(open_trials), spent_s)


def _length(began: float | None, last: Event | None) -> float:
    return 0.0 if began is None or last is None else max(0.0, last.time - began)


def find_left(
    history: History,
    results: SweepResults,
    stop: Mapping[str, float],
    *,
    is_stop_extended: bool = False,
    retry_errored: bool = False,
) -> LaunchState:
    """What the trials asked for so far leave to do.

    Args:
        history: of the launches.
        results: the same journal's trials; the run is not live.
        stop: the criteria that hold from now on.
        is_stop_extended: finished trials may have some way to go.
        retry_errored: failed trials go on, too.
    """
    paths = RunPaths(results.root)
    continuations: list[Continuation] = []
    ends: list[TrialEnded] = []
    lost: list[str] = []
    unfinished = {"PAUSED", "RUNNING", "PENDING"} | ({"ERROR"} if retry_errored else set())
    for record in results.trials:
        if record.state in unfinished:
            continuations.append(continue_trial(record, paths))
        elif record.state == "TERMINATED":
            again = continue_trial(record, paths)
            saved = again.metrics.get(ITERATION) == record.last_report.get(ITERATION)
            is_unsaid = record.trial_id in history.open_trials
            if is_unsaid and not saved:
                # Killed between its last report and its last checkpoint: what the report
                # says would have no agent.
                continuations.append(again)
                continue
            if is_unsaid:
                reason = record.reason or "the trial said done"
                ends.append(TrialEnded(time.time(), record.trial_id, "TERMINATED", reason))
            if is_stop_extended and find_met_criterion(stop, record.last_report) is None:
                if again.checkpoint is not None and saved:
                    continuations.append(again)
                else:
                    lost.append(record.trial_id)
    return LaunchState(
        launch=history.launches + 1,
        asked=len(results.trials),
        continuations=tuple(continuations),
        ends=tuple(ends),
        lost=tuple(lost),
        spent_s=history.spent_s,
    )


@dataclass(frozen=True)
class Left:
    """What is left of a run, in words.

    Attributes:
        is_nothing: there is no trial to go on with and none to begin.
        lines: for the user.
    """

    is_nothing: bool
    lines: tuple[str, ...]


def describe_left(plan: SweepPlan, state: LaunchState, before: SweepResults) -> Left:
    """Say what a launch that begins at ``state`` will do, or that there is nothing to do."""
    spec, name = plan.spec, before.root.name
    counts = before.counts()
    done = counts.get("TERMINATED", 0) + counts.get("PRUNED", 0)
    words = [f"{done} of {_count(plan.trials, 'trial')} finished"]
    if counts.get("ERROR"):
        words.append(f"{counts['ERROR']} failed")
    summary = ", ".join(words)
    begun = plan.trials if spec.budget.trials is None else min(plan.trials, spec.budget.trials)
    new = max(0, begun - state.asked)
    budget_s = spec.budget.time_s
    is_spent = budget_s is not None and state.spent_s >= budget_s
    if is_spent or not (new or state.continuations):
        lines = [f"nothing left to do in {name}: {summary}"]
        if is_spent and (new or state.continuations):
            lines = [
                f"nothing left to do in {name}: its {format_duration(budget_s or 0.0)} of "
                f"budget.time_s are spent ({summary}); --time SECONDS gives it more"
            ]
        elif counts.get("ERROR") and not state.continuations:
            lines.append("--retry-errored tries failed trials again")
        return Left(True, (*lines, *_describe_lost(state)))
    lines = [f"going on with {name}: {summary}"]
    for again in state.continuations[:_MOST_NAMED]:
        steps = again.metrics.get(ENV_STEPS)
        where = (
            "from the start, it has no checkpoint"
            if again.checkpoint is None
            else f"from its checkpoint at {steps:,} env steps"
            if isinstance(steps, int)
            else f"from {again.checkpoint.name}"
        )
        lines.append(f"  {again.trial_id} goes on {where}")
    if len(state.continuations) > _MOST_NAMED:
        lines.append(f"  and {len(state.continuations) - _MOST_NAMED} others go on")
    if new:
        lines.append(f"  {_count(new, 'trial')} still to begin")
    if budget_s is not None:
        lines.append(f"  {format_duration(budget_s - state.spent_s)} of the search's time are left")
    return Left(False, (*lines, *_describe_lost(state)))


def _describe_lost(state: LaunchState) -> tuple[str, ...]:
    if not state.lost:
        return ()
    return (
        f"  {_count(len(state.lost), 'finished trial')} can't go on: no checkpoint that training "
        "can go on from was kept (checkpoint.keep_trials, checkpoint.trainer)",
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def continue_trial(record: TrialRecord, paths: RunPaths) -> Continuation:
    """How a trial is taken up again: from its newest checkpoint that is whole.

    What a killed worker left of an unfinished one is deleted.
    """
    folder = paths.trial(record.trial_id)
    recorded = {Path(checkpoint.path).name for checkpoint in record.checkpoints}
    present = [path for path in folder.glob("checkpoint_*") if path.is_dir()]
    for path in present:
        if path.name not in recorded:
            shutil.rmtree(path, ignore_errors=True)
    numbers = _numbers(recorded) | _numbers(path.name for path in present)
    last_checkpoint = max(numbers, default=-1)
    for checkpoint in reversed(record.checkpoints):
        path = paths.root / checkpoint.path
        if (path / _TRIAL_STATE).is_file():
            return Continuation(
                record.trial_id,
                record.parameters,
                checkpoint=path,
                metrics=checkpoint.metrics,
                last_checkpoint=last_checkpoint,
                last_report=_report_at(record, checkpoint.metrics.get(ITERATION)),
            )
    return Continuation(record.trial_id, record.parameters, last_checkpoint=last_checkpoint)


def _numbers(names: Iterable[str]) -> set[int]:
    return {int(match[1]) for name in names if (match := _CHECKPOINT.fullmatch(name))}


def _report_at(record: TrialRecord, iteration: Any) -> Mapping[str, Any]:
    newest_first: Iterable[Mapping[str, Any]] = reversed(record.reports)
    return next((report for report in newest_first if report.get(ITERATION) == iteration), {})


def load_recorded_spec(paths: RunPaths, history: History) -> ExperimentSpec:
    """The spec that the last launch carried out.

    Raises:
        UserError: ``spec.yaml`` is neither it nor one of an earlier launch; with the
            difference.
        SpecError: ``spec.yaml`` is broken.
    """
    if not history.specs:  # a run of a version that did not record it
        return load_spec(paths.spec)
    recorded = _load_text(history.specs[-1], paths)
    if not paths.spec.is_file():
        return recorded
    written = load_spec(paths.spec)
    # A kill between an extension's first event and its file leaves the file of before.
    if written == recorded or any(
        written == _load_text(text, paths) for text in history.specs[:-1]
    ):
        return recorded
    difference = difflib.unified_diff(
        dump_spec(recorded).splitlines(),
        dump_spec(written).splitlines(),
        "as run",
        "spec.yaml now",
        lineterm="",
        n=1,
    )
    raise UserError(
        f"{paths.spec} was changed since the run was started; a changed spec is another run:\n"
        + "\n".join(f"  {line}" for line in difference)
        + "\nput it back, or start a new run with `sweeper run`; more samples, time or steps "
        "are given with --num-samples, --time and --stop"
    )


def _load_text(text: str, paths: RunPaths) -> ExperimentSpec:
    """A spec from its text, as if it were the run's file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / paths.spec.name
        file.write_text(text, encoding="utf-8")
        return load_spec(file)


def extend_spec(
    paths: RunPaths, spec: ExperimentSpec, extension: Extension, spent_s: float
) -> tuple[ExperimentSpec, dict[str, Any]]:
    """The spec with an extension, and what that changed, by dotted key.

    ``budget.time_s`` is of all launches together, so an extension by time sets it to what is
    spent and what is given.

    Raises:
        UserError: the extension would take something away, or names what the spec has not.
    """
    changes: dict[str, Any] = {}
    if extension.num_samples is not None:
        _check_more("--num-samples", extension.num_samples, spec.search.num_samples)
        changes["search.num_samples"] = extension.num_samples
    if extension.time_s is not None:
        if extension.time_s <= 0:
            raise UserError("--time is in seconds, above 0")
        changes["budget.time_s"] = round(spent_s + extension.time_s, 3)
    for name, value in extension.stop.items():
        key = canonical_metric(name)
        if key not in spec.stop:
            known = ", ".join(spec.stop) or "none"
            raise UserError(f"--stop {name}: the run has no such criterion; it has: {known}")
        _check_more(f"--stop {name}", value, spec.stop[key])
        changes[f"stop.{key}"] = value
    present = {"search.num_samples": spec.search.num_samples} | {
        f"stop.{key}": value for key, value in spec.stop.items()
    }
    changes = {key: value for key, value in changes.items() if present.get(key) != value}
    if not changes:
        return spec, {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / paths.spec.name
        file.write_text(dump_spec(spec), encoding="utf-8")
        return load_spec(file, [f"{key}={value}" for key, value in changes.items()]), changes


def _check_more(option: str, value: float, before: float) -> None:
    if value < before:
        raise UserError(f"{option} {value:g} is less than the run has already: {before:g}")
