"""Where a launch begins, by the run's journal: what is done and what is left.

A launch never trusts what an earlier one left in Tune's files. Further configurations come from
the search algorithm, rebuilt from the same journal.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sweeper.checkpoint_marker import find_damage
from sweeper.environments.identity import EnvironmentIdentity
from sweeper.journal import (
    ConfirmationPlanned,
    Event,
    JournalError,
    LaunchStarted,
    Listener,
    TrialAsked,
    TrialEnded,
    TrialEvent,
    TrialStarted,
    read_journal,
)
from sweeper.metrics import ITERATION
from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.results.records import SweepResults, TrialCheckpoint, TrialRecord, last_number
from sweeper.states import Stage, TrialState
from sweeper.storage.address import address_of
from sweeper.storage.checkpoints import list_folders, put_aside, remove_folder
from sweeper.trainables.milestones import find_met_criterion
from sweeper.trainables.plateau import PLATEAU

__all__ = [
    "Continuation",
    "History",
    "LaunchState",
    "continue_trial",
    "find_remaining",
    "is_resumable",
    "read_history",
]

_logger = logging.getLogger(__name__)

_CHECKPOINT = re.compile(r"checkpoint_(\d+)")


@dataclass(frozen=True)
class Continuation:
    """A trial to be resumed under the same id.

    Attributes:
        trial_id: which one.
        parameters: what the trial is given: what the search varied, nested; in the confirmation
            the whole configuration.
        checkpoint: absolute path; None: the trial starts again from scratch.
        metrics: what was recorded with the checkpoint, including iteration and time.
        last_checkpoint: the highest checkpoint number so far, so that none is overwritten; -1 if
            there is none.
        last_report: the newest row up to the checkpoint; empty if there is none.
        missing: the newest checkpoint's name, if it is gone or damaged.
        damage: what is wrong with that one, in words, where it is known.
        donor: whose checkpoint it is; None: the trial's own.
        waits_since: as in `TrialRecord`.
    """

    trial_id: str
    parameters: Mapping[str, Any]
    checkpoint: Path | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    last_checkpoint: int = -1
    last_report: Mapping[str, Any] = field(default_factory=dict)
    missing: str | None = None
    damage: str | None = None
    donor: str | None = None
    waits_since: float | None = None


@dataclass(frozen=True)
class LaunchState:
    """Where a launch begins.

    Attributes:
        launch: its number, from 1.
        asked: how many configurations earlier launches asked for, by the highest id.
        continuations: trials that go on, in the order of their ids.
        ends: of trials that were over when a kill kept their end from being recorded; to be
            recorded now.
        lost: finished trials that an extension would let go on, but whose checkpoint was not kept.
        trimmed: such trials of whose checkpoint only the agent was kept.
        spent_s: how much of the search's time earlier launches took.
        over: how the search has ended already, so that only its end is recorded; None otherwise.
        environment_changes: what the user has accepted of a changed environment, in words.
        reopened: trials of the confirmation that are over and go on all the same.
        named: trials that the user wants confirmed, whatever their score; without ``wants_best``
            these alone, unless others are confirmed already.
        wants_best: whether the user asks for the search's best to be confirmed.
    """

    launch: int = 1
    asked: int = 0
    continuations: tuple[Continuation, ...] = ()
    ends: tuple[TrialEnded, ...] = ()
    lost: tuple[str, ...] = ()
    trimmed: tuple[str, ...] = ()
    spent_s: float = 0.0
    over: str | None = None
    environment_changes: tuple[str, ...] = ()
    reopened: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    wants_best: bool = False


@dataclass(frozen=True)
class History:
    """What a journal says of the launches themselves.

    Attributes:
        launches: how many there were.
        specs: their specs as YAML, each distinct one once, in order.
        open_trials: trials whose end is not recorded since they last started.
        owed_trials: trials that existed when ``stop`` was last extended and have not been resumed
            since: the launch may have ended before it came to them.
        spent_s: time of all launches' searches together, without their start-up.
        environment: of the last launch that recorded it; None in journals of earlier versions.
    """

    launches: int = 0
    specs: tuple[str, ...] = ()
    open_trials: frozenset[str] = frozenset()
    owed_trials: frozenset[str] = frozenset()
    spent_s: float = 0.0
    environment: EnvironmentIdentity | None = None


def read_history(paths: RunPaths, listeners: Sequence[Listener] = ()) -> History:
    """Read a run's journal once; listeners receive every event, as while the run went on.

    Raises:
        JournalError: the journal is damaged, so that resuming could do things twice.
    """
    specs: dict[str, None] = {}
    launches, spent_s = 0, 0.0
    open_trials, asked, owed = set[str](), set[str](), set[str]()
    began: float | None = None
    last: Event | None = None
    environment: EnvironmentIdentity | None = None
    confirming, is_searching = set[str](), True
    known = set[str]()
    for event in read_journal(paths.journal):
        _check_known(event, known, paths)
        if isinstance(event, TrialAsked) and event.stage is Stage.CONFIRMATION:
            confirming.add(event.trial_id)
        if isinstance(event, LaunchStarted):
            launches += 1
            if event.spec:
                specs.pop(event.spec, None)
                specs[event.spec] = None
            environment = EnvironmentIdentity.from_json(event.environment) or environment
            spent_s += _length(began, last)
            began, is_searching = None, event.stage is Stage.SEARCH
            if any(key.startswith("stop.") for key in event.changes):
                owed = set(asked)
        elif isinstance(event, ConfirmationPlanned) or (
            _trial_of(event) in confirming and not isinstance(event, TrialEnded)
        ):
            is_searching = False
        elif began is None and is_searching and not isinstance(event, TrialEnded):
            began = event.time  # ends at the very beginning belong to the previous launch
        if isinstance(event, TrialAsked | TrialStarted):
            open_trials.add(event.trial_id)
            asked.add(event.trial_id)
            owed.discard(event.trial_id)
        elif isinstance(event, TrialEnded):
            open_trials.discard(event.trial_id)
        for listener in listeners:
            listener(event)
        last = event if is_searching else last
    spent_s += _length(began, last)
    return History(
        launches, tuple(specs), frozenset(open_trials), frozenset(owed), spent_s, environment
    )


def _check_known(event: Event, known: set[str], paths: RunPaths) -> None:
    """Check that a trial was asked for before anything else is said of it.

    Raises:
        JournalError: it was not: it would go on at the defaults.
    """
    if isinstance(event, TrialAsked):
        known.add(event.trial_id)
    elif isinstance(event, TrialEvent) and event.trial_id not in known:
        what = f"{paths.journal}: the line with the configuration of {event.trial_id} is missing"
        raise JournalError.of_damage(paths.journal, what)


def _trial_of(event: Event) -> str | None:
    return event.trial_id if isinstance(event, TrialEvent) else None


def _length(began: float | None, last: Event | None) -> float:
    return 0.0 if began is None or last is None else max(0.0, last.time - began)


def find_remaining(
    history: History,
    results: SweepResults,
    stop: Mapping[str, float],
    *,
    is_stop_extended: bool = False,
    retry_errored: bool = False,
) -> LaunchState:
    """What is left to do of the trials that were asked for.

    Args:
        history: of the launches.
        results: the same journal's trials; the run is not live.
        stop: the criteria that hold from now on.
        is_stop_extended: finished trials may go on. Otherwise only those may that an earlier
            extension did not come to.
        retry_errored: failed trials go on, too.
    """
    paths = RunPaths(results.root)
    continuations: list[Continuation] = []
    ends: list[TrialEnded] = []
    lost: list[str] = []
    trimmed: list[str] = []
    for record in results.trials:
        if not record.state.is_over or (retry_errored and record.state is TrialState.ERROR):
            continuations.append(continue_trial(record, paths))
        elif record.state is TrialState.PRUNED:
            if record.trial_id in history.open_trials:
                ends.append(_end_of(record))
        elif record.state is TrialState.TERMINATED:
            again = continue_trial(record, paths, is_sure=False)
            saved = again.metrics.get(ITERATION) == record.last_report.get(ITERATION)
            is_unsaid = record.trial_id in history.open_trials
            if is_unsaid and not saved:
                # Killed between its last report and its last checkpoint, so that no agent would
                # belong to the report.
                continuations.append(continue_trial(record, paths))
                continue
            if is_unsaid:
                ends.append(_end_of(record))
            is_flat = (record.reason or "").startswith(PLATEAU)  # which an extension leaves so
            is_short = find_met_criterion(stop, record.last_report) is None and not is_flat
            if is_short and (is_stop_extended or record.trial_id in history.owed_trials):
                if again.checkpoint is not None and saved:
                    continuations.append(continue_trial(record, paths))
                elif any((paths.root / kept.path).is_dir() for kept in record.checkpoints):
                    trimmed.append(record.trial_id)
                else:
                    lost.append(record.trial_id)
    reopened = []
    for record in results.retrained:
        again = continue_trial(record, paths, is_sure=False)
        saved = again.metrics.get(ITERATION) == record.last_report.get(ITERATION)
        if record.state is TrialState.ERROR:
            reopened += [record.trial_id] if retry_errored else []
        elif record.state.is_over and record.trial_id in history.open_trials:
            if saved:
                ends.append(_end_of(record))
            else:
                reopened.append(record.trial_id)
    return LaunchState(
        reopened=tuple(reopened),
        launch=history.launches + 1,
        asked=last_number(results.trials),
        continuations=tuple(continuations),
        ends=tuple(ends),
        lost=tuple(lost),
        trimmed=tuple(trimmed),
        spent_s=history.spent_s,
    )


def _end_of(record: TrialRecord) -> TrialEnded:
    """The end of a trial that a kill kept from being recorded."""
    reason = record.reason or "the trial said done"
    return TrialEnded(time.time(), record.trial_id, record.state, reason)


def continue_trial(record: TrialRecord, paths: RunPaths, *, is_sure: bool = True) -> Continuation:
    """How a trial is resumed: from its newest checkpoint that is whole, or from the start.

    One that was about to copy another trial goes on from the latter's checkpoint. Unfinished
    checkpoints, left by a killed worker, are deleted.

    Args:
        record: of the trial.
        paths: the run's.
        is_sure: the trial will go on: files are read to their end, and a damaged checkpoint of
            its own is set aside. False only looks at their sizes.
    """
    folder = paths.trial(record.trial_id)
    recorded = {Path(checkpoint.path).name for checkpoint in record.checkpoints}
    present = list_folders(folder, "checkpoint_")
    for path in present:
        if path.name not in recorded:
            with suppress(OSError):
                remove_folder(path, below=paths.trials)
    numbers = _numbers(recorded) | _numbers(path.name for path in present)
    last = max(numbers, default=-1)
    is_whole = record.stage is Stage.CONFIRMATION  # a trial is given all of its configuration
    given = record.configuration if is_whole else record.parameters
    again = Continuation(
        record.trial_id,
        given,
        last_checkpoint=last,
        waits_since=record.waits_since,
    )
    if record.origin is not None:
        donor, copied = record.origin.donor, record.origin.checkpoint
        damage = None
        if copied is not None and CheckpointPaths(paths.root / copied.path).has_trainer:
            damage = _find_damage(paths.root / copied.path, is_sure=is_sure)
            if damage is None:
                return replace(
                    again,
                    checkpoint=paths.root / copied.path,
                    metrics=copied.metrics,
                    last_report=record.origin.donor_report,
                    donor=donor,
                )
            damage = f"damaged ({damage})"  # it is put out of the way when its own trial needs it
        again = replace(again, missing=f"{donor}'s checkpoint", damage=damage)
    for checkpoint in reversed(record.checkpoints):
        path, metrics = paths.root / checkpoint.path, checkpoint.metrics
        damage = None
        if CheckpointPaths(path).has_trainer:
            damage = _find_damage(path, is_sure=is_sure)
            if damage is None:
                report = _report_at(record, metrics.get(ITERATION))
                return replace(again, checkpoint=path, metrics=metrics, last_report=report)
            if is_sure:
                damage = f"damaged ({damage}){_set_aside(path, paths)}"
        if again.missing is None:
            again = replace(again, missing=path.name, damage=damage)
    return again


def is_resumable(paths: RunPaths, checkpoint: TrialCheckpoint) -> bool:
    """Whether a recorded checkpoint has all that training needs, and its files are whole."""
    folder = paths.root / checkpoint.path
    return CheckpointPaths(folder).has_trainer and _find_damage(folder, is_sure=True) is None


def _find_damage(folder: Path, *, is_sure: bool) -> str | None:
    """What is wrong with a checkpoint; one in a bucket, whose objects are whole, by sizes alone."""
    return find_damage(folder, reads_all=is_sure and address_of(folder) is None)


def _set_aside(path: Path, paths: RunPaths) -> str:
    """Put a damaged checkpoint out of the way; returns the end of a sentence that says so."""
    try:
        place = put_aside(path, below=paths.trials)
    except OSError as error:
        _logger.warning("can't set %s aside: %s", path, error.strerror)
        return ""
    return f", now {place.name}"


def _numbers(names: Iterable[str]) -> set[int]:
    return {int(match[1]) for name in names if (match := _CHECKPOINT.fullmatch(name))}


def _report_at(record: TrialRecord, iteration: Any) -> Mapping[str, Any]:
    newest_first: Iterable[Mapping[str, Any]] = reversed(record.reports)
    return next((report for report in newest_first if report.get(ITERATION) == iteration), {})
