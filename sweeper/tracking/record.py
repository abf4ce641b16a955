"""Write the MLflow record of one run: a parent run with a nested run per trial.

Everything is derived from the journal's events. Tags of every MLflow run count its events that are
written. So another process can continue a record, and writing the same journal again changes
nothing; nor does a journal that has lost lines, or a database that was put back from a copy.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from sweeper.evidence.selection import Selection
from sweeper.journal import Event, LaunchEnded, LaunchStarted, TrialEnded, TrialEvent, TrialStarted
from sweeper.states import LaunchEnd, TrialState
from sweeper.tracking.batches import write_missing
from sweeper.tracking.champion import log_champion
from sweeper.tracking.champion_mark import CHAMPION_TAG, mark_trials
from sweeper.tracking.curves import SCORE
from sweeper.tracking.description import SweepDescription
from sweeper.tracking.destination import Destination, connect, import_mlflow
from sweeper.tracking.evidence import find_changed, verdict_tags
from sweeper.tracking.existing import GROUP, PARENT, check_active, find_experiment, find_runs
from sweeper.tracking.failures import (
    DeniedError,
    RefusedError,
    UnreachableError,
    translated_failures,
)
from sweeper.tracking.mirror import NOTE_TAG, STATE_TAG, RunMirror, to_ms
from sweeper.tracking.naming import clip_tag
from sweeper.tracking.new_runs import first_tags
from sweeper.tracking.progress import SweepProgress
from sweeper.tracking.recovery import look_up, set_aside_foreign
from sweeper.tracking.setting import write_setting
from sweeper.tracking.standing import StandingSchedule, describe_standing
from sweeper.tracking.summary import Summary, SummaryTrial
from sweeper.tracking.system_metrics import SystemMetrics
from sweeper.tracking.uploads import FileUploads, read_log_tail

__all__ = ["Record"]

_logger = logging.getLogger(__name__)


class Record:
    """Collects changes from events, and writes them run by run.

    Not thread-safe. A write that fails with `UnreachableError` can be repeated: what was not
    written stays pending.
    """

    def __init__(self, destination: Destination, sweep: SweepDescription, remedy: str) -> None:
        """Connect, find or create the experiment, and find the sweep's runs in it.

        The remedy ends a warning about what another attempt may bring.

        Raises:
            UserError: the destination can't hold a record; the message says why.
            UnreachableError: the destination does not answer.
        """
        import_mlflow()
        destination.probe()
        self._destination = destination
        self._sweep, self._remedy = sweep, remedy
        self.warnings: list[str] = []
        destination.follow_move(sweep.run_name)
        self._translated = partial(translated_failures, destination.place)
        with self._translated():
            self._client = connect(destination)
            self._experiment_id = find_experiment(
                self._client, destination.experiment, destination.artifact_location
            )
            self._mirrors = {PARENT: self._make_mirror(PARENT), **self._find_runs()}
        self._refused: set[str] = set()
        self._dirty: dict[str, None] = {}
        self._unsure = False
        self._progress = SweepProgress(sweep.objective)
        self._uploads = FileUploads(self._client, sweep.folder, sweep.files, destination.place)
        self.refuses_files = False  # the destination takes none
        self._environment: Mapping[str, Any] = {}
        self._owes_setting = False
        self._standing = StandingSchedule()
        self._model_id: str | None = None

    def _make_mirror(self, key: str) -> RunMirror:
        name = self._sweep.run_name
        if key == PARENT:
            return RunMirror(name)
        folder = self._sweep.folder
        return RunMirror(
            key, self._sweep.objective, name, lambda trial_id: read_log_tail(folder, trial_id)
        )

    def _find_runs(self, key: str | None = None) -> dict[str, RunMirror]:
        name = self._sweep.run_name
        return find_runs(self._client, self._experiment_id, name, self._make_mirror, key)

    # -- reading the journal ------------------------------------------------------------------

    def apply(self, event: Event, *, keep_metrics: bool = True) -> None:
        """Apply the next event; writes nothing.

        Args:
            event: each of the journal's events once, in order, from the first on.
            keep_metrics: False to follow the states only, if there is no time to write the
                rest; the event then counts as unwritten.
        """
        key = event.trial_id if isinstance(event, TrialEvent) else PARENT
        mirror = self._mirrors.get(key) or self._mirrors.setdefault(key, self._make_mirror(key))
        if mirror.feed(event, keep_metrics=keep_metrics):
            self._dirty[key] = None
        self._progress.take(event)
        if isinstance(event, LaunchEnded):
            mirror.wanted = self._outcome(event.reason)
        elif isinstance(event, LaunchStarted):
            self._owes_setting = not self._environment or self._owes_setting
            self._environment = event.environment
        elif mirror.is_confirmation and isinstance(event, TrialStarted | TrialEnded):
            self._follow_group(mirror, event)
        elif isinstance(event, TrialEnded):
            self._follow_best(mirror, event, keep_metrics)
        if key in self._dirty:
            self._standing.note(event)

    def _follow_group(self, mirror: RunMirror, event: TrialStarted | TrialEnded) -> None:
        """The confirmation runs while one of its trials does."""
        group = self._mirrors.setdefault(GROUP, self._make_mirror(GROUP))
        group.start_ms = group.start_ms or to_ms(event.time)
        group.end_ms, group.wanted = to_ms(event.time), "RUNNING"
        if isinstance(event, TrialEnded):
            self._progress.take_retrained(event.trial_id, mirror.cost)

    def _follow_best(self, mirror: RunMirror, event: TrialEnded, keep_metrics: bool) -> None:
        points = self._progress.take_end(
            event.trial_id, event.state, mirror.cost, mirror.score.get(SCORE), to_ms(event.time)
        )
        if keep_metrics and points:
            parent = self._mirrors[PARENT]
            parent.derived += points
            if parent.seen >= parent.written:  # else it is read again, and `finish` writes it
                self._dirty[PARENT] = None

    def note_end(self) -> None:
        """The journal was read to its end, so runs that MLflow has more of are ahead of it."""
        for key, mirror in self._mirrors.items():
            if mirror.note_end():
                self._dirty[key] = None

    def take_sample(self, system: SystemMetrics) -> None:
        """Add the machine's load to the sweep's run, once it exists; writes nothing."""
        parent = self._mirrors[PARENT]
        if parent.run_id is not None and (sample := system.sample(parent.start_ms)):
            parent.derived += sample
            self._dirty[PARENT] = None

    # -- writing ------------------------------------------------------------------------------

    def flush(self, *, create: bool = True) -> None:
        """Write what is pending.

        Args:
            create: False to skip runs that do not exist yet.

        Raises:
            UnreachableError: the destination does not answer; the rest stays pending.
            RefusedError: MLflow refuses the parent run or the login, so there can be no record.
            UserError: the experiment was deleted.
        """
        if not self._dirty and not self._owes_setting:
            return
        self._destination.probe()
        # The parent first: the others are nested in it.
        for key in sorted(self._dirty, key=lambda key: key != PARENT):
            mirror = self._mirrors[key]
            if mirror.run_id is not None or create:
                self._write(key, mirror)
            del self._dirty[key]
        self._write_setting()
        self._write_standing()

    def _write_standing(self) -> None:
        """Have the sweep's run say which configurations are the best so far, with their runs."""
        parent = self._mirrors[PARENT]
        is_there = parent.run_id is not None and parent.seen >= parent.written
        if is_there and self._standing.is_due:
            text = describe_standing(self._sweep, dict(self._trials()), self._experiment_id)
            parent.new_tags[NOTE_TAG] = clip_tag(text)
            self._dirty[PARENT] = None
            self._standing.clear()
            self._write(PARENT, parent)
            del self._dirty[PARENT]

    def _write(self, key: str, mirror: RunMirror) -> None:
        if key in self._refused:
            mirror.forget_pending()
            return
        try:
            with self._translated():
                self._write_run(key, mirror)
        except UnreachableError:
            self._unsure = True
            mirror.present = {}  # part of it may have arrived
            raise
        except RefusedError as error:
            with self._translated():
                check_active(self._client.get_experiment(self._experiment_id))
            if key == PARENT or isinstance(error, DeniedError):
                raise
            self._refused.add(key)
            mirror.forget_pending()
            self.warn(f"MLflow: the record of trial {key} is refused: {error}")

    def _write_run(self, key: str, mirror: RunMirror) -> None:
        if mirror.run_id is not None and mirror.present is not None:
            set_aside_foreign(self._client, mirror, self._sweep.run_name)
            look_up(self._client, mirror)
        if mirror.run_id is None:
            self._create(key, mirror)
        write_missing(self._client, mirror)

    def _create(self, key: str, mirror: RunMirror) -> None:
        if self._unsure:
            # An earlier request may have arrived although its answer did not.
            found = self._find_runs(key).get(key)
            if found is not None:
                mirror.run_id, mirror.status, mirror.tags = found.run_id, found.status, found.tags
                return
        if key == PARENT:
            mirror.new_params.update(self._sweep.parameters)
        tags = dict(first_tags(key, mirror, self._sweep, self._run_id))
        run = self._client.create_run(
            self._experiment_id, start_time=mirror.start_ms, tags=tags, run_name=mirror.name
        )
        mirror.run_id, mirror.status, mirror.tags = run.info.run_id, run.info.status, tags

    def _run_id(self, key: str) -> str:
        mirror = self._mirrors[key]
        if mirror.run_id is None:
            self._write_run(key, mirror)
        return str(mirror.run_id)

    def _write_setting(self) -> None:
        """Write what MLflow has no place for in a run: its environment, and the view of it."""
        parent = self._mirrors[PARENT]
        if parent.run_id is None or not self._owes_setting:
            return
        with suppress(RefusedError), self._translated():  # the record is whole without it
            ids = self._experiment_id, parent.run_id
            made_ms = parent.start_ms
            write_setting(self._client, *ids, self._sweep, self._environment, made_ms)
        self._owes_setting = False

    # -- the end ------------------------------------------------------------------------------

    def finish(self, reason: str, selection: Selection | None) -> None:
        """Close every run with its status from the journal.

        Args:
            reason: how the launch ended, in case the journal has no end of it.
            selection: the champion, for the summary.

        Raises:
            UnreachableError: the destination does not answer.
            RefusedError: MLflow refuses the parent run.
        """
        now = to_ms(time.time())
        for key, mirror in self._trials():
            if (mirror.wanted or mirror.status) == "RUNNING":
                mirror.interrupt(reason, now)
            if mirror.run_id and mirror.wanted != mirror.status:
                self._dirty[key] = None
        parent = self._mirrors[PARENT]
        if parent.wanted in (None, "RUNNING"):
            parent.wanted, parent.end_ms = self._outcome(reason), now
            parent.new_tags[STATE_TAG] = reason
        if parent.run_id is None:
            self._write(PARENT, parent)
        if group := self._mirrors.get(GROUP):
            states = {mirror.state for _, mirror in self._trials() if mirror.is_confirmation}
            group.wanted = "KILLED" if TrialState.PAUSED in states else "FINISHED"
            self._dirty[GROUP] = None
        parent.new_tags[NOTE_TAG] = clip_tag(self._summarise(selection))
        self._standing.clear()
        stamp = self._progress.updated_ms
        parent.new_finals |= {k: (v, stamp) for k, v in self._progress.totals().items()}
        self._dirty[PARENT] = None
        self.flush(create=False)

    def _summarise(self, selection: Selection | None) -> str:
        trials = {
            key: SummaryTrial(mirror.parameters, mirror.run_id)
            for key, mirror in self._trials()
            if not mirror.is_confirmation
        }
        return Summary(
            self._sweep, self.states, trials, selection, self._experiment_id, self._model_id
        ).to_markdown()

    def _trials(self) -> list[tuple[str, RunMirror]]:
        return [(key, one) for key, one in self._mirrors.items() if key not in (PARENT, GROUP)]

    def log_files(self) -> None:
        """Copy the run's files, if new or changed, to the parent run's artifacts.

        If only the files are refused, that is a warning: metrics can still be written.

        Raises:
            UnreachableError: the destination does not answer.
        """
        parent = self._mirrors[PARENT]
        if parent.run_id is None or self.refuses_files:
            return
        failed = [one for _, one in self._trials() if one.state == TrialState.ERROR]
        try:
            self._uploads.upload(parent)
            for mirror in failed:
                self._uploads.upload_log(mirror)
        except (OSError, RefusedError, UnreachableError) as error:
            self._destination.probe()
            self.refuses_files = True
            self.warn(f"MLflow: the run's files are not there: {error}", is_for_now=True)

    def log_champion(
        self, selection: Selection, folder: Path | None, register_as: str | None
    ) -> None:
        """Log the champion's score, and its agent, if any, as the parent run's model."""
        with self._translated():
            run_id = self._run_id(PARENT)
            self._mark_champion(run_id, selection)
            if folder is None:
                return
            self._model_id, warnings = log_champion(
                self._client,
                experiment_id=self._experiment_id,
                run_id=run_id,
                selection=selection,
                folder=folder,
                register_as=register_as,
                sweep=self._sweep,
            )
        for warning in warnings:
            self.warn(warning)

    def _mark_champion(self, run_id: str, selection: Selection) -> None:
        """Have the sweep's run and the trials' say who won."""
        parent, stamp = self._mirrors[PARENT], self._progress.updated_ms
        parent.new_tags |= {CHAMPION_TAG: selection.trial_id, **verdict_tags(selection)}
        self._dirty[PARENT] = None
        for key in mark_trials(self._client, dict(self._trials()), selection, stamp):
            self._dirty[key] = None
        present = self._client.get_run(run_id).data.metrics
        changed = find_changed(selection, present)
        parent.new_finals |= {name: (value, stamp) for name, value in changed.items()}

    @property
    def states(self) -> dict[str, str]:
        """The state of every trial of the search."""
        return {
            key: mirror.state
            for key, mirror in self._trials()
            if not mirror.is_confirmation and mirror.seen
        }

    def _outcome(self, reason: str) -> str:
        states = set(self.states.values())
        if reason == LaunchEnd.INTERRUPTED:
            return "KILLED"
        if reason == LaunchEnd.FAILED or states == {TrialState.ERROR}:
            return "FAILED"
        return "FINISHED"

    def warn(self, message: str, *, is_for_now: bool = False) -> None:
        """Say what is missing from the record, and keep it; it may be written later."""
        message += f"; {self._remedy}" if is_for_now else ""
        _logger.warning("%s", message)
        self.warnings.append(message)
