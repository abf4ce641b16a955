"""Run the command line in a subprocess, or faster in this process."""

from __future__ import annotations

import io
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
    # Under `make`, the summary would name `make ui`.
    return {name: value for name, value in os.environ.items() if name != "MAKELEVEL"}


def sweeper(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a subprocess, as a user does."""
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
    """Run a command in the background, in a session of its own, and kill it at the end."""
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
    """Run a command in this process: the same output and exit code, without slow imports.

    Training uses the running Ray, as in a notebook, so such a test needs `ray_cluster`. A module
    of environments needs a name that no other test uses.
    """
    written, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(written, encoding="utf-8", newline="")
    code: object = 0
    with _restored(), chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        sys.argv = ["sweeper", *arguments]
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    out.flush()
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, written.getvalue().decode(), err.getvalue())


@contextmanager
def _restored() -> Iterator[None]:
    """Restore what the command line changes in its process."""
    argv = sys.argv
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        sys.argv = argv
        for number, handler in handlers.items():
            signal.signal(number, handler)
