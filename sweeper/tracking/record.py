"""Write the MLflow record of one run: a parent run with a nested run per trial.

Everything is derived from the journal's events. Tags of every MLflow run count its events that are
written. So another process can continue a record, and writing the same journal again changes
nothing; nor does a journal that has lost lines, or a database that was put back from a copy.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from sweeper.errors import UserError
from sweeper.evidence.selection import Selection
from sweeper.journal import Event, LaunchEnded, TrialEvent
from sweeper.run_files import is_inside
from sweeper.states import LaunchEnd, TrialState
from sweeper.tracking.champion import log_champion
from sweeper.tracking.description import SweepDescription, summarise
from sweeper.tracking.destination import (
    Destination,
    RefusedError,
    UnreachableError,
    connect,
    import_mlflow,
    translated_failures,
)
from sweeper.tracking.evidence import find_changed, verdict_tags
from sweeper.tracking.mirror import EVENTS_TAG, LAST_TAG, STATE_TAG, RunMirror, env_steps, to_ms
from sweeper.tracking.naming import clip_tag
from sweeper.tracking.recovery import look_up, set_aside_foreign

__all__ = ["Record"]

_logger = logging.getLogger(__name__)

_PARENT = ""


class Record:
    """Collects changes from events, and writes them run by run.

    Not thread-safe. A write that fails with `UnreachableError` can be repeated: what was not
    written stays pending.
    """

    def __init__(self, destination: Destination, sweep: SweepDescription) -> None:
        """Connect, find or create the experiment, and find the sweep's runs in it.

        Raises:
            UserError: the destination can't hold a record; the message says why.
            UnreachableError: the destination does not answer.
        """
        import_mlflow()
        destination.probe()
        self._destination = destination
        self._sweep = sweep
        self.warnings: list[str] = []
        destination.follow_move(sweep.run_name)
        with translated_failures():
            self._client = connect(destination)
            self._experiment_id = self._find_experiment()
            self._mirrors = {_PARENT: RunMirror(sweep.run_name), **self._find_runs()}
        self._refused: set[str] = set()
        self._dirty: dict[str, None] = {}
        self._unsure = False
        self._files_logged: dict[Path, float] = {}
        self._refuses_files = False

    # -- reading the journal ------------------------------------------------------------------

    def apply(self, event: Event, *, keep_metrics: bool = True) -> None:
        """Apply the next event; writes nothing.

        Args:
            event: each of the journal's events once, in order, from the first on.
            keep_metrics: False to follow the states only, if there is no time to write the
                rest; the event then counts as unwritten.
        """
        key = event.trial_id if isinstance(event, TrialEvent) else _PARENT
        mirror = self._mirrors.setdefault(key, RunMirror(key))
        if mirror.feed(event, keep_metrics=keep_metrics):
            self._dirty[key] = None
        if isinstance(event, LaunchEnded):
            mirror.wanted = self._outcome(event.reason)

    def note_end(self) -> None:
        """The journal was read to its end, so runs that MLflow has more of are ahead of it."""
        for key, mirror in self._mirrors.items():
            if mirror.note_end():
                self._dirty[key] = None

    # -- writing ------------------------------------------------------------------------------

    def flush(self, *, create: bool = True) -> None:
        """Write what is pending.

        Args:
            create: False to skip runs that do not exist yet.

        Raises:
            UnreachableError: the destination does not answer; the rest stays pending.
            RefusedError: MLflow refuses the parent run, so there can be no record.
        """
        if not self._dirty:
            return
        self._destination.probe()
        # The parent first: the others are nested in it.
        for key in sorted(self._dirty, key=lambda key: key != _PARENT):
            mirror = self._mirrors[key]
            if mirror.run_id is not None or create:
                self._write(key, mirror)
            del self._dirty[key]

    def _write(self, key: str, mirror: RunMirror) -> None:
        if key in self._refused:
            mirror.forget_pending()
            return
        try:
            with translated_failures():
                self._write_run(key, mirror)
        except UnreachableError:
            self._unsure = True
            mirror.present = {}  # part of it may have arrived
            raise
        except RefusedError as error:
            if key == _PARENT:
                raise
            self._refused.add(key)
            mirror.forget_pending()
            self._warn(f"MLflow refused the record of trial {key}: {error}")

    def _write_run(self, key: str, mirror: RunMirror) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if mirror.run_id is not None and mirror.present is not None:
            set_aside_foreign(self._client, mirror, self._sweep.run_name)
            look_up(self._client, mirror)
        if mirror.run_id is None:
            self._create(key, mirror)
        mirror.new_metrics = mirror.missing_metrics()
        tags = mirror.changed_tags()
        if tags or mirror.new_params or mirror.new_metrics:
            if len(mirror.new_metrics) + len(tags) + len(mirror.new_params) > 800:
                # MLflow would split this into requests and send the tags, with the count of
                # written events, in the first one. So write the metrics before.
                self._client.log_batch(mirror.run_id, [Metric(*m) for m in mirror.new_metrics])
                mirror.new_metrics = []
            self._client.log_batch(
                mirror.run_id,
                metrics=[Metric(*metric) for metric in mirror.new_metrics],
                params=[Param(name, value) for name, value in mirror.new_params.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )
            mirror.tags.update(tags)
            mirror.forget_pending()
        if mirror.wanted and mirror.wanted != mirror.status:
            if mirror.wanted == "RUNNING":
                self._client.update_run(mirror.run_id, status="RUNNING")
            else:
                self._client.set_terminated(
                    mirror.run_id, status=mirror.wanted, end_time=mirror.end_ms
                )
            mirror.status = mirror.wanted

    def _create(self, key: str, mirror: RunMirror) -> None:
        if self._unsure:
            # An earlier request may have arrived although its answer did not.
            found = self._find_runs(key).get(key)
            if found is not None:
                mirror.run_id, mirror.status, mirror.tags = found.run_id, found.status, found.tags
                return
        tags = dict(self._sweep.tags)
        if key == _PARENT:
            tags |= {"sweeper.kind": "sweep", **self._sweep.parent_tags}
            mirror.new_params.update(self._sweep.parameters)
            tags["mlflow.note.content"] = self._sweep.headline
        else:
            tags |= {
                "sweeper.kind": "trial",
                "sweeper.trial": key,
                "mlflow.parentRunId": self._parent_id(),
            }
        # Not the count of written events: that comes with the events.
        counts = (EVENTS_TAG, LAST_TAG)
        tags |= {name: v for name, v in mirror.new_tags.items() if name not in counts}
        run = self._client.create_run(
            self._experiment_id, start_time=mirror.start_ms, tags=tags, run_name=mirror.name
        )
        mirror.run_id, mirror.status, mirror.tags = run.info.run_id, run.info.status, tags

    def _parent_id(self) -> str:
        parent = self._mirrors[_PARENT]
        if parent.run_id is None:
            self._write_run(_PARENT, parent)
        return str(parent.run_id)

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
        for key, mirror in self._mirrors.items():
            if key == _PARENT:
                continue
            if (mirror.wanted or mirror.status) == "RUNNING":
                mirror.interrupt(reason, now)
            if mirror.run_id and mirror.wanted != mirror.status:
                self._dirty[key] = None
        parent = self._mirrors[_PARENT]
        if parent.wanted in (None, "RUNNING"):
            parent.wanted, parent.end_ms = self._outcome(reason), now
            parent.new_tags[STATE_TAG] = reason
        parent.new_tags["mlflow.note.content"] = clip_tag(
            summarise(self._sweep, self.states, selection)
        )
        self._dirty[_PARENT] = None
        self.flush(create=False)
        if parent.run_id is None:
            self._write(_PARENT, parent)

    def log_files(self) -> None:
        """Copy the run's files, if new or changed, to the parent run's artifacts.

        If only the files are refused, that is a warning: metrics can still be written.

        Raises:
            UnreachableError: the destination does not answer.
        """
        parent = self._mirrors[_PARENT]
        if parent.run_id is None or self._refuses_files:
            return
        try:
            for path in self._sweep.files:
                if not is_inside(path, self._sweep.folder):  # a link may lead to any file
                    continue
                if self._files_logged.get(path) != path.stat().st_mtime:
                    changed = path.stat().st_mtime
                    with translated_failures():
                        self._client.log_artifact(parent.run_id, str(path))
                    self._files_logged[path] = changed
        except (OSError, RefusedError, UnreachableError) as error:
            self._destination.probe()
            self._refuses_files = True
            self._warn(f"MLflow did not take the run's files: {error}")

    def log_champion(
        self, selection: Selection, folder: Path | None, register_as: str | None
    ) -> None:
        """Log the champion's score, and its agent, if any, as the parent run's model."""
        with translated_failures():
            run_id = self._parent_id()
            self._mark_champion(run_id, selection)
            if folder is None:
                return
            warnings = log_champion(
                self._client,
                experiment_id=self._experiment_id,
                run_id=run_id,
                selection=selection,
                folder=folder,
                register_as=register_as,
            )
        for warning in warnings:
            self._warn(warning)

    def _mark_champion(self, run_id: str, selection: Selection) -> None:
        trial_id = selection.trial_id
        parent, winner = self._mirrors[_PARENT], self._mirrors.get(trial_id)
        if parent.tags.get("sweeper.champion") != trial_id:
            self._client.set_tag(run_id, "sweeper.champion", trial_id)
            parent.tags["sweeper.champion"] = trial_id
        for key, mirror in self._mirrors.items():  # an earlier launch may have had another champion
            is_former = key not in (_PARENT, trial_id) and "sweeper.champion" in mirror.tags
            if is_former and mirror.run_id:
                self._client.delete_tag(mirror.run_id, "sweeper.champion")
                del mirror.tags["sweeper.champion"]
        if winner and winner.run_id and winner.tags.get("sweeper.champion") != "true":
            self._client.set_tag(winner.run_id, "sweeper.champion", "true")
            winner.tags["sweeper.champion"] = "true"
        for tag, text in verdict_tags(selection).items():
            if parent.tags.get(tag) != text:
                self._client.set_tag(run_id, tag, text)
                parent.tags[tag] = text
        if not winner or winner.last_report is None:
            return
        # Time and step of the winner's last row, so that writing it again changes nothing.
        from mlflow.entities import Metric

        present = self._client.get_run(run_id).data.metrics
        metrics = []
        for name, value in find_changed(selection, present).items():
            stamp = to_ms(winner.last_report.time)
            step = env_steps(winner.last_report.metrics)
            if name in present:
                # From a former champion. MLflow shows the value of the largest step, then time.
                for former in self._client.get_metric_history(run_id, name):
                    step = max(step, former.step)
                    stamp = max(stamp, former.timestamp + 1)
            metrics.append(Metric(name, value, stamp, step))
        self._client.log_batch(run_id, metrics)

    @property
    def states(self) -> dict[str, str]:
        """The state of every trial of the search."""
        return {
            key: mirror.state
            for key, mirror in self._mirrors.items()
            if key != _PARENT and not mirror.is_confirmation and mirror.seen
        }

    def _outcome(self, reason: str) -> str:
        states = set(self.states.values())
        if reason == LaunchEnd.INTERRUPTED:
            return "KILLED"
        if reason == LaunchEnd.FAILED or states == {TrialState.ERROR}:
            return "FAILED"
        return "FINISHED"

    # -- finding what is there ----------------------------------------------------------------

    def _find_experiment(self) -> str:
        name = self._destination.experiment
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return str(
                    self._client.create_experiment(
                        name,
                        artifact_location=self._destination.artifact_location,
                        # By default the UI treats it as an experiment with language models.
                        tags={"mlflow.experimentKind": "custom_model_development"},
                    )
                )
            except Exception as error:  # another process may have created it
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise error
        if experiment.lifecycle_stage != "active":
            raise UserError(
                f"the experiment {name!r} was deleted: restore it with `mlflow experiments "
                f"restore --experiment-id {experiment.experiment_id}`, or name another in "
                "tracking.experiment"
            )
        return str(experiment.experiment_id)

    def _find_runs(self, key: str | None = None) -> dict[str, RunMirror]:
        filters = [f"tags.`sweeper.run` = {_quote(self._sweep.run_name)}"]
        if key:
            filters.append(f"tags.`sweeper.trial` = {_quote(key)}")
        found: dict[str, RunMirror] = {}
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id],
                filter_string=" and ".join(filters),
                max_results=1000,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            for run in page:
                tags = dict(run.data.tags)
                name = tags.get("sweeper.trial", _PARENT)
                found[name] = RunMirror(
                    name or self._sweep.run_name,
                    run_id=run.info.run_id,
                    status=run.info.status,
                    tags=tags,
                    written=int(tags.get(EVENTS_TAG, "0")),
                    last=tags.get(LAST_TAG, ""),
                    present={},
                    start_ms=run.info.start_time,
                )
            token = page.token
            if not token:
                return found

    def _warn(self, message: str) -> None:
        _logger.warning("%s", message)
        self.warnings.append(message)


def _quote(text: str) -> str:
    return f'"{text}"' if "'" in text else f"'{text}'"
