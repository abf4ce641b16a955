"""A run's spec where the run lies now: runs are copied, moved, and resumed from other folders.

A spec records absolute paths, so that a run can be resumed from any working directory. After a move
they would lead back: to the old database, and to modules that are no longer there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sweeper.environments.settings import EnvironmentSettings
from sweeper.paths import RunPaths
from sweeper.run_files import read_json
from sweeper.spec import ExperimentSpec
from sweeper.sqlite_address import default_tracking_uri, sqlite_path
from sweeper.storage.address import address_of, storage_folder

__all__ = ["describe_start", "find_modules", "relocate"]


def relocate(paths: RunPaths, spec: ExperimentSpec) -> ExperimentSpec:
    """The spec with the storage where the run lies now, and what follows from that.

    By default the run is tracked in its storage's database, and its modules lie beside its storage.
    """
    folder = paths.root.parent.absolute()
    here = str(address_of(folder) or folder)
    changes: dict[str, object] = {}
    if storage_folder(spec.storage).absolute() != folder:
        changes["storage"] = here
    if spec.tracking is not None and _is_default(spec.tracking.uri, spec.storage, paths):
        uri = default_tracking_uri(here)
        if uri != spec.tracking.uri:
            changes["tracking"] = spec.tracking.model_copy(update={"uri": uri})
    folders = find_modules(spec.environment.settings(), paths, spec.storage).search_paths
    if folders != tuple(spec.environment.search_paths):
        update = {"search_paths": list(folders)}
        changes["environment"] = spec.environment.model_copy(update=update)
    return spec.model_copy(update=changes) if changes else spec


def find_modules(
    settings: EnvironmentSettings, paths: RunPaths | None, storage: str = ""
) -> EnvironmentSettings:
    """The environment of a run, with the folders where its modules may lie now.

    These are the recorded ones, at the same place beside the storage if that was moved, then as
    they were, then the working directory.

    Args:
        settings: as recorded.
        paths: the run's; None for an agent that lies in none.
        storage: as recorded.
    """
    recorded = settings.search_paths
    if not recorded:
        return settings
    moved = () if paths is None else _moved_with(recorded, paths, storage)
    folders = dict.fromkeys((*moved, *recorded, os.path.normpath(Path.cwd())))
    return replace(settings, search_paths=tuple(folders))


def describe_start(paths: RunPaths) -> str | None:
    """Where a run was started, in words, if that is not the working directory."""
    start = _find_start(paths)
    if start is None or start == Path.cwd():
        return None
    gone = "" if start.is_dir() else ", which is no longer there"
    return f"{paths.root.name} was started in {start}{gone}"


def _moved_with(folders: Sequence[str], paths: RunPaths, storage: str) -> Iterator[str]:
    start = _find_start(paths)
    if start is None:
        return
    before, here = os.path.normpath(start / storage_folder(storage)), paths.root.parent.absolute()
    if Path(before) == here:
        return
    for folder in folders:
        moved = os.path.normpath(here / os.path.relpath(folder, before))
        if Path(moved).is_dir():
            yield moved


def _is_default(uri: str, storage: str, paths: RunPaths) -> bool:
    """Whether a tracking URI is the one that a spec without one gets, here or where it was run."""
    if uri == default_tracking_uri(storage):
        return True
    # Earlier versions recorded the default. They did not encode the path.
    start = _find_start(paths)
    if start is None or sqlite_path(uri) is None:
        return False
    return uri == f"sqlite:///{start / storage / 'mlflow.db'}"


def _find_start(paths: RunPaths) -> Path | None:
    """The working directory of the run's first launch; None if it is not known."""
    try:
        folder = read_json(paths.environment)["working_directory"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Path(folder) if isinstance(folder, str) and Path(folder).is_absolute() else None
