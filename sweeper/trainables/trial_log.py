"""The log of a trial: what its process prints, with a bound on how much of it is kept.

The process's own descriptors are the log's file, so output of C libraries and the last words of a
process that crashes are in it. An environment that prints at every step would fill the disk. So a
thread looks at the file's size and, beyond a limit, cuts out the middle and says so there.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sweeper.formatting import format_number
from sweeper.run_files import open_reading, open_regular
from sweeper.storage.checkpoints import store_log
from sweeper.storage.objects import StorageError
from sweeper.veil import unveiled

__all__ = ["TrialLog", "cut_middle", "describe_report"]

_logger = logging.getLogger(__name__)

_MAX_BYTES = 8 * 2**20
_HEAD_BYTES = 2**20
_TAIL_BYTES = 2**20
_CHECK_EVERY_S = 0.5
# Into a bucket, if the run lies in one; a slow one is not kept busy by it.
_STORE_EVERY_S = 5.0
_STORE_PART = 20.0
_CUT = re.compile(rb"\[sweeper: ([0-9,]+) bytes are cut out here.*\n")
_MAX_WORDS = 200


class TrialLog:
    """Sends stdout and stderr of this process to one trial's log after the other."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._left: list[Path] = []
        self._thread: threading.Thread | None = None

    def begin(self, path: Path, trial_id: str) -> None:
        """Append what the process prints from now on, even in C, to a trial's log."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        except OSError as error:  # e.g. another node, without the run's folder
            _logger.warning("no log for trial %s: %s", trial_id, error)
            self._path = None
            return
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        # A line for every checkpoint says nothing that the journal lacks.
        logging.getLogger("ray.train._internal.storage").setLevel(logging.WARNING)
        if self._path not in (None, path):
            self._left.append(self._path)
        self._path = path
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="sweeper-log", daemon=True)
            self._thread.start()
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        _say(f"{now} trial {trial_id} in process {os.getpid()}")

    def report(self, row: Mapping[str, Any]) -> None:
        """Print the metrics of a report in one line, if the output is a trial's log."""
        if self._path is not None:
            _say(describe_report(row))

    def _watch(self) -> None:
        pause = threading.Event()
        due, stored = 0.0, (self._path, 0)
        while not pause.wait(_CHECK_EVERY_S):
            path = self._path
            try:
                while self._left:  # of trials that are over
                    store_log(self._left[0])
                    del self._left[0]
                if path is None:
                    continue
                if path.stat().st_size > _MAX_BYTES:
                    cut_middle(path, head_bytes=_HEAD_BYTES, tail_bytes=_TAIL_BYTES)
                began = time.monotonic()
                if began >= due and stored != (path, path.stat().st_size):
                    stored = path, path.stat().st_size
                    store_log(path)
                    now = time.monotonic()
                    due = now + max(_STORE_EVERY_S, _STORE_PART * (now - began))
            except (OSError, StorageError) as error:
                _logger.debug("can't bound or store the log %s: %s", path, error)


def _say(words: str) -> None:
    print(words, file=unveiled(sys.stdout), flush=True)


def describe_report(row: Mapping[str, Any]) -> str:
    """``14:02:31 num_env_steps_sampled_lifetime=4096 episode_return_mean=41.2 …``: all numbers."""
    # What a trial is judged by comes before what its learner says.
    numbers = [
        f"{name}={format_number(value)}"
        for name, value in sorted(row.items(), key=lambda item: item[0].startswith("learner/"))
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    end = [f"ended by {row['stopped_by']}"] if row.get("stopped_by") else []
    return " ".join([f"{datetime.now():%H:%M:%S}", *numbers, *end])


def cut_middle(path: Path, *, head_bytes: int, tail_bytes: int) -> None:
    """Cut the middle out of a growing log, in whole lines, and say so in its place.

    The file stays the same one, since others append to it. What they write in this moment may be
    lost with the middle.

    Args:
        path: the log.
        head_bytes: how much of its beginning is kept, at most.
        tail_bytes: how much of its end is kept, at most.

    Raises:
        OSError: it can't be read or written.
    """
    with open_reading(path) as stream:
        head = stream.read(head_bytes)
        end = head.rfind(b"\n") + 1
        stream.seek(end)
        before = _CUT.match(stream.readline(_MAX_WORDS))
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(end, size - tail_bytes))
        tail = stream.read(tail_bytes)
    tail = tail[tail.find(b"\n") + 1 :]
    cut = size - end - len(tail)
    if before is not None:
        cut += int(before[1].replace(b",", b"")) - len(before[0])
    words = f"[sweeper: {cut:,} bytes are cut out here; a log keeps its beginning and its end]\n"
    descriptor = open_regular(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.ftruncate(descriptor, end)
        rest = words.encode() + tail
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)
