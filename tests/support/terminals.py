"""Run a program, or faster the command line alone, on a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from sweeper.cli import main

_TIMEOUT_S = 30
_TREE = Path(__file__).parents[2]


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
            "PYTHONPATH": os.pathsep.join((str(_TREE), str(Path(__file__).parent))),
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


class Terminal:
    """A program on a terminal whose size changes while it runs.

    Args:
        command: what to run.
        width: of the terminal, in columns.
    """

    def __init__(self, command: Sequence[str], width: int) -> None:
        self._ours, theirs = pty.openpty()
        self._text = ""
        self.resize(width)
        hidden = ("NO_COLOR", "COLUMNS", "LINES")
        self._process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={
                **{name: value for name, value in os.environ.items() if name not in hidden},
                "TERM": "xterm-256color",
                "PYTHONPATH": os.pathsep.join((str(_TREE), str(Path(__file__).parent))),
            },
        )
        os.close(theirs)
        modes = termios.tcgetattr(self._ours)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self._ours, termios.TCSANOW, modes)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._ours)
        if kind is not None:
            self._process.kill()
        self._process.wait(timeout=30)

    def resize(self, width: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))

    def write(self, typed: str) -> None:
        os.write(self._ours, typed.encode())

    def read_for(self, seconds: float) -> str:
        """Everything that is written in the meantime."""
        return self._read(time.monotonic() + seconds, None)

    def read_until(self, words: str) -> str:
        """Everything up to what is written together with these words."""
        found = self._read(time.monotonic() + 60, words)
        assert words in found, found
        return found

    def _read(self, deadline: float, words: str | None) -> str:
        read = ""
        while (left := deadline - time.monotonic()) > 0 and (words is None or words not in read):
            if select.select([self._ours], [], [], left)[0]:
                with contextlib.suppress(OSError):  # the other end is closed
                    read += os.read(self._ours, 65536).decode("utf-8", "replace")
        return read
