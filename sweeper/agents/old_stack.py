"""Tell checkpoints of RLlib's old API stack, which nothing here can load, before they are tried."""

from __future__ import annotations

import re
from pathlib import Path

from sweeper.errors import UserError
from sweeper.paths import CheckpointPaths
from sweeper.run_files import read_json

__all__ = ["refuse_old_stack"]

_FIRST = 2.0  # version of the new API stack's checkpoints; the old one has written up to 1.1
# Only the old stack makes these.
_OLD_FILES = ("*.tune_metadata", "policy_state.pkl", "policies/*/policy_state.pkl")
_STATE = "algorithm_state.pkl"  # the new stack has one, too, but always beside a version


def refuse_old_stack(folder: Path) -> None:
    """Refuse a checkpoint that RLlib's old API stack wrote; nothing of it is unpickled.

    Raises:
        UserError: it is one.
    """
    version = _read_version(CheckpointPaths(folder))
    patterns = _OLD_FILES if version is not None else (*_OLD_FILES, _STATE)
    is_old = version is not None and version < _FIRST
    if not is_old and all(next(folder.glob(pattern), None) is None for pattern in patterns):
        return
    found = "before checkpoints had versions" if version is None else f"version {version:g}"
    raise UserError(
        f"{folder} is a checkpoint of RLlib's old API stack ({found}); only those from version "
        f"{_FIRST} on can be loaded: train again, or load it with a version of Ray that still "
        "has that stack"
    )


def _read_version(paths: CheckpointPaths) -> float | None:
    if not paths.is_rllib:
        return None
    try:
        version = read_json(paths.rllib_metadata)["checkpoint_version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return float(version) if re.fullmatch(r"\d{1,4}(\.\d{1,4})?", str(version)) else None
