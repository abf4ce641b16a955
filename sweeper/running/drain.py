"""The orderly end of a launch: asked for by a signal or a limit, over once all trials are saved."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from sweeper.formatting import count_noun
from sweeper.states import LaunchEnd

__all__ = ["Drain", "end_on_signals", "watchdog"]

_logger = logging.getLogger(__name__)

# How long Ray may take to end once no trial runs; it has been seen to hang when its own
# processes were killed with the driver's.
_END_S = 60.0


@dataclass
class Drain:
    """The orderly end of a launch, asked for from a signal handler or by a limit.

    Attributes:
        deadline: monotonic time at which the search's own budget asks for the end.
        reason: why the launch ends early, or None while it does not.
        running: ids of the trials that have a worker and may still be saved.
        pausing: those of them that are being saved for the last time.
        evaluates: whether trials that a budget ends are evaluated once more.
        winding_up: the trials that were asked to.
        over_since: monotonic time at which the last running trial was saved.
        is_concluding: whether all is over but for the records, which a signal breaks off.
    """

    deadline: float | None = None
    reason: LaunchEnd | None = None
    running: set[str] = field(default_factory=set)
    pausing: set[str] = field(default_factory=set)
    evaluates: bool = False
    winding_up: set[str] = field(default_factory=set)
    over_since: float | None = None
    is_concluding: bool = False

    def request(self, reason: LaunchEnd) -> None:
        """Ask for the end; the first reason stays."""
        if self.reason is None:
            self.reason = reason

    def begin_stage(self) -> None:
        """Go on to the next stage: what the search's budget ended is over."""
        self.deadline = None
        if self.reason is not None and self.reason.is_budget:
            self.reason = None
        self.evaluates, self.over_since = False, None
        self.pausing.clear()

    def describe(self) -> str:
        """What is left to do, for messages."""
        count = len(self.running)
        return f"saving {count_noun(count, 'running trial')}" if count else "ending"

    def is_to_evaluate(self, trial_id: str) -> bool:
        """Whether a trial that has just reported is evaluated before it is paused.

        Only when a budget ends the launch, and once a trial: an interruption should be quick, and
        with a full disk the end must be.
        """
        is_asked = self.evaluates and self.reason is not None and self.reason.is_budget
        if not is_asked or trial_id in self.winding_up:
            return False
        self.winding_up.add(trial_id)
        return True

    def is_over(self) -> bool:
        """Whether the experiment may stop: asked for, and every running trial is saved."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.request(LaunchEnd.BUDGET_TIME)
        is_over = self.reason is not None and not self.running
        if is_over and self.over_since is None:
            self.over_since = time.monotonic()
        return is_over


@contextmanager
def end_on_signals(drain: Drain) -> Iterator[Callable[[], None]]:
    """Within the block, SIGINT and SIGTERM request the end; a second one exits at once.

    Where a person types at this very process, in a notebook's kernel or an interactive Python, the
    second one raises KeyboardInterrupt instead, as all do once the launch is concluded.

    Yields:
        A function that sets the handlers again, for when a library has set its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if drain.is_concluding:
            raise KeyboardInterrupt
        if drain.reason is LaunchEnd.INTERRUPTED:
            if hasattr(sys, "ps1"):
                raise KeyboardInterrupt
            _end_line()
            os._exit(130)
        drain.reason = LaunchEnd.INTERRUPTED
        # A signal handler can't log: the lock may be held.
        text = f"\ninterrupted: {drain.describe()}; again to end at once\n"
        with suppress(OSError):  # nobody reads it any more
            os.write(sys.stderr.fileno(), text.encode())

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, handle) for number in numbers}

    def install() -> None:
        for number in numbers:
            signal.signal(number, handle)

    try:
        yield install
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def watchdog(drain: Drain) -> Iterator[None]:
    """End the process if Ray keeps running although no trial is left to wait for."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(1.0):
            since = drain.over_since
            if since is not None and time.monotonic() - since > _END_S:
                _logger.error(
                    "Ray does not end; leaving it behind, everything reported is recorded"
                )
                os._exit(130)

    threading.Thread(target=watch, name="sweeper-watchdog", daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _end_line() -> None:
    """Move to a new line, so that the shell's prompt does not follow the table and the ``^C``.

    Writes to the terminal itself: standard error may be a pipe that the live view no longer reads.
    """
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_WRONLY | os.O_NOCTTY)
        os.write(terminal, b"\r\n")
        os.close(terminal)
