"""Episodes, step by step, as a table in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sweeper.agents.agent import Agent
from sweeper.agents.episodes import Step, Tally
from sweeper.agents.outputs import check_output, writing, written_whole
from sweeper.environments.modules import summarise
from sweeper.errors import UserError
from sweeper.json_values import to_json

__all__ = ["Trace", "check_trace", "trace_rows", "write_trace"]

_FORMATS = (".parquet", ".jsonl")
_ROWS_AT_ONCE = 5_000


@dataclass(frozen=True)
class Trace:
    """What was written.

    Attributes:
        file: absolute.
        returns: one per episode.
        lengths: the same, in env steps.
    """

    file: Path
    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """The object that ``sweeper trace --json`` prints."""
        return {
            "file": str(self.file),
            "episodes": len(self.returns),
            "steps": sum(self.lengths),
            "returns": list(self.returns),
            "lengths": list(self.lengths),
        }


def trace_rows(agent: Agent, steps: Iterable[Step]) -> Iterator[dict[str, Any]]:
    """One row a step.

    Its columns: ``episode`` and ``step`` (from 0), ``observation`` before the action, ``action``
    as the environment was given it, ``reward`` below all wrappers, ``terminated``, ``truncated``,
    ``log_prob`` of the action under the policy that explores, ``value`` of the state, and
    ``q_values`` of each action where there are any. What the algorithm has none of is null.
    """
    has: dict[str, Callable[..., Any]] = {}
    for step in steps:
        observation = step.observation
        has = has or _find_columns(agent, observation)
        yield {
            "episode": step.episode,
            "step": step.step,
            "observation": _plain(observation),
            "action": _plain(step.action),
            "reward": step.reward,
            "terminated": step.terminated,
            "truncated": step.truncated,
            "log_prob": has["log_prob"](observation, step.action),
            "value": has["value"](observation),
            **({"q_values": has["q_values"](observation)} if "q_values" in has else {}),
        }


def _find_columns(agent: Agent, example: Any) -> dict[str, Callable[..., Any]]:
    """How the columns of what an agent thinks are filled, by what it says of an observation."""

    def can(question: Callable[[Any], Any]) -> bool:
        try:
            question(example)
        except UserError:
            return False
        return True

    def log_prob(observation: Any, action: Any) -> float:
        return float(agent.action_distribution(observation).log_prob(action))

    columns: dict[str, Callable[..., Any]] = {
        "log_prob": log_prob if can(agent.action_distribution) else lambda *_: None,
        "value": agent.value if can(agent.value) else lambda *_: None,
    }
    if can(agent.q_values):
        columns["q_values"] = lambda observation: agent.q_values(observation).values.tolist()
    return columns


def check_trace(file: Path) -> None:
    """Check that a trace can be written before anything is played.

    Raises:
        UserError: the name has another ending, or the folder is not there.
    """
    check_output(file, _FORMATS)


def write_trace(rows: Iterable[Mapping[str, Any]], file: Path) -> Trace:
    """Write rows of `trace_rows`, completely or not at all, holding a few thousand at a time.

    Raises:
        UserError: the file can't be written.
    """
    tally = Tally()

    def count(row: Mapping[str, Any]) -> Mapping[str, Any]:
        tally.begin(row["step"])
        tally.add(row["reward"])
        return row

    place = file.absolute()  # an environment may change the working directory
    write = _write_parquet if file.suffix.lower() == ".parquet" else _write_lines
    with written_whole(place) as temporary:
        write(map(count, rows), temporary, place)
    return Trace(place, tuple(tally.returns), tuple(tally.lengths))


def _write_lines(rows: Iterable[Mapping[str, Any]], file: Path, place: Path) -> None:
    with writing(place):
        stream = file.open("w", encoding="utf-8")
    try:
        for row in rows:
            line = json.dumps(to_json(dict(row)), allow_nan=False)
            with writing(place):
                stream.write(line + "\n")
    finally:
        with writing(place):
            stream.close()


def _write_parquet(rows: Iterable[Mapping[str, Any]], file: Path, place: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    writer = None
    try:
        for part in _in_parts(rows):
            schema = None if writer is None else writer.schema
            try:
                table = pyarrow.Table.from_pylist(part, schema=schema)
            except pyarrow.ArrowException as error:
                raise UserError(
                    f"{place} can't be written: a column holds values of several types "
                    f"({summarise(error)}); a .jsonl file takes any"
                ) from error
            with writing(place):
                if writer is None:
                    writer = parquet.ParquetWriter(file, table.schema)
                writer.write_table(table)
    finally:
        if writer is not None:
            with writing(place):
                writer.close()


def _in_parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    part: list[Mapping[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _ROWS_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _plain(value: Any) -> Any:
    """Lists and numbers; of a Dict its mapping, of a Tuple one with its positions as keys."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return {str(position): _plain(part) for position, part in enumerate(value)}
    if isinstance(value, str):
        return value
    return np.asarray(value).tolist()
