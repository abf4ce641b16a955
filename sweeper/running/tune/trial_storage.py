"""Where Tune's trials write their checkpoints: in the run's folder, or in its bucket."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from pyarrow import ArrowException
from ray import tune
from ray.train._internal.storage import StorageContext

from sweeper.paths import CheckpointPaths, RunPaths
from sweeper.storage.address import Address, address_of
from sweeper.storage.checkpoints import patiently, upload_folder
from sweeper.storage.objects import StorageError, file_system

__all__ = ["checkpoint_of", "trial_storage"]

_MARKER = CheckpointPaths(Path()).marker.name


class _BucketStorage(StorageContext):  # type: ignore[misc]
    """Uploads checkpoints with their marker last, and waits for a bucket that is away.

    A worker that failed instead would have the trial tried again, from an earlier checkpoint.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        super().__init__(
            storage_path=address.parent.key,
            experiment_dir_name=address.path.rpartition("/")[2],
            storage_filesystem=file_system(address),
        )

    def persist_current_checkpoint(self, checkpoint: Any) -> Any:
        """Upload the files of a checkpoint that the worker has just written."""
        place = self._address / self.trial_dir_name / self.checkpoint_dir_name
        patiently(lambda: upload_folder(Path(checkpoint.path), place, _MARKER))
        return _BucketCheckpoint(self.checkpoint_fs_path, self.storage_filesystem)


class _BucketCheckpoint(tune.Checkpoint):  # type: ignore[misc]
    """A checkpoint that waits for a bucket that is away when it is loaded."""

    def to_directory(self, path: Any = None) -> str:
        """Download the files."""
        return patiently(functools.partial(self._download, path))

    def _download(self, path: Any) -> str:
        try:
            return str(super().to_directory(path))
        except (OSError, ArrowException) as error:
            raise StorageError(f"{self.path} can't be read: {error}") from error


def trial_storage(paths: RunPaths) -> StorageContext:
    """The storage that holds the trials' folders.

    Raises:
        StorageError: it is in a bucket that can't be written.
    """
    address = address_of(paths.trials)
    if address is None:
        return StorageContext(storage_path=str(paths.root), experiment_dir_name=paths.trials.name)
    try:
        return _BucketStorage(address)
    except (OSError, ArrowException) as error:
        raise StorageError(f"{address} can't be written: {error}") from error


def checkpoint_of(folder: Path, storage: StorageContext) -> tune.Checkpoint:
    """Tune's word for a checkpoint of the run, by its folder."""
    address = address_of(folder)
    if address is None:
        return tune.Checkpoint(str(folder), storage.storage_filesystem)
    return _BucketCheckpoint(address.key, storage.storage_filesystem)
