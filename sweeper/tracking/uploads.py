"""Copy a run's files to MLflow: the sweep's own, and the logs of trials that failed."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from sweeper.paths import RunPaths
from sweeper.run_files import is_inside, open_reading
from sweeper.storage.checkpoints import bring_logs
from sweeper.tracking.failures import translated_failures
from sweeper.tracking.mirror import RunMirror
from sweeper.veil import veil

__all__ = ["FILES_TAG", "LOG_TAG", "FileUploads", "read_log_tail"]

FILES_TAG = "sweeper.files"
LOG_TAG = "sweeper.log"
_TAIL_BYTES = 4000
_TAIL_LINES = 20


class FileUploads:
    """Copies files once, and again when they have changed."""

    def __init__(
        self, client: Any, folder: Path, files: tuple[Path, ...], place: str = "the tracking server"
    ) -> None:
        """Set up the copies of ``files``, which lie in the run folder and may not exist yet.

        Args:
            client: MLflow's.
            folder: the run's.
            files: to copy.
            place: the destination, for sentences about it.
        """
        self._client, self._folder, self._files = client, folder, files
        self._place = place
        self._seen: dict[Path, float] = {}
        self._copied: dict[str, str] | None = None

    def upload(self, mirror: RunMirror) -> None:
        """Copy the sweep's files to its run.

        A tag says which contents are there, so another process copies nothing again.

        Raises:
            OSError: a file can't be read.
            RefusedError: MLflow does not take it.
            UnreachableError: the destination does not answer.
        """
        news: dict[Path, tuple[float, str]] = {}
        for path in self._files:
            if not is_inside(path, self._folder):  # a link may lead to any file
                continue
            changed = path.stat().st_mtime
            if self._seen.get(path) != changed:
                with open_reading(path) as stream:
                    news[path] = changed, hashlib.sha256(stream.read()).hexdigest()[:16]
        if not news:
            return
        with translated_failures(self._place):
            if self._copied is None:
                self._copied = self._find_copied(mirror)
            before = dict(self._copied)
            for path, (changed, digest) in news.items():
                if self._copied.get(path.name) != digest:
                    self._client.log_artifact(mirror.run_id, str(path))
                self._copied[path.name], self._seen[path] = digest, changed
            text = json.dumps(self._copied, sort_keys=True)
            if self._copied != before or mirror.tags.get(FILES_TAG) != text:
                self._client.set_tag(mirror.run_id, FILES_TAG, text)
                mirror.tags[FILES_TAG] = text

    def _find_copied(self, mirror: RunMirror) -> dict[str, str]:
        """The digests of the files that MLflow has; somebody may have deleted one."""
        try:
            noted = dict(json.loads(mirror.tags.get(FILES_TAG, "{}")))
        except (ValueError, TypeError):
            return {}
        if not noted:
            return {}
        there = {one.path for one in self._client.list_artifacts(mirror.run_id)}
        return {name: digest for name, digest in noted.items() if name in there}

    def upload_log(self, mirror: RunMirror) -> None:
        """Copy the log of a trial that failed, without secrets, to its run.

        A tag says which length of it is there.

        Raises: as `upload`.
        """
        path = RunPaths(self._folder).trial_log(mirror.trial_id)
        bring_logs(RunPaths(self._folder).trials, mirror.trial_id)
        if mirror.run_id is None or not is_inside(path, self._folder):
            return
        size = f"{path.stat().st_size} bytes"
        if mirror.tags.get(LOG_TAG) == size:
            return
        with tempfile.TemporaryDirectory(prefix="sweeper-log-") as temporary:
            copy = Path(temporary) / path.name
            with open_reading(path) as stream:
                copy.write_text(veil(stream.read().decode("utf-8", "replace")), "utf-8")
            with translated_failures(self._place):
                self._client.log_artifact(mirror.run_id, str(copy))
                self._client.set_tag(mirror.run_id, LOG_TAG, size)
        mirror.tags[LOG_TAG] = size


def read_log_tail(folder: Path, trial_id: str) -> str:
    """The last lines of a trial's log, without secrets; empty if there is none."""
    path = RunPaths(folder).trial_log(trial_id)
    if not is_inside(path, folder):
        return ""
    try:
        with open_reading(path) as stream:
            stream.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = stream.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.rpartition("\r")[2] for line in text.splitlines()[-_TAIL_LINES:]]
    return veil("\n".join(lines))
