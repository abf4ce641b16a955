"""Follow the journal in a thread, and keep MLflow up to date with it.

The driver only signals that there are new events; the thread reads them from the journal's file.
So nothing has to be queued or dropped however slow MLflow is, and an outage only delays the
record. Following a live run, continuing in another process and logging a run again are the same.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import UserError
from sweeper.evidence.selection import Selection
from sweeper.journal import Event, parse_event
from sweeper.locks import RecordLock
from sweeper.paths import RunPaths, run_reference
from sweeper.planning.plan import SweepPlan
from sweeper.run_files import open_reading
from sweeper.spec.sections import Tracking
from sweeper.sqlite_address import sqlite_path
from sweeper.states import LaunchEnd
from sweeper.tracking.credentials import find_address
from sweeper.tracking.description import describe_sweep
from sweeper.tracking.destination import Destination, mlflow_settings, resolve_uri
from sweeper.tracking.failures import RefusedError, UnreachableError
from sweeper.tracking.record import Record
from sweeper.tracking.system_metrics import SystemMetrics
from sweeper.veil import hide_references, veil

__all__ = ["MlflowTracker"]

_logger = logging.getLogger(__name__)

# A young sweep is looked at. Later, larger batches cost less: for two events at a time MLflow takes
# three times as much CPU time as for the same values in batches of twenty.
_FLUSH_S, _LATER_FLUSH_S, _FLUSH_GROWTH = 1.0, 5.0, 1.25
_MAX_FLUSH_S = 15.0
# While the sweep runs, writing takes at most this share of one core.
_DUTY = 0.02
_FIRST_RETRY_S = 10.0
_MAX_RETRY_S = 300.0
# Read the journal in chunks, so that memory stays flat and `close` is noticed soon.
_CHUNK_BYTES = 2**18
_FINISH_S = 15.0
_TURN_S = 0.1


class MlflowTracker:
    """A journal listener that keeps one run's MLflow record up to date.

    It neither raises into the sweep nor waits for MLflow: `start` returns at once, a call takes
    less than a microsecond, and `close` returns what could not be written.

    Attributes:
        told: those of the warnings of `close` that the user has read while the sweep went on.
    """

    def __init__(
        self,
        plan: SweepPlan,
        paths: RunPaths,
        tracking: Tracking,
        *,
        artifact_root: Path | None,
        lock: RecordLock | None = None,
        is_launch: bool = False,
        command: str | None = None,
    ) -> None:
        """Set up the tracker; touches neither files nor network.

        Args:
            plan: as run.
            paths: the run folder. Its name identifies the record, and its journal is followed.
            tracking: where to write.
            artifact_root: where a new experiment of an SQLite database stores its files; a
                server decides for itself.
            lock: of the record, if the caller has it; else the tracker waits for its turn.
            is_launch: whether the sweep runs now, in this process, so that the machine's load is
                its own.
            command: completes the record; by default ``sweeper log`` of the run.

        Raises:
            UserError: a variable that the URI refers to is not set.
        """
        self._address = find_address(tracking.uri)
        self._destination = Destination(
            resolve_uri(self._address.uri),
            tracking.experiment,
            artifact_root,
            hide_references(tracking.uri),
        )
        self._plan, self._paths = plan, paths
        is_database = sqlite_path(self._destination.uri) is not None
        self._shown_uri = self._destination.uri if is_database else self._destination.shown
        self._register_as = tracking.register_as
        self._samples_system = is_launch and tracking.system_metrics
        self._system: SystemMetrics | None = None
        self._journal = _JournalFollower(paths.journal)
        self._lock = lock or RecordLock(paths.journal)
        self._champion: tuple[Selection, Path | None] | None = None
        self._reason: str = LaunchEnd.FINISHED
        self._deadline = float("inf")
        self._closing = threading.Event()
        self._record: Record | None = None
        self._outage: UnreachableError | None = None
        # Whether an outage was said, and whether the user knows what is in the record's way now.
        self._is_said = self._is_known = False
        self.told: set[str] = set()
        command = command or f"sweeper log {run_reference(paths.root)}"
        self._remedy = f"`{command}` completes the record afterwards"
        self._rebuild = f"the journal is complete, so the rest can be written again: `{command}`"
        self._given_up: str | None = None
        self._finished = False
        self._news = True
        self._thread = threading.Thread(target=self._work, name="sweeper-mlflow", daemon=True)

    # -- the driver's side --------------------------------------------------------------------

    def start(self) -> None:
        """Start to follow the journal from its beginning."""
        self._thread.start()

    def __call__(self, event: Event) -> None:  # noqa: ARG002 - it is read from the journal
        """Note that the journal has a new event."""
        self._news = True

    def log_champion(self, selection: Selection, folder: Path | None) -> None:
        """Log the champion, and the agent in its folder if it has one, after the whole journal."""
        self._champion = (selection, folder)

    def close(self, reason: str, timeout_s: float = 60.0) -> list[str]:
        """Write what is left, close every MLflow run, and end the thread.

        Args:
            reason: how the launch ended (a `LaunchEnd`), in case the journal has no end of it.
            timeout_s: for what is left; closing the runs may take some seconds more.

        Returns:
            Warnings about the record, one sentence each.
        """
        self._reason = reason
        self._deadline = time.monotonic() + timeout_s
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s + _FINISH_S)
        warnings = list(self._record.warnings) if self._record else []
        self.told.update(warnings)
        if self._given_up:
            what = f"MLflow: {self._given_up}"
        elif self._outage:
            what = f"MLflow: not everything is recorded: {self._outage}"
        elif not self._finished:
            what = f"MLflow: the record is not complete {timeout_s:.0f} s after the sweep's end"
        else:
            return warnings
        warnings.append(f"{what}; {self._rebuild}")
        if self._is_known:
            self.told.add(warnings[-1])
        return warnings

    # -- the thread's side --------------------------------------------------------------------

    def _work(self) -> None:
        # The driver's main thread handles the signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with mlflow_settings(), self._address.login():
                self._wait_for_turn()
                self._follow()
        except (UserError, RefusedError) as error:
            self._give_up(str(error))
        except Exception as error:
            # A defect here must not end a sweep that may have run for days.
            _logger.debug("the MLflow tracker failed", exc_info=True)
            why = veil(str(error)).strip().partition("\n")[0]
            self._give_up(f"{type(error).__name__}: {why}")
        finally:
            self._lock.release()

    def _wait_for_turn(self) -> None:
        """Wait while another process, such as `sweeper log`, writes the record of this run.

        Raises:
            RefusedError: it still does so when the time is over.
        """
        is_said = False
        while True:
            try:
                if self._lock.take():
                    return
            except FileNotFoundError:  # the launch has not begun its journal yet
                if self._closing.wait(_TURN_S):
                    return
                continue
            if time.monotonic() > self._deadline:
                raise RefusedError("another process is still writing the record of this run")
            if not is_said:
                _logger.warning(
                    "MLflow: another process is writing the record of this run; the sweep goes on, "
                    "and its record follows"
                )
            is_said = True
            time.sleep(_TURN_S)

    def _give_up(self, why: str) -> None:
        self._given_up, self._is_known = f"nothing more is recorded: {why}", True
        message = f"{self._given_up}; the sweep goes on, and {self._remedy}"
        _logger.warning("MLflow: %s", message)

    def _note_outage(self, error: UnreachableError) -> None:
        """Say so once a launch: a server may come and go."""
        self._outage = error
        if not self._is_said and not self._closing.is_set():
            again = "the sweep goes on, and MLflow is tried again"
            _logger.warning("MLflow: %s; %s; if need be, %s", error, again, self._remedy)
            self._is_said = self._is_known = True

    def _follow(self) -> None:
        retry_s, flush_s = _FIRST_RETRY_S, _FLUSH_S
        pause_s = 0.0
        is_closing = False
        while not self._closing.wait(pause_s):
            try:
                record = self._connect()
                began = time.thread_time()
                if self._system is not None:
                    record.take_sample(self._system)
                more = self._advance()
            except UnreachableError as error:
                self._note_outage(error)
                is_closing = self._closing.is_set()
                pause_s, retry_s = retry_s, min(2 * retry_s, _MAX_RETRY_S)
                continue
            self._outage, self._is_known, retry_s = None, False, _FIRST_RETRY_S
            spent_s = time.thread_time() - began
            pause_s = min(max(0.0 if more else flush_s, spent_s / _DUTY), _MAX_FLUSH_S)
            flush_s = min(flush_s * _FLUSH_GROWTH, _LATER_FLUSH_S)
        if is_closing:  # it has just been tried
            return
        try:
            self._end()
            self._outage = None
        except UnreachableError as error:
            self._outage = error

    def _connect(self) -> Record:
        if self._record is None:
            self._record = Record(
                self._destination,
                describe_sweep(self._plan, self._paths, self._shown_uri),
                self._rebuild,
            )
            if self._samples_system:
                self._system = SystemMetrics()
        return self._record

    def _advance(self) -> bool:
        """Write one chunk of the journal; returns whether there may be more."""
        record = self._connect()
        record.flush()  # left by an outage
        if not self._news:
            return False
        self._news = False
        events = self._journal.read()
        for event in events:
            record.apply(event)
        if not events:
            record.note_end()
        record.flush()
        record.log_files()
        self._news = self._news or bool(events)
        return bool(events)

    def _end(self) -> None:
        record = self._connect()
        self._news = True
        while self._advance() and time.monotonic() < self._deadline:
            pass
        selection: Selection | None = None
        problem: Exception | None = None
        if self._champion is not None:
            selection, folder = self._champion
            if time.monotonic() < self._deadline:
                problem = self._log_champion(record, selection, folder)
        left = 0
        while events := self._journal.read():
            left += len(events)
            for event in events:
                record.apply(event, keep_metrics=False)
        record.finish(self._reason, selection)
        record.log_files()
        is_servers = isinstance(problem, RefusedError | UnreachableError)
        if problem is not None and not (is_servers and record.refuses_files):
            why = veil(str(problem)).strip().partition("\n")[0]
            message = f"MLflow: the champion is not logged as a model: {why}"
            record.warn(message, is_for_now=is_servers)
        self._finished = True
        if left:
            self._given_up = f"the time was too short for the last {left:,} events"

    def _log_champion(
        self, record: Record, selection: Selection, folder: Path | None
    ) -> Exception | None:
        """Log it; returns what kept it from being logged, which may be what keeps the rest, too."""
        try:
            record.log_champion(selection, folder, self._register_as)
        except Exception as error:
            # Foreign code saves the model; its failure must not cost the rest of the record.
            _logger.debug("the champion could not be logged", exc_info=True)
            return error
        return None


@dataclass
class _JournalFollower:
    """Reads the whole lines of a growing journal, each once."""

    path: Path
    offset: int = 0

    def read(self) -> list[Event]:
        """Read the next events, about `_CHUNK_BYTES`; empty at the end of the file."""
        try:
            with open_reading(self.path) as stream:
                stream.seek(self.offset)
                data = stream.read(_CHUNK_BYTES) + stream.readline()
        except FileNotFoundError:  # not created yet
            return []
        end = data.rfind(b"\n") + 1
        self.offset += end
        events = (parse_event(line) for line in data[:end].split(b"\n") if line)
        return [event for event in events if event is not None]  # `read_journal` warns of damage
