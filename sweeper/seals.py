"""Seals: what this user has made on this machine, told apart from what came from elsewhere.

Run folders are handed on, and some of what they name or hold runs code: modules, RLlib's pickles.
A launch seals both with a key that never leaves the user's own state folder. A seal is a digest of
the sealed content itself, not of the run's name: a folder that was given away, changed and sent
back no longer has it, and one that was moved or copied still does. Another machine has another
key, unless both share the home folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from sweeper.paths import CheckpointPaths, write_atomically
from sweeper.run_files import open_reading, open_regular, read_json, walk_files
from sweeper.storage.checkpoints import bring_folder

__all__ = [
    "find_key",
    "is_folder_sealed",
    "is_sealed",
    "key_path",
    "may_run_code",
    "seal",
    "seal_folder",
]

_KEY_BYTES = 32
_CHUNK_BYTES = 2**20
_FOLDER = "folder"
# Tensors and counters run no code, and some are deleted when a trial is over.
_DATA_SUFFIX = ".safetensors"
_SEAL = CheckpointPaths(Path()).seal.name


def key_path() -> Path:
    """The file of this user's key.

    Raises:
        RuntimeError: this user has no home folder.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state"
    return base / "sweeper" / "seal.key"


def find_key() -> bytes | None:
    """This user's key; None if there is none, or somebody else could have written or read it."""
    try:
        descriptor = open_regular(key_path())
    except (OSError, RuntimeError):  # RuntimeError: there is no home folder
        return None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        if hasattr(os, "geteuid") and (
            status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077
        ):
            return None
        key = stream.read(_KEY_BYTES + 1)
    return key if len(key) == _KEY_BYTES else None


def _make_key() -> bytes | None:
    """This user's key, made if there is none; None if it can't be."""
    key = find_key()
    if key is not None:
        return key
    with contextlib.suppress(OSError, RuntimeError):
        path = key_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(secrets.token_bytes(_KEY_BYTES))
            # A link, unlike a rename, keeps the key that another launch makes at the same time.
            with contextlib.suppress(FileExistsError):
                os.link(made, path)
        finally:
            made.unlink()
    return find_key()


def seal(kind: str, document: Any) -> str | None:
    """The seal of a document.

    Args:
        kind: what the document is; a seal of one kind is none of another.
        document: JSON types.

    Returns:
        A text for `is_sealed`; None if this user can have no key here.
    """
    key = _make_key()
    return None if key is None else _sign(key, kind, document)


def is_sealed(kind: str, document: Any, mark: Any) -> bool:
    """Whether a text is this user's seal of a document."""
    key = find_key()
    if key is None or not isinstance(mark, str):
        return False
    return hmac.compare_digest(mark.encode("utf-8", "replace"), _sign(key, kind, document).encode())


def _sign(key: bytes, kind: str, document: Any) -> str:
    text = json.dumps([kind, document], sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def seal_folder(folder: Path) -> None:
    """Seal a checkpoint, or ``champion/``: all its files that loading may run code of.

    Without a key it stays as it is.

    Raises:
        OSError: a file can't be read, or the seal not written.
    """
    mark = seal(_FOLDER, _digests(folder))
    if mark is not None:
        text = json.dumps({"seal": mark}) + "\n"
        write_atomically(CheckpointPaths(folder).seal, text, syncs=False)


def is_folder_sealed(folder: Path) -> bool:
    """Whether this user sealed a checkpoint, or the one that a replica's folder is part of."""
    for root in (folder, folder.parent):
        try:
            bring_folder(root, lambda name: name == _SEAL)
            document = read_json(CheckpointPaths(root).seal)
            if isinstance(document, dict):
                bring_folder(root, may_run_code)
                return is_sealed(_FOLDER, _digests(root), document.get("seal"))
        except (OSError, ValueError):
            continue
    return False


def _digests(root: Path) -> dict[str, str]:
    """SHA-256 of each file by its path.

    Raises:
        OSError: one can't be read, or is no regular file.
    """
    paths = CheckpointPaths(root)
    left_out = {paths.seal, paths.marker, *(root / name for name in CheckpointPaths.TRAINER_FILES)}
    return {
        path.relative_to(root).as_posix(): _digest(path)
        for path, _ in walk_files(root)
        if path not in left_out and path.suffix != _DATA_SUFFIX
    }


def may_run_code(name: str) -> bool:
    """Whether a file of a checkpoint is one that its seal is of, or the seal."""
    left_out = {CheckpointPaths(Path()).marker.name, *CheckpointPaths.TRAINER_FILES}
    return name not in left_out and Path(name).suffix != _DATA_SUFFIX


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open_reading(path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
