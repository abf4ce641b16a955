"""The table of a sweep's top configurations in its description."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.formatting import describe_state, format_value, short_names
from sweeper.search.configuration import flatten_parameters
from sweeper.tracking.markdown import as_code, table

__all__ = ["TOP", "Place", "leaderboard", "link_to_run", "tell_parameters", "unbroken"]

TOP = 10
_MAX_COLUMNS = 8


@dataclass(frozen=True)
class Place:
    """A row of the table.

    Attributes:
        name: of the trial, as a link.
        parameters: what the search chose, nested.
        score: in words.
        state: of the trial; empty for what is no trial of the search.
        again: what it came to when it was trained again, in words.
    """

    name: str
    parameters: Mapping[str, Any]
    score: str = ""
    state: str = ""
    env_steps: float | None = None
    again: str = ""


def leaderboard(metric: str, places: Sequence[Place]) -> list[str]:
    """The table's lines, in the order given; without ``again`` where no place has it."""
    flat = [flatten_parameters(one.parameters) for one in places]
    names = _distinct(name for one in flat for name in one)[:_MAX_COLUMNS]
    is_again = any(one.again for one in places)
    heads = ["trial", as_code(metric), *(["trained again"] if is_again else [])]
    heads += ["state", "env steps", *map(as_code, short_names(names))]
    rows = []
    for one, values in zip(places, flat, strict=True):
        row = [one.name, one.score, *([one.again] if is_again else [])]
        row += [describe_state(one.state) if one.state else ""]
        row += ["" if one.env_steps is None else f"{one.env_steps:,.0f}"]
        row += [as_code(format_value(values[name])) if name in values else "" for name in names]
        rows.append(row)
    return table(heads, rows)


def link_to_run(trial_id: str, experiment_id: str, run_id: str | None) -> str:
    """A trial's name as a link to its run, if it has one."""
    if run_id is None:
        return trial_id
    page = f"#/experiments/{experiment_id}/runs/{run_id}"
    return f"[{trial_id}]({page}?workflowType=machine_learning)"


def tell_parameters(parameters: Mapping[str, Any]) -> str:
    """``lr = 0.001, gamma = 0.99``, as code after a comma; empty if there are none."""
    flat = flatten_parameters(parameters)
    told = as_code(", ".join(f"{name} = {format_value(value)}" for name, value in flat.items()))
    return f", {told}" if told else ""


def unbroken(text: str) -> str:
    """A text that MLflow's narrow tables keep in one line."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
