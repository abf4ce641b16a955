"""Starts the process that rehearses, listens to it, and ends it with all that it started.

The process (`sweeper.rehearsal.worker`) writes only to a temporary folder, never to the storage
or to MLflow.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sweeper.errors import RunError, UserError
from sweeper.formatting import count_noun, format_duration, last_line
from sweeper.planning.plan import SweepPlan
from sweeper.rehearsal.cost import choose_probes
from sweeper.rehearsal.measurements import Rehearsal, read_result
from sweeper.spec import dump_spec
from sweeper.veil import veil

__all__ = ["processes_below", "rehearse_plan"]

_logger = logging.getLogger(__name__)

# How long a step that can't be cut short (an iteration, an evaluation, Ray's start) may take:
# the greater of a fixed time and a multiple of the requested seconds.
_PATIENCE_S = 120.0
_PATIENCE = 5.0
_END_S = 10.0  # for the kernel to end killed processes on a busy machine
_WORKER = "from sweeper.rehearsal.worker import main; main()"


def rehearse_plan(
    plan: SweepPlan,
    seconds: float,
    *,
    say: Callable[[str], None] = _logger.info,
    patience_s: float = _PATIENCE_S,
) -> Rehearsal:
    """Train some of the plan's configurations, as many side by side as the sweep would.

    Args:
        plan: of the sweep.
        seconds: of training, in all rounds; Ray's start and end come on top.
        say: gets progress in words.
        patience_s: how long the process may be silent, at least, before it is given up.

    Raises:
        RunError: no configuration could be trained, evaluated, saved and loaded.
        UserError: Ray can't be started, or no trial reports the selection's metric.
    """
    rounds = choose_probes(plan)
    number = sum(len(chosen) for chosen in rounds)
    beside = f", {len(rounds[0])} side by side," if len(rounds[0]) > 1 else ""
    say(
        f"rehearsing {count_noun(number, 'configuration')}{beside} for "
        f"{format_duration(seconds)}; Ray's start and end come on top"
    )
    with tempfile.TemporaryDirectory(prefix="sweeper-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(dump_spec(plan.spec), encoding="utf-8")
        request = {
            "seconds": seconds,
            "rounds": rounds,
            "began": time.time(),
            "log_level": logging.getLogger().getEffectiveLevel(),
        }
        (folder / "rehearsal.json").write_text(json.dumps(request), encoding="utf-8")
        result = _run_worker(folder, max(patience_s, _PATIENCE * seconds), plan)
        for log in sorted(folder.rglob("log.txt")):
            _logger.debug("%s", log.read_text(encoding="utf-8", errors="replace"))
    return read_result(result, plan, concurrent=len(rounds[0]), seconds=seconds)


def _run_worker(folder: Path, patience_s: float, plan: SweepPlan) -> Mapping[str, Any]:
    """Run the process to its result; ends it and all processes below it in any case."""
    errors = folder / "errors.txt"
    # Messages have their own pipe: the user's environment may print anything on stdout.
    reading, writing = os.pipe()
    with errors.open("wb") as stream, os.fdopen(reading, "rb", buffering=0) as messages:
        try:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-c", _WORKER, str(folder), str(writing)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                # Tune's trainables create a folder each in Ray's cache.
                env={**os.environ, "RAY_AIR_LOCAL_CACHE_DIR": str(folder / "ray_results")},
                pass_fds=[writing],
                start_new_session=True,  # Ctrl-C must only reach this process, which ends that one
            )
        finally:
            os.close(writing)  # else the pipe would never end
        with process:
            try:
                return _listen(process, messages, errors, patience_s, plan)
            finally:
                _end_with_all_below(process.pid)


def _end_with_all_below(process: int) -> None:
    """Kill a process and its descendants, and wait for their end.

    All are stopped before the first is killed: Ray starts workers at any moment, and one that is
    started meanwhile, or still runs, would write to the folder that is deleted next.
    """
    stopped = set[int]()
    while new := {process, *processes_below(process)} - stopped:
        for one in new:
            _send(one, signal.SIGSTOP)
        stopped |= new
    for one in stopped:
        _send(one, signal.SIGKILL)
    deadline = time.monotonic() + _END_S
    while any(map(_is_running, stopped)) and time.monotonic() < deadline:
        time.sleep(0.01)


def _send(process: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(process, number)


def _is_running(process: int) -> bool:
    """Whether a process still exists and is no zombie; False without Linux's ``/proc``."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in "ZX"


def _listen(
    process: subprocess.Popen[bytes],
    messages: BinaryIO,
    errors: Path,
    patience_s: float,
    plan: SweepPlan,
) -> Mapping[str, Any]:
    doing = "starting Ray"
    while select.select([messages], [], [], patience_s)[0]:
        line = messages.readline()
        if not line:
            text = errors.read_text(encoding="utf-8", errors="replace")
            reason = last_line(veil(text)) or f"exit code {process.wait()}"
            raise RunError(f"the rehearsal ended while {doing}: {reason}")
        message: dict[str, Any] = json.loads(line)
        if "result" in message:
            return dict(message["result"])
        if "error" in message:
            kind = UserError if message["exit_code"] == UserError.exit_code else RunError
            raise kind(message["error"])
        doing = message["doing"]
    raise RunError(_describe_silence(doing, patience_s, plan))


def _describe_silence(doing: str, patience_s: float, plan: SweepPlan) -> str:
    after = f"the rehearsal was silent for {format_duration(patience_s)} while {doing}"
    if not doing.startswith("training"):
        return after
    evaluation = " or an evaluation" if plan.spec.evaluation is not None else ""
    return (
        f"{after}: an iteration{evaluation} takes longer than that, or "
        f"{plan.spec.environment.id} hangs; allow more with --seconds "
        f"{round(patience_s / _PATIENCE * 4)}, or make iterations shorter"
    )


def processes_below(process: int) -> list[int]:
    """The ids of a process's descendants; none are found without Linux's ``/proc``."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # After the name, which is in brackets and may contain any character.
            rest = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(rest[1])
    found, new = set[int](), {process}
    while new := {child for child, parent in parents.items() if parent in new} - found:
        found |= new
    return sorted(found)
