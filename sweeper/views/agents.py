"""An agent for people to read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeper.agents.agent import Agent
from sweeper.agents.inspection import Answer, Inspection, WeightSummary
from sweeper.agents.traces import Trace
from sweeper.formatting import (
    count_noun,
    format_bytes,
    format_duration,
    format_number,
    short_path,
)
from sweeper.hints import folder_name
from sweeper.views.console import make_console, make_table, print_pairs

if TYPE_CHECKING:
    from sweeper.agents.video.record import Video

__all__ = ["name_output", "print_inspection", "print_trace", "print_video"]

_MAX_LISTED = 12


def print_inspection(inspection: Inspection) -> None:
    """Print what an agent is made of, and what it makes of an observation."""
    console, agent = make_console(), inspection.agent
    print_pairs(console, list(_describe(inspection)))
    console.print()
    head, *rows = agent.network.rows()
    table = make_table("lll" + "l" + "r", head)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print()
    table = make_table("llrr", ("weights", "shape", "norm", "greatest"))
    for summary in (*inspection.weights, *inspection.normalisation):
        table.add_row(summary.name, _shape(summary), *map(format_number, _sizes(summary)))
    console.print(table)
    if inspection.answer is not None:
        console.print()
        print_pairs(console, list(_describe_answer(inspection.answer)))


def _describe(inspection: Inspection) -> Iterator[tuple[str, str]]:
    agent = inspection.agent
    yield "checkpoint", short_path(inspection.folder)
    yield "algorithm", f"{agent.algorithm} on {inspection.backend}"
    if inspection.environment is not None:
        yield "environment", inspection.environment
    yield "observations", " ".join(str(agent.observation_space).split())
    yield "actions", " ".join(str(agent.action_space).split())
    if agent.seed is not None:
        others = [str(seed) for seed in inspection.replicas if seed != agent.seed]
        more = f"; also here: {', '.join(others)}" if others else ""
        yield "replica", f"seed {agent.seed}{more}"
    if inspection.diverged:
        yield "diverged", f"seeds {', '.join(map(str, inspection.diverged))}, which are frozen"
    versions = ", ".join(f"{name} {version}" for name, version in inspection.versions.items())
    yield "versions", versions or "the checkpoint does not say"


def _shape(summary: WeightSummary) -> str:
    return " x ".join(map(str, summary.shape)) or "a number"


def _sizes(summary: WeightSummary) -> tuple[float, float]:
    return summary.norm, summary.greatest


def _describe_answer(answer: Answer) -> Iterator[tuple[str, str]]:
    yield "observation", _list(answer.observation)
    yield "action", f"{_list(answer.action)} (greedy)"
    distribution, q_values = answer.distribution, answer.q_values
    if isinstance(distribution, Mapping):
        for name, value in distribution.items():
            if name != "kind":
                yield name, _list(value)
    else:
        yield "distribution", f"none: {distribution}"
    yield "value", f"none: {answer.value}" if isinstance(answer.value, str) else _list(answer.value)
    if isinstance(q_values, Mapping):
        names = {"values": "Q-values", "probabilities": "of returns", "state_value": "state value"}
        for name, value in q_values.items():
            if value is not None:
                yield names.get(name, name), _list(value)


def _list(value: Any) -> str:
    """Numbers in brackets, a long list cut short."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_list(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        shown = [_list(part) for part in value[:_MAX_LISTED]]
        more = len(value) - len(shown)
        return f"[{', '.join(shown)}{f', … {more} more' if more else ''}]"
    if isinstance(value, float) and math.isfinite(value):
        return format_number(value)
    return str(value)


def print_trace(trace: Trace) -> None:
    """Print where a trace is, and what its episodes came to."""
    steps = f"{count_noun(len(trace.returns), 'episode')}, {sum(trace.lengths):,} steps"
    rows = [
        ("trace", short_path(trace.file)),
        ("holds", steps),
        ("returns", _returns(trace.returns)),
    ]
    print_pairs(make_console(), rows)


def print_video(video: Video) -> None:
    """Print where a video is, what it looks like, and what its episodes came to."""
    size = format_bytes(video.file.stat().st_size)
    lasts = format_duration(video.duration_s)
    looks = f"{video.frames:,} pictures of {video.width} x {video.height} pixels"
    rows = [
        ("video", f"{short_path(video.file)} ({size})"),
        ("shows", f"{count_noun(len(video.returns), 'episode')}, {sum(video.lengths):,} steps"),
        ("holds", f"{looks}, {lasts} at {format_number(video.fps)} a second"),
        ("returns", _returns(video.returns)),
    ]
    print_pairs(make_console(), rows)


def _returns(returns: Sequence[float]) -> str:
    shown = [format_number(value) for value in returns[:_MAX_LISTED]]
    more = len(returns) - len(shown)
    mean = math.fsum(returns) / len(returns)
    return f"{', '.join(shown)}{f', … {more} more' if more else ''} (mean {format_number(mean)})"


def name_output(agent: Agent) -> str:
    """What a file about an agent is called where no name is given: after its run and trial."""
    where = agent.where
    if where is None:
        return "agent"
    parts = [] if where.run is None else [where.run.root.name]
    parts.append(where.trial or where.folder.name)
    if where.trial is not None and where.folder.name.startswith("replica_"):
        parts.append(where.folder.name)
    if agent.seed is not None:
        parts.append(f"seed{agent.seed}")
    return "-".join(filter(None, map(folder_name, parts)))
