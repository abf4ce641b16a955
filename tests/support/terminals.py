"""Run a program, or faster the command line alone, on a terminal."""

from __future__ import annotations

import logging
import os
import pty
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from sweeper.cli import main

_TIMEOUT_S = 30


def run_on_a_terminal(
    command: Sequence[str],
    *,
    typed: str = "",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Return the exit code and all output on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env={
            **{name: value for name, value in os.environ.items() if name != "NO_COLOR"},
            "TERM": "xterm-256color",
            "COLUMNS": "80",
            "LINES": "24",
            "PYTHONPATH": str(Path(__file__).parent),
            **(environment or {}),
        },
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    written = _read_all(ours)
    return process.wait(timeout=10), written


def sweeper_on_a_terminal(
    *words: str, cwd: Path, typed: str = "", environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command in a copy of this process: the same output, without slow imports.

    Without ``typed`` nobody is there to be asked. A command that trains needs its own process.
    """
    child, ours = pty.fork()
    if child == 0:
        _become_sweeper(words, cwd, environment or {}, is_asked=bool(typed))
    os.write(ours, typed.encode())
    written = _read_all(ours)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), written


def _become_sweeper(
    words: Sequence[str], cwd: Path, environment: Mapping[str, str], *, is_asked: bool
) -> NoReturn:
    code: object = 1
    try:
        if not is_asked:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        logging.getLogger().handlers.clear()  # pytest's
        os.environ.pop("NO_COLOR", None)
        os.environ.update({"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"} | environment)
        os.chdir(cwd)
        sys.argv = ["sweeper", *words]
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _read_all(ours: int) -> str:
    """What is written until the other end is closed."""
    written = b""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            written += data
    os.close(ours)
    return written.decode("utf-8", "replace")
