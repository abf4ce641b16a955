"""The command line as the integration tests call it: in a process of its own, or in this one."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from sweeper.cli import main

_TIMEOUT_S = 280


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "sweeper", *arguments]


def _environment() -> dict[str, str]:
    # `make` tells its children's children to say `make ui`.
    return {name: value for name, value in os.environ.items() if name != "MAKELEVEL"}


def sweeper(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A verb in a process of its own, as a user calls it."""
    return subprocess.run(
        _command(arguments),
        cwd=cwd,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )


@contextmanager
def started(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """A verb that goes on beside the test, as the leader of its own session."""
    process = subprocess.Popen(
        _command(arguments),
        cwd=cwd,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def sweeper_here(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A verb in this process: the same words and exit code, without seconds of imports.

    One that trains takes the Ray that is there, as in a notebook, so its test wants
    `ray_cluster`; its environments' module needs a name that no other test has.
    """
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with _as_found(), chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        sys.argv = ["sweeper", *arguments]
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextmanager
def _as_found() -> Iterator[None]:
    """Put back what the command line sets in its process."""
    argv = sys.argv
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    levels = {name: logging.getLogger(name).level for name in ("", "sweeper", "ray")}
    try:
        yield
    finally:
        sys.argv = argv
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
