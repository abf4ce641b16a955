"""Undo what a user's module or environment does to the process besides its own work."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator

import numpy as np

from sweeper.veil import VeiledStream, veil

__all__ = ["USER_ERRORS", "close_quietly", "contained", "seed_process", "settings_restored"]

_logger = logging.getLogger(__name__)

# What a user's code may raise: a script ends the process, as argparse does at a wrong argument.
USER_ERRORS = (Exception, SystemExit)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def close_quietly(close: Callable[[], object]) -> None:
    """Close an environment; what that raises is only logged, since nothing depends on it."""
    try:
        close()
    except USER_ERRORS as error:
        _logger.info("an environment can't be closed: %s", veil(repr(error)))


@contextlib.contextmanager
def settings_restored() -> Iterator[None]:
    """Keep settings of Python, logging and numpy that would change what other code does.

    These are the filters of warnings, numpy's floating-point errors, the recursion limit, and
    the root logger. What a simulator may depend on stays as it sets it: the working directory,
    environment variables, torch's default dtype.
    """
    filters, limit, root = list(warnings.filters), sys.getrecursionlimit(), logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        with np.errstate():
            yield
    finally:
        sys.setrecursionlimit(limit)
        root.setLevel(level)
        root.handlers[:] = handlers
        if warnings.filters != filters:  # else warnings that were shown would be shown again
            warnings.resetwarnings()
            warnings.filters.extend(filters)  # type: ignore[attr-defined]


def seed_process(seed: int) -> None:
    """Seed the generators that all code in a process shares; torch's if torch is loaded."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Run a user's code in our own process, for as long as it is needed.

    What it prints goes to stderr, because stdout is for our own output. Afterwards all is as
    before: as by `settings_restored`, and the working directory, environment variables, signal
    handlers, process-wide generators, and torch's default dtype.
    """
    with settings_restored(), _process_restored(), _stdout_to_stderr():
        yield


@contextlib.contextmanager
def _process_restored() -> Iterator[None]:
    folder, variables = None, dict(os.environ)
    with contextlib.suppress(OSError):  # somebody has deleted it
        folder = os.getcwd()  # noqa: PTH109
    # Python calls handlers in its main thread, and only there can they be set.
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS if is_main}
    dtype = torch.get_default_dtype() if (torch := sys.modules.get("torch")) else None
    generators = random.getstate(), np.random.get_state(), torch and torch.get_rng_state()
    try:
        yield
    finally:
        if folder is not None:
            os.chdir(folder)
        if dict(os.environ) != variables:
            os.environ.clear()
            os.environ.update(variables)
        for number, handler in handlers.items():
            if handler is not None:  # None: not set from Python
                signal.signal(number, handler)
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        if torch := sys.modules.get("torch"):
            torch.set_default_dtype(dtype or torch.float32)
            if generators[2] is not None:
                torch.set_rng_state(generators[2])


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """The file descriptor is redirected too: C libraries and child processes write to it.

    Code that is given a secret may print it, so what it prints in Python is veiled.
    """
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    try:
        saved = os.dup(1)
    except OSError:  # closed, as in a daemon
        saved = None
    try:
        if saved is not None:
            with contextlib.suppress(OSError):
                os.dup2(2, 1)
        stream = VeiledStream(sys.stderr)
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)
