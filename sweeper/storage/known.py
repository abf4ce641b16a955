"""What this machine has last seen of a run's small files in its bucket.

An object that is as it was seen last is not fetched again: the file here may be newer. The record
lies in the working copy and is only a saving: without it everything is fetched.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from sweeper.run_files import read_json
from sweeper.storage.objects import Entry

__all__ = ["read_known", "write_known"]

_NAME = ".mirrored.json"


def read_known(root: Path) -> dict[str, Entry]:
    """The objects of a run as they were seen last, by their names; empty if nothing is known."""
    try:
        document = read_json(root / _NAME)
        return {str(name): Entry(int(size), int(time)) for name, (size, time) in document.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_known(root: Path, known: Mapping[str, Entry]) -> None:
    """Note what was seen."""
    document = {name: [entry.size, entry.time] for name, entry in known.items()}
    made = root / f"{_NAME}.new"
    with contextlib.suppress(OSError):
        made.write_text(json.dumps(document), encoding="utf-8")
        made.replace(root / _NAME)
