"""The files of a Ray Tune experiment, which may be damaged, or come from someone else.

Only regular files in the experiment's folder are read: a link may lead anywhere, and a named pipe
never ends.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sweeper.json_values import parse_json
from sweeper.run_files import is_regular, open_reading

__all__ = [
    "find_state",
    "find_trials",
    "is_folder",
    "is_name",
    "parse_mapping",
    "read_file",
    "read_mapping",
]

_logger = logging.getLogger(__name__)


def find_trials(root: Path) -> list[Path]:
    """The folders of the trials; a link may lead elsewhere, so it is none."""
    if _is_trial(root):
        return [root]
    return [entry for entry in root.iterdir() if is_folder(entry) and _is_trial(entry)]


def _is_trial(folder: Path) -> bool:
    return any(is_regular(folder / name) for name in ("result.json", "params.json", "error.txt"))


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def is_name(value: Any) -> bool:
    """Whether a value can name a folder in another one."""
    return isinstance(value, str) and "\0" not in value and value == Path(value).name != ".."


def find_state(root: Path) -> Path | None:
    """The newest file with Tune's own state; None if there is none."""
    # A resumed experiment has several; the launch's time is in the name.
    found = filter(is_regular, root.glob("experiment_state-*.json"))
    return max(found, key=lambda path: path.name, default=None)


def read_file(path: Path) -> str | None:
    """The text of one of Tune's files; None if there is none that can be read.

    Anything but a regular file is not read, with a warning.
    """
    try:
        with open_reading(path) as stream:
            return stream.read().decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        _logger.warning("%s is not read: %s", path, error.strerror)
        return None


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a file; empty if there is none, with a warning if the file is damaged."""
    text = read_file(path)
    if text is None:
        return {}
    try:
        return parse_mapping(text)
    except ValueError as error:
        _logger.warning("%s is damaged, so it is not read: %s", path, error)
        return {}


def parse_mapping(text: Any) -> dict[str, Any]:
    """Parse a mapping.

    Raises:
        ValueError: the text is something else, or no text.
    """
    document = parse_json(text) if isinstance(text, str) else None
    if not isinstance(document, dict):
        raise ValueError("it is no mapping")
    return document
