"""Ask the processes of a run that is running for their stack traces."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sweeper.errors import UserError
from sweeper.formatting import describe_state
from sweeper.locks import explain_orphan, file_lock, read_owner
from sweeper.paths import RunPaths, find_run, run_reference
from sweeper.results.builder import load_results
from sweeper.results.records import SweepResults
from sweeper.run_files import open_regular
from sweeper.stack_files import (
    SIGNAL,
    ProcessNote,
    find_notes,
    has_signal,
    may_be_asked,
    read_note,
    read_status,
)
from sweeper.states import TrialState

__all__ = ["Frame", "ProcessStack", "RunStacks", "ThreadStack", "find_stacks"]

_logger = logging.getLogger(__name__)

_PATIENCE_S = 5.0
_POLL_S = 0.01
_MAX_BYTES = 16 * 2**20
_TRIES = 3
_THREAD = re.compile(r"(?:Current thread|Thread) 0x([0-9a-f]+) \(most recent call first\):")
_FRAME = re.compile(r'  File (?:"(.*)"|\?\?\?), line (\d+|\?\?\?) in (.*)')


@dataclass(frozen=True)
class Frame:
    """A call that has not returned; what is not known is None.

    Attributes:
        file: the source's path.
        line: its line, from 1.
        function: the function's name.
    """

    file: str | None
    line: int | None
    function: str | None


@dataclass(frozen=True)
class ThreadStack:
    """What one thread does.

    Attributes:
        is_main: whether it is the process's main thread, which trains.
        frames: the most recent call first, at most 100; empty if it runs no Python.
    """

    is_main: bool
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class ProcessStack:
    """What one process does. The fields are the keys of `sweeper stack --json`.

    Attributes:
        process: ``driver``, ``worker`` (it trains trials), or ``child`` (a process that a worker
            or the driver has forked, as asynchronous vector environments do).
        trial_id: the trial that it works for; None for the driver, and between two trials.
        pid: its id.
        parent: whose child it is; None if it is none.
        host: where it is, by name.
        since: when it took up the trial, in seconds since the epoch; for the driver, the launch.
        threads: the main thread first; empty if they can't be shown.
        problem: why they can't be, in words; None if they are.
    """

    process: str
    trial_id: str | None
    pid: int
    parent: int | None
    host: str
    since: float
    threads: tuple[ThreadStack, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class RunStacks:
    """What the processes of a run do.

    Attributes:
        processes: the driver, then workers by trial, each before its children.
        notes: what can't be shown, and where it could be, in sentences.
    """

    processes: tuple[ProcessStack, ...] = ()
    notes: tuple[str, ...] = ()


def find_stacks(
    reference: str | Path, storage: str | Path = "runs", trial_id: str | None = None
) -> RunStacks:
    """Ask the processes of a run for their stack traces; none that does not expect it.

    Args:
        reference: a path, a folder's name under ``storage``, or ``last``.
        storage: the folder that holds the runs.
        trial_id: only what works for this trial.

    Raises:
        UserError: there is no such run or trial, the trial is not running, or this system has no
            signal to ask with.
    """
    paths = find_run(str(reference), Path(storage))
    name, results = paths.root.name, load_results(paths)
    if not results.is_live:
        why = explain_orphan(paths.lock) or f"{name} is not running: {results.state}"
        return RunStacks(notes=(why,))
    if not SIGNAL or not Path("/proc/self/status").exists():
        raise UserError("stack traces need Linux: no other system has the signal that asks for one")
    running = {
        one.trial_id: one.node or ""
        for one in (*results.trials, *results.retrained)
        if one.state is TrialState.RUNNING
    }
    if trial_id is not None:
        _refuse_idle(results, trial_id, running)
        running = {trial_id: running[trial_id]}
    notes = [one for one in find_notes(paths) if trial_id in (None, one.trial_id)]
    shown = tuple(stack for note in notes for stack in _ask_tree(note, paths))
    shown = tuple(one for one in shown if trial_id in (None, one.trial_id))
    seen = {one.trial_id for one in shown}
    missing = {one: node for one, node in running.items() if one not in seen}
    said = list(_explain_missing(missing, paths))
    if trial_id is None and not any(one.process == "driver" for one in shown):
        owner = read_owner(paths.lock)
        said.insert(0, f"the driver of {name} shows no stack{f': {owner}' if owner else ''}")
    return RunStacks(shown, tuple(said))


def _refuse_idle(results: SweepResults, trial_id: str, running: Mapping[str, str]) -> None:
    if trial_id in running:
        return
    name = results.root.name
    others = f"running: {', '.join(running)}" if running else "no trial is running now"
    try:
        state = describe_state(results.trial(trial_id).state)
    except KeyError:
        raise UserError(f"no trial {trial_id!r} in {name}; {others}") from None
    raise UserError(f"{trial_id} of {name} is not running: {state}; {others}")


def _explain_missing(missing: Mapping[str, str], paths: RunPaths) -> Iterator[str]:
    """Say of running trials without a process here where they could be looked at."""
    for trial_id, node in missing.items():
        if node:
            yield (
                f"{trial_id} runs on node {node}, which does not write into {paths.root}: "
                "`ray stack` on that node shows its processes"
            )
        else:
            yield (
                f"{trial_id} has no process that shows its stack: it is only starting, or can't "
                f"write into {paths.stacks}; `ray stack` shows all of Ray's processes"
            )


def _ask_tree(note: ProcessNote, paths: RunPaths) -> Iterator[ProcessStack]:
    """Ask a process, and those that it has forked; yields none that has ended."""
    kind = "driver" if note.is_driver else "worker"
    if not note.is_here:
        command = f"sweeper stack {run_reference(paths.root)}"
        yield _describe(note, kind, problem=f"it is on {note.host}: run `{command}` there")
        return
    # Which trial it has is known if its note is the same before and after.
    for _ in range(_TRIES):
        stack = _ask(note, kind, note.pid)
        now = read_note(note.traces.with_suffix(".json"))
        if now is None or now == note:
            break
        note = now
    if stack is None:
        return
    yield stack
    for pid in _find_descendants(note.pid):
        child = _ask(note, "child", pid)
        if child is not None:
            yield replace(child, parent=note.pid)


def _describe(
    note: ProcessNote,
    kind: str,
    pid: int | None = None,
    *,
    threads: tuple[ThreadStack, ...] = (),
    problem: str | None = None,
) -> ProcessStack:
    return ProcessStack(
        process=kind,
        trial_id=note.trial_id,
        pid=note.pid if pid is None else pid,
        parent=None,
        host=note.host,
        since=note.since,
        threads=threads,
        problem=problem,
    )


def _ask(note: ProcessNote, kind: str, pid: int) -> ProcessStack | None:
    """What a process answers; None if it has ended, or never was one of this launch's."""
    try:
        answer = _await_traces(note.traces, pid)
    except (ProcessLookupError, FileNotFoundError):
        return None
    except OSError as error:
        return _describe(note, kind, pid, problem=f"{note.traces.name}: {error.strerror}")
    except _NoAnswerError as error:
        return _describe(note, kind, pid, problem=str(error))
    return _describe(note, kind, pid, threads=_read_threads(answer, note.main_thread))


class _NoAnswerError(Exception):
    """Why a process shows no traces, in words."""


def _await_traces(traces: Path, pid: int) -> str:
    """Send the signal, and wait until all traces are written.

    Raises:
        ProcessLookupError: the process has ended, or is none of those that answer.
        OSError: the file can't be opened.
        _NoAnswerError: it does not answer.
    """
    with contextlib.ExitStack() as opened:
        descriptor = open_regular(traces, os.O_RDWR)
        opened.callback(os.close, descriptor)
        if not opened.enter_context(file_lock(descriptor, patience_s=_PATIENCE_S)):
            raise _NoAnswerError("another `sweeper stack` is asking it at this moment")
        # Even if the process ends now and another gets its id, that one gets no signal.
        process = os.pidfd_open(pid)
        opened.callback(os.close, process)
        if not may_be_asked(pid, descriptor):
            raise ProcessLookupError
        if read_status(pid).get("State", "").startswith(("T", "t")):
            raise _NoAnswerError(
                f"it is stopped, as by Ctrl-Z or SIGSTOP; `kill -CONT {pid}` lets it go on"
            )
        os.ftruncate(descriptor, 0)  # what an earlier one left that was interrupted
        opened.callback(os.ftruncate, descriptor, 0)
        blocking = _threads_blocking(pid)
        signal.pidfd_send_signal(process, SIGNAL)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            time.sleep(_POLL_S)
            # The kernel blocks the signal in the thread that handles it, until it is done.
            if os.fstat(descriptor).st_size and not _threads_blocking(pid) - blocking:
                break
        answer = os.pread(descriptor, _MAX_BYTES, 0)
        if not answer:
            raise _NoAnswerError(_explain_silence(pid))
        return answer.decode("ascii", "replace")


def _threads_blocking(pid: int) -> set[int]:
    """The threads of a process that the signal does not reach."""
    try:
        threads = [int(entry.name) for entry in Path("/proc", str(pid), "task").iterdir()]
    except OSError:
        return set()
    return {one for one in threads if has_signal(read_status(pid, one).get("SigBlk", ""))}


def _explain_silence(pid: int) -> str:
    status = read_status(pid)
    state = status.get("State", "")
    if not state or state.startswith(("Z", "X")):
        return "it has just ended"
    why = f"its state is {state}"
    if state.startswith("D"):
        why = "the kernel has it wait for a disk, a network file system or a device"
    return f"it did not answer within {_PATIENCE_S:g} s: {why}"


def _find_descendants(pid: int) -> list[int]:
    """The ids of a process's children, theirs, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            # proc(5): the name, in parentheses, may hold spaces; the parent comes after the state.
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    queue = [pid]
    while queue:
        below = sorted(children.pop(queue.pop(0), ()))
        found += below
        queue += below
    return found


def _read_threads(text: str, main_thread: int) -> tuple[ThreadStack, ...]:
    """The threads in what `faulthandler` writes, the main one first."""
    threads: list[tuple[bool, list[Frame]]] = []
    for line in text.splitlines():
        if (heading := _THREAD.match(line)) is not None:
            threads.append((int(heading[1], 16) == main_thread, []))
        elif (frame := _FRAME.match(line)) is not None and threads:
            threads[-1][1].append(_read_frame(frame))
    stacks = [ThreadStack(is_main, tuple(frames)) for is_main, frames in threads]
    return tuple(sorted(stacks, key=lambda one: not one.is_main))


def _read_frame(found: re.Match[str]) -> Frame:
    file, line, function = found.groups()
    return Frame(
        file=file,
        line=int(line) if line.isdecimal() else None,
        function=None if function == "???" else function,
    )
