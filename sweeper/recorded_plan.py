"""What a run's plan said, as its folder records it."""

from __future__ import annotations

import logging

from sweeper.paths import RunPaths, run_reference
from sweeper.run_files import read_json

__all__ = ["planned", "planned_names"]

_logger = logging.getLogger(__name__)


def planned(paths: RunPaths, name: str) -> int | None:
    """A number in the run's plan, such as ``trials``; None, with a warning, if it can't be read."""
    try:
        return int(read_json(paths.plan)[name])
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        if name == "trials":  # not essential: the journal has those that were begun
            _logger.warning(
                "%s is missing or damaged, so only trials that were begun are counted; "
                "`sweeper resume %s` writes it again",
                paths.plan,
                run_reference(paths.root),
            )
        return None


def planned_names(paths: RunPaths, name: str) -> tuple[str, ...]:
    """A list of names in the run's plan, such as ``vectorization``; empty if it can't be read."""
    try:
        found = read_json(paths.plan)[name]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    is_list = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return tuple(found) if is_list else ()
