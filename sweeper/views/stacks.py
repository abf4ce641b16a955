"""Stack traces for people to read; what `sweeper stack` prints."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import datetime

from sweeper.formatting import format_duration
from sweeper.upkeep.stacks import Frame, ProcessStack, RunStacks

__all__ = ["describe_stacks"]


def describe_stacks(found: RunStacks) -> Iterator[str]:
    """The lines: each process with its threads, the most recent call first.

    Children of one process that do the same are shown once.
    """
    groups = itertools.groupby(found.processes, lambda one: (one.parent, one.threads, one.problem))
    for number, (_, same) in enumerate(groups):
        processes = list(same)
        if number:
            yield ""
        yield f"{_name(processes)}{f': {processes[0].problem}' if processes[0].problem else ''}"
        for index, thread in enumerate(processes[0].threads):
            if not thread.is_main:
                yield "  another thread:" if index else "  a thread:"
            indent = "  " if thread.is_main else "    "
            yield from (f"{indent}{_describe_frame(frame)}" for frame in thread.frames)
            if not thread.frames:
                yield f"{indent}runs no Python"


def _name(processes: list[ProcessStack]) -> str:
    first, ids = processes[0], ", ".join(str(one.pid) for one in processes)
    noun = "process" if len(processes) == 1 else "processes"
    since = f"since {datetime.fromtimestamp(first.since):%Y-%m-%d %H:%M:%S}"
    age = f"{since} ({format_duration(max(0.0, time.time() - first.since))})"
    if first.process == "child":
        return f"{noun} {ids}, forked by process {first.parent}"
    if first.process == "driver":
        return f"the driver, {noun} {ids}, {age}"
    if first.trial_id is None:
        return f"a worker between two trials, {noun} {ids}, {age}"
    return f"trial {first.trial_id}, {noun} {ids}, {age}"


def _describe_frame(frame: Frame) -> str:
    file = "?" if frame.file is None else f'"{frame.file}"'
    line = "?" if frame.line is None else str(frame.line)
    return f"File {file}, line {line}, in {frame.function or '?'}"
