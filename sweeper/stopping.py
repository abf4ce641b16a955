"""End a run that another process is carrying out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from sweeper.errors import UserError
from sweeper.locks import explain_orphan, is_locked, read_owner
from sweeper.paths import find_run, run_reference
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults
from sweeper.run_files import make_empty
from sweeper.storage.mirror import request_stop
from sweeper.storage.working_copy import bring_run

__all__ = ["stop"]

_logger = logging.getLogger(__name__)

_POLL_S = 0.2


def stop(
    reference: str | Path = "last",
    storage: str | Path = "runs",
    *,
    say: Callable[[str], None] = _logger.info,
) -> SweepResults:
    """End a run of another process as its first Ctrl-C would, and wait until it has ended.

    Returns:
        The results at its end.

    Raises:
        UserError: there is no such run, its folder can't be written, or its driver has ended, but
            not a process that it started.
    """
    paths = find_run(str(reference), Path(storage))
    name = paths.root.name
    if not is_locked(paths.lock):
        results = load_results(paths)
        say(f"{name} is not running: {results.state}")
        return results
    _refuse_orphan(paths.lock)
    try:
        make_empty(paths.stop_request)
        request_stop(paths.root)
    except OSError as error:
        raise UserError(f"can't write to the run folder {paths.root}: {error.strerror}") from error
    owner = read_owner(paths.lock)
    say(f"asked {name} to end{f' ({owner})' if owner else ''}; waiting for it")
    while is_locked(paths.lock):
        _refuse_orphan(paths.lock)
        time.sleep(_POLL_S)
    bring_run(paths.root)
    paths.stop_request.unlink(missing_ok=True)  # of a driver on another machine
    results = load_results(paths)
    say(f"{name}: {results.state}; `sweeper resume {run_reference(paths.root)}` goes on")
    return results


def _refuse_orphan(lock: Path) -> None:
    if (orphan := explain_orphan(lock)) is not None:
        raise UserError(orphan)
